package io.github.shufflenettf.core

import io.github.shufflenettf.core.ModelMessage.Key
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertSame
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import java.nio.ByteBuffer
import java.util.concurrent.ConcurrentLinkedQueue
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.Semaphore
import java.util.concurrent.atomic.AtomicInteger

@Timeout(30)
class FramePipelineTest {
    private val engines = Engines()
    private val results = Semaphore(0)
    private val ready = LinkedBlockingQueue<String>()
    private val problems = LinkedBlockingQueue<ModelMessage>()
    private val pipeline = FramePipeline(
        object : FramePipeline.Listener {
            override fun onResult() = results.release()
            override fun onModelReady(model: ModelInfo) = ready.put(model.fileName)
            override fun onProblem(problem: ModelMessage) = problems.put(problem)
        },
        Settings(threshold = 0f, smoothingMs = 0f),
    )
    private val result = Result()

    @AfterEach
    fun `all engines are closed once, in their thread`() {
        pipeline.close()
        pipeline.close()
        assertTrue(pipeline.awaitClosed(10_000))
        assertEquals(List(engines.opened) { 1 }, engines.closings())
        assertEquals(emptyList<String>(), engines.faults.toList())
        assertEquals(-1, pipeline.offer(Engines.frame(0), 0))
        assertFalse(pipeline.read(result))
    }

    private fun start(model: ModelInfo = Engines.uint8) {
        pipeline.switchModel(model, engines.factory(model))
        assertEquals(model.fileName, ready.take())
    }

    /** Makes inferences wait until the semaphore has permits. */
    private fun gate() = Semaphore(0).also { gate -> engines.before = { gate.acquire() } }

    private fun waitUntil(condition: () -> Boolean) {
        while (!condition()) Thread.sleep(1)
    }

    @Test
    fun `a frame becomes a result`() {
        start()
        assertFalse(pipeline.read(result))
        assertEquals(0, pipeline.offer(Engines.frame(1), 90))
        results.acquire()
        assertTrue(pipeline.read(result))
        assertSame(Engines.uint8, result.model)
        assertEquals(listOf(3, 1, 0), listOf(result.count, result.index(0), result.index(1)))
        assertEquals(200 / 256f, result.probability(0))
        assertEquals(0, result.sequence)
        assertTrue(result.totalMs >= result.inferenceMs && result.totalMs >= result.preparationMs)
        assertEquals(result.inferenceMs, result.averages.inferenceMs, 1e-3f)
        assertThrows(IndexOutOfBoundsException::class.java) { result.index(3) }
    }

    @Test
    fun `only the newest frame waits`() {
        start()
        val gate = Semaphore(0)
        val closed = ConcurrentLinkedQueue<Int>()
        val begun = Semaphore(0)
        engines.before = { begun.release().also { gate.acquire() } }
        for (i in 0 until 5) {
            pipeline.offer(Engines.frame(i % 3) { closed += i }, 0)
            if (i == 0) begun.acquire()
        }
        assertEquals(listOf(1, 2, 3), closed.toList())
        gate.release(2)
        results.acquire(2)
        waitUntil { closed.size == 5 }
        assertTrue(pipeline.read(result))
        assertEquals(listOf(4, 1), listOf(result.sequence.toInt(), result.index(0)))
    }

    @Test
    fun `results of the previous model can't be read, not even that of the current frame`() {
        start()
        pipeline.offer(Engines.frame(0), 0)
        results.acquire()
        val gate = gate()
        pipeline.offer(Engines.frame(1), 0)
        waitUntil { gate.hasQueuedThreads() }
        pipeline.switchModel(Engines.another, engines.factory(Engines.another))
        assertFalse(pipeline.read(result))
        gate.release()
        assertEquals("another.tflite", ready.take())
        assertFalse(pipeline.read(result))
        assertEquals(listOf(1, 0), engines.closings())
        gate.release()
        pipeline.offer(Engines.frame(2), 0)
        results.acquire()
        assertTrue(pipeline.read(result))
        assertSame(Engines.another, result.model)
        assertEquals(2, result.index(0))
    }

    @Test
    fun `after several switches only the last model is created`() {
        val gate = gate()
        start()
        pipeline.offer(Engines.frame(0), 0)
        waitUntil { gate.hasQueuedThreads() }
        repeat(5) { pipeline.switchModel(Engines.another, engines.factory(Engines.another)) }
        gate.release()
        ready.take()
        assertEquals(2, engines.opened)
    }

    @Test
    fun `while paused, live frames are rejected and photos accepted`() {
        start()
        val gate = gate()
        val closed = AtomicInteger()
        pipeline.offer(Engines.frame(0) { closed.incrementAndGet() }, 0)
        waitUntil { gate.hasQueuedThreads() }
        pipeline.offer(Engines.frame(1) { closed.incrementAndGet() }, 0)
        pipeline.paused = true
        assertTrue(pipeline.paused)
        assertEquals(1, closed.get())
        assertEquals(-1, pipeline.offer(Engines.frame(1) { closed.incrementAndGet() }, 0))
        assertEquals(2, closed.get())
        gate.release(2)
        pipeline.offerStill(Engines.frame(2), 180)
        results.acquire()
        assertTrue(pipeline.read(result))
        assertTrue(result.still)
        assertEquals(listOf(2, 0), listOf(result.index(0), results.availablePermits()))
        pipeline.paused = false
        pipeline.clear()
        assertFalse(pipeline.read(result))
    }

