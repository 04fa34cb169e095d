package io.github.shufflenettf.core

import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.FloatBuffer

/**
 * Makes a model's input of frames: upright, resized, cut, and in the model's own type.
 *
 * Nothing is allocated while size and rotation of the frames and the buffer stay the same. Not thread-safe.
 *
 * @param model whose input it is.
 */
class InputPreparer(private val model: ModelInfo) {
    private val resizer = FrameResizer(model.preprocessing, model.inputWidth, model.inputHeight)
    private val inRgb = model.takesPixels || model.preprocessing.channelOrder == ChannelOrder.RGB

    /** What the network sees: [height, width, 3], red, green and blue of 0 to 255. */
    val pixels: ByteArray get() = resizer.pixels

    // What becomes of each value of each colour, [3, 256]; of neither where pixels go in as they are.
    private val bytes = if (model.input.type == TensorType.INT8) Array(3) { quantized(it) } else emptyArray()
    private val floats = if (model.input.type == TensorType.FLOAT32) Array(3) { normalized(it) } else emptyArray()

    private val byteValues = ByteArray(if (bytes.isEmpty()) 0 else pixels.size)
    private val floatValues = FloatArray(if (floats.isEmpty()) 0 else pixels.size)
    private var lastInput: ByteBuffer? = null
    private var lastFloats: FloatBuffer? = null

    /**
     * Fills a model's input.
     *
     * @param frame the picture as it lies in memory.
     * @param rotation degrees clockwise that turn it upright: 0, 90, 180 or 270.
     * @param input of `model.input.bytes` bytes, which are filled from 0 on, in native order; its position becomes 0.
     */
    fun prepare(frame: Frame, rotation: Int, input: ByteBuffer) {
        resizer.resize(frame, rotation)
        input.rewind()
        when (model.input.type) {
            TensorType.UINT8 -> input.put(pixels)
            TensorType.INT8 -> input.put(looked(byteValues))
            TensorType.FLOAT32 -> {
                val view = floatView(input)
                view.rewind()
                view.put(looked(floatValues))
            }
        }
        input.rewind()
    }

    /** Source of colour [channel] of the input: red, green and blue, or the reverse. */
    private fun colour(channel: Int) = if (inRgb) channel else 2 - channel

    private fun looked(into: ByteArray): ByteArray {
        for (channel in 0 until 3) {
            val source = colour(channel)
            val table = bytes[source]
            for (i in 0 until into.size / 3) into[3 * i + channel] = table[pixels[3 * i + source].toInt() and 0xff]
        }
        return into
    }

    private fun looked(into: FloatArray): FloatArray {
        for (channel in 0 until 3) {
            val source = colour(channel)
            val table = floats[source]
            for (i in 0 until into.size / 3) into[3 * i + channel] = table[pixels[3 * i + source].toInt() and 0xff]
        }
        return into
    }

    private fun normalized(channel: Int): FloatArray = model.preprocessing.normalized(channel)

    private fun quantized(channel: Int): ByteArray {
        if (model.takesPixels) return ByteArray(256) { (it - 128).toByte() }
        val values = normalized(channel)
        return ByteArray(256) {
            val steps = Math.rint((values[it] / model.input.scale).toDouble()) + model.input.zeroPoint
            steps.coerceIn(-128.0, 127.0).toInt().toByte()
        }
    }

    private fun floatView(input: ByteBuffer): FloatBuffer {
        val kept = lastFloats
        if (kept != null && lastInput === input) return kept
        val view = input.duplicate().order(ByteOrder.nativeOrder()).asFloatBuffer()
        lastInput = input
        lastFloats = view
        return view
    }
}
