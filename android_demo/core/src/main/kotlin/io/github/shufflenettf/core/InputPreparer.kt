package io.github.shufflenettf.core

import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.FloatBuffer

/**
 * Converts frames to a model's input: rotates, resizes, crops and converts to the input's type.
 *
 * Nothing is allocated while frame size, rotation and buffer stay the same. Not thread-safe.
 *
 * @param model whose input is prepared.
 */
class InputPreparer(private val model: ModelInfo) {
    private val resizer = FrameResizer(model.preprocessing, model.inputWidth, model.inputHeight)
    private val inRgb = model.takesPixels || model.preprocessing.channelOrder == ChannelOrder.RGB

    /** The network's input as an image: [height, width, 3], RGB, 0 to 255. */
    val pixels: ByteArray get() = resizer.pixels

    // Lookup tables for each channel, [3, 256]; both are empty if the model takes pixels unchanged.
    private val bytes = if (model.input.type == TensorType.INT8) Array(3) { quantized(it) } else emptyArray()
    private val floats = if (model.input.type == TensorType.FLOAT32) Array(3) { normalized(it) } else emptyArray()

    private val byteValues = ByteArray(if (bytes.isEmpty()) 0 else pixels.size)
    private val floatValues = FloatArray(if (floats.isEmpty()) 0 else pixels.size)
    private var lastInput: ByteBuffer? = null
    private var lastFloats: FloatBuffer? = null

    /**
     * Fills a model's input.
     *
     * @param frame the image as stored in memory.
     * @param rotation clockwise degrees that make it upright: 0, 90, 180 or 270.
     * @param input `model.input.bytes` bytes, filled from 0 in native order; its position becomes 0.
     */
    fun prepare(frame: Frame, rotation: Int, input: ByteBuffer) {
        resizer.resize(frame, rotation)
        input.rewind()
        when (model.input.type) {
            TensorType.UINT8 -> input.put(pixels)
            TensorType.INT8 -> input.put(lookUp(byteValues))
            TensorType.FLOAT32 -> {
                val view = floatView(input)
                view.rewind()
                view.put(lookUp(floatValues))
            }
        }
        input.rewind()
    }

    /** Returns the RGB channel that input channel [channel] holds. */
    private fun colour(channel: Int) = if (inRgb) channel else 2 - channel

    private fun lookUp(into: ByteArray): ByteArray {
        for (channel in 0 until 3) {
            val source = colour(channel)
            val table = bytes[source]
            for (i in 0 until into.size / 3) into[3 * i + channel] = table[pixels[3 * i + source].toInt() and 0xff]
        }
        return into
    }

    private fun lookUp(into: FloatArray): FloatArray {
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
        val cached = lastFloats
        if (cached != null && lastInput === input) return cached
        val view = input.duplicate().order(ByteOrder.nativeOrder()).asFloatBuffer()
        lastInput = input
        lastFloats = view
        return view
    }
}