    @Test
    fun `live frames are smoothed, photos are not`() {
        pipeline.settings = Settings(threshold = 0f, smoothingMs = 1e9f)
        start()
        val turns = listOf(Triple(0, false, 0), Triple(1, false, 0), Triple(1, true, 1), Triple(2, false, 2))
        for ((colour, still, expected) in turns) {
            if (still) pipeline.offerStill(Engines.frame(colour), 0) else pipeline.offer(Engines.frame(colour), 0)
            results.acquire()
            assertTrue(pipeline.read(result))
            assertEquals(expected, result.index(0))
        }
        pipeline.clear()
        pipeline.offer(Engines.frame(0), 0)
        results.acquire()
        pipeline.read(result)
        assertEquals(0, result.index(0))
    }

    @Test
    fun `classes below the threshold are omitted, and readers may differ in size`() {
        pipeline.settings = Settings(threshold = 0.5f)
        start()
        pipeline.offer(Engines.frame(2), 0)
        results.acquire()
        assertTrue(pipeline.read(result) && result.count == 1)
        pipeline.settings = Settings(threshold = 0f)
        pipeline.offer(Engines.frame(2), 0)
        results.acquire()
        val counts = listOf(1, 2, 20).map { top -> Result(top).also(pipeline::read).count }
        assertEquals(listOf(1, 2, 5), counts)
    }

    @Test
    fun `an answer is sure if its first class reaches the model's threshold`() {
        pipeline.settings = Settings(threshold = 0.5f)
        for ((threshold, sure) in listOf(null to true, 0.75f to true, 0.8f to false)) {
            val scores = TfliteBuilder.T(1, 5, scale = 1 / 256f) // of the strongest channel: 200 / 256 = 0.78
            val file = TfliteBuilder.model(listOf(TfliteBuilder.T(1, 8, 8, 3)), listOf(scores), threshold = threshold)
            start(ModelInfo.read("$threshold.tflite", file))
            pipeline.offer(Engines.frame(1), 0)
            results.acquire()
            val copy = Result(1).also(pipeline::read)
            assertEquals(listOf(1, 1, sure), listOf(copy.count, copy.index(0), copy.sure))
        }
    }

    @Test
    fun `an engine that can't be created, or fails, is reported and can be replaced`() {
        pipeline.switchModel(Engines.uint8) { throw UnsatisfiedLinkError("no library.\nand more") }
        val problem = problems.take()
        assertEquals(
            "uint8.tflite can't run (no library): it is damaged, or this device doesn't support it.",
            problem.english(),
        )
        assertEquals(-1, pipeline.offer(Engines.frame(0), 0))
        start()
        engines.before = { error("") }
        pipeline.offer(Engines.frame(0), 0)
        assertEquals(listOf("uint8.tflite", "IllegalStateException"), problems.take().arguments)
        engines.before = {}
        start()
        pipeline.offer(Engines.frame(0), 0)
        results.acquire()
        assertTrue(pipeline.read(result))
    }

    @Test
    fun `values that are not probabilities are reported`() {
        val logits = ModelInfo.read(
            "logits.tflite",
            TfliteBuilder.model(
                listOf(TfliteBuilder.T(1, 4, 4, 3)),
                listOf(TfliteBuilder.T(1, 3, type = TfliteBuilder.INT8, scale = 0.5f)),
            ),
        )
        start(logits)
        pipeline.offer(Engines.frame(0), 0)
        val problem = problems.take()
        assertEquals(Key.NO_PROBABILITIES, problem.key)
        assertEquals(listOf<Any>("logits.tflite", -28f, 2.5f), problem.arguments)
        assertTrue(problem.english().startsWith("logits.tflite returns values from -28.0 to 2.50,"))
    }

    @Test
    fun `closing releases waiting and current frames`() {
        start()
        val gate = gate()
        val closed = AtomicInteger()
        repeat(2) {
            pipeline.offer(Engines.frame(0) { closed.incrementAndGet() }, 0)
            waitUntil { gate.hasQueuedThreads() }
        }
        pipeline.offerStill(Engines.frame(0) { closed.incrementAndGet() }, 0)
        pipeline.close()
        assertFalse(pipeline.awaitClosed(10))
        gate.release()
        assertTrue(pipeline.awaitClosed(10_000))
        assertEquals(3, closed.get())
        assertEquals(0, results.availablePermits())
    }

    @Test
    fun `a frame whose camera was closed is skipped`() {
        start()
        val stop = FrameThatFails()
        pipeline.offer(stop.frame, 0)
        waitUntil { stop.closed.get() == 1 }
        pipeline.offer(Engines.frame(1), 0)
        results.acquire()
        assertTrue(problems.isEmpty())
        assertThrows(IllegalArgumentException::class.java) { pipeline.offer(Engines.frame(0), 30) }
    }

    /** A frame whose memory shrinks after its creation. */
    private class FrameThatFails {
        val closed = AtomicInteger()
        val frame: Frame

        init {
            val bytes = ByteBuffer.allocate(4 * 64)
            frame = RgbaFrame(8, 8, Plane(bytes, 32, 4)) { closed.incrementAndGet() }
            bytes.limit(10)
        }
    }
}
