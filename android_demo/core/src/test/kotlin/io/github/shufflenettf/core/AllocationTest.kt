package io.github.shufflenettf.core

import com.sun.management.ThreadMXBean
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import java.lang.management.ManagementFactory
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.concurrent.Semaphore

/** Allocations make the live view stutter: after the first frames there are none. */
@Timeout(60)
class AllocationTest {
    private val threads = ManagementFactory.getThreadMXBean() as ThreadMXBean

    private val frames = listOf(
        rgba(64, 48, List(4) { samples(64, 48, it) }),
        YuvFrame.nv21(ByteBuffer.allocateDirect(64 * 48 * 2), 64, 48, YuvRange.FULL),
        YuvFrame.i420(ByteBuffer.allocateDirect(64 * 48 * 2), 64, 48, YuvRange.LIMITED),
    )

    @Test
    fun `preparing allocates nothing`() {
        for (name in listOf("uint8.tflite", "int8.tflite", "scaled.tflite", "float32.tflite")) {
            val model = Resources.model(name)
            val preparer = InputPreparer(model)
            val input = ByteBuffer.allocateDirect(model.input.bytes).order(ByteOrder.nativeOrder())
            for (frame in frames) {
                fun run(times: Int) {
                    for (i in 0 until times) preparer.prepare(frame, 90, input)
                }
                run(WARM_UP)
                val before = threads.currentThreadAllocatedBytes
                run(MEASURED)
                val bytes = threads.currentThreadAllocatedBytes - before
                println("Allocated: $bytes bytes by $MEASURED frames, ${frame.javaClass.simpleName} for $name")
                assertTrue(bytes < MEASURED) { "$name, ${frame.javaClass.simpleName}: $bytes bytes by $MEASURED frames" }
            }
        }
    }

    @Test
    fun `classifying a frame allocates nothing`() {
        val results = Semaphore(0)
        val allocated = LongArray(WARM_UP + MEASURED) // by the worker thread, up to each result
        var count = 0
        val listener = object : FramePipeline.Listener {
            override fun onModelReady(model: ModelInfo) = Unit
            override fun onProblem(problem: ModelMessage) = error(problem.english())
            override fun onResult() {
                allocated[count++] = threads.currentThreadAllocatedBytes
                results.release()
            }
        }
        val model = Engines.uint8
        val result = Result()
        FramePipeline(listener).use { pipeline ->
            pipeline.switchModel(model) { Constant(model.classes) }
            repeat(WARM_UP + MEASURED) {
                pipeline.offer(frames[1], 90)
                results.acquireUninterruptibly()
                pipeline.read(result)
            }
            val bytes = allocated.last() - allocated[WARM_UP - 1]
            println("Allocated: $bytes bytes by $MEASURED frames, from frame to result")
            assertTrue(bytes < MEASURED) { "$bytes bytes by $MEASURED frames" }
        }
    }

    private class Constant(private val classes: Int) : Engine {
        override fun run(input: ByteBuffer, output: ByteBuffer) {
            for (i in 0 until classes) output.put(i, (10 * i).toByte())
        }

        override fun close() = Unit
    }

    private companion object {
        const val WARM_UP = 300
        const val MEASURED = 2000
    }
}
