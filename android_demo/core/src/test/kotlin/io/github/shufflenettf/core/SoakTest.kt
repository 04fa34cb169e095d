package io.github.shufflenettf.core

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.ConcurrentLinkedQueue
import java.util.concurrent.atomic.AtomicBoolean
import java.util.concurrent.atomic.AtomicIntegerArray
import java.util.concurrent.locks.LockSupport
import kotlin.concurrent.thread

/** Four threads offer ten thousand frames, while a fifth switches the model, a sixth pauses and a seventh reads. */
@Timeout(60)
class SoakTest {
    private val engines = Engines()
    private val faults = ConcurrentLinkedQueue<String>()
    private val models = listOf(Engines.uint8, Engines.another)
    private val pipeline = FramePipeline(
        object : FramePipeline.Listener {
            override fun onResult() = Unit
            override fun onModelReady(model: ModelInfo) = Unit
            override fun onProblem(problem: ModelMessage) {
                faults += problem.english()
            }
        },
        Settings(threshold = 0f, smoothingMs = 0f),
    )

    private data class Shown(val sequence: Long, val generation: Int, val model: String, val top: Int)

    @Test
    fun `nothing is lost, nothing is stale, nothing is closed twice`() {
        val closings = AtomicIntegerArray(FRAMES)
        val colours = ConcurrentHashMap<Long, Int>()
        val shown = ArrayList<Shown>()
        val ending = AtomicBoolean()
        pipeline.switchModel(models[0], engines.factory(models[0]))

        val cameras = List(CAMERAS) { camera ->
            thread {
                for (i in camera until FRAMES step CAMERAS) {
                    val sequence = pipeline.offer(Engines.frame(i % 3) { closings.incrementAndGet(i) }, 90 * (i % 4))
                    if (sequence >= 0) colours[sequence] = i % 3
                    LockSupport.parkNanos(100_000)
                }
            }
        }
        val others = listOf(
            thread { untilEnd(ending) { turn -> chooseModel(turn) } },
            thread {
                untilEnd(ending) { turn ->
                    pipeline.paused = turn % 4 == 0
                    if (turn % 16 == 0) pipeline.clear()
                }
            },
            thread {
                val result = Result()
                untilEnd(ending, nanos = 50_000) {
                    if (pipeline.read(result) && shown.lastOrNull()?.sequence != result.sequence) {
                        shown += Shown(result.sequence, result.generation, result.model!!.fileName, result.index(0))
                    }
                }
            },
        )
        cameras.forEach(Thread::join)
        ending.set(true)
        others.forEach(Thread::join)
        pipeline.close()
        assertTrue(pipeline.awaitClosed(10_000))

        assertEquals(emptyList<String>(), engines.faults.toList() + faults)
        assertEquals(List(engines.opened) { 1 }, engines.closings())
        assertEquals(emptyList<Int>(), (0 until FRAMES).filter { closings.get(it) != 1 })
        for ((earlier, later) in shown.zipWithNext()) {
            assertTrue(later.sequence > earlier.sequence && later.generation >= earlier.generation) { "$later after $earlier" }
        }
        for (one in shown) assertEquals(colours[one.sequence], one.top, one.toString())
        assertTrue(shown.groupBy { it.generation }.values.all { same -> same.map { it.model }.toSet().size == 1 })
        val soaked = shown.size > 50 && engines.opened > 10
        assertTrue(soaked) { "${shown.size} results, ${engines.opened} engines: that was no soak" }
        println("Soak: $FRAMES frames, ${shown.size} results shown, ${engines.opened} engines")
    }

    private fun chooseModel(turn: Int) {
        val model = models[turn % 2]
        pipeline.switchModel(model, engines.factory(model))
        val result = Result()
        if (pipeline.read(result) && result.model !== model) faults += "a result of the former model"
    }

    private fun untilEnd(ending: AtomicBoolean, nanos: Long = 3_000_000, action: (Int) -> Unit) {
        var turn = 0
        while (!ending.get()) {
            action(turn++)
            LockSupport.parkNanos(nanos)
        }
    }

    private companion object {
        const val FRAMES = 10_000
        const val CAMERAS = 4
    }
}
