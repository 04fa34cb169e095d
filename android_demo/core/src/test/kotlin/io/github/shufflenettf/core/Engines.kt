package io.github.shufflenettf.core

import java.nio.ByteBuffer
import java.util.concurrent.ConcurrentLinkedQueue
import java.util.concurrent.atomic.AtomicInteger

/** Fake engines: each finds the strongest channel of its input, and records misuse. */
internal class Engines {
    private val engines = ConcurrentLinkedQueue<Fake>()

    /** Misuse, from any thread. */
    val faults = ConcurrentLinkedQueue<String>()

    /** Runs before each inference. */
    @Volatile
    var before: () -> Unit = {}

    val opened: Int get() = engines.size

    /** The number of times each engine was closed. */
    fun closings(): List<Int> = engines.map { it.closings.get() }

    fun factory(model: ModelInfo) = EngineFactory { Fake(model).also(engines::add) }

    private inner class Fake(private val model: ModelInfo) : Engine {
        val closings = AtomicInteger()
        private val owner = Thread.currentThread()

        override fun run(input: ByteBuffer, output: ByteBuffer) {
            before()
            check("run")
            if (closings.get() > 0) faults += "run after close"
            if (input.position() != 0 || input.remaining() != model.input.bytes || !input.isDirect) faults += "wrong input buffer"
            if (output.position() != 0 || output.remaining() != model.output.bytes) faults += "wrong output buffer"
            val strongest = (0 until 3).maxBy { input.get(it).toInt() and 0xff }
            for (i in 0 until model.classes) output.put((if (i == strongest) 200 else 5).toByte())
        }

        override fun close() {
            check("close")
            closings.incrementAndGet()
        }

        private fun check(operation: String) {
            if (Thread.currentThread() !== owner) faults += "$operation in another thread"
        }
    }

    companion object {
        val uint8: ModelInfo by lazy { Resources.model("uint8.tflite") }

        /** The same network under another name. */
        val another: ModelInfo by lazy {
            ModelInfo.read("another.tflite", ByteBuffer.wrap(Resources.bytes("models/uint8.tflite")))
        }

        /** Returns a frame of 8 x 8 pixels, all red (0), green (1) or blue (2). */
        fun frame(colour: Int, release: Runnable? = null): RgbaFrame {
            val bytes = ByteArray(4 * 64) { if (it % 4 == colour) -1 else 0 }
            return RgbaFrame(8, 8, Plane(ByteBuffer.wrap(bytes), 32, 4), release)
        }
    }
}
