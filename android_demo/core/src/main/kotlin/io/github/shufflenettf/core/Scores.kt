package io.github.shufflenettf.core

import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.exp

/**
 * Reads probabilities from a model's output.
 *
 * @param output the output tensor.
 */
internal class Scores(private val output: Tensor) {
    /** The probability of each class, dequantized. */
    val probabilities = FloatArray(output.size)

    /** The smallest of the last values. */
    var minimum = 0f
        private set

    /** The largest of the last values. */
    var maximum = 0f
        private set

    /** Whether the last values can be probabilities. */
    val plausible: Boolean get() = minimum >= 0f && maximum <= 1.001f

    /** Reads [buffer] from byte 0, in native order. */
    fun read(buffer: ByteBuffer) {
        buffer.order(ByteOrder.nativeOrder())
        minimum = Float.POSITIVE_INFINITY
        maximum = Float.NEGATIVE_INFINITY
        for (i in probabilities.indices) {
            val value = when (output.type) {
                TensorType.FLOAT32 -> buffer.getFloat(4 * i)
                TensorType.UINT8 -> ((buffer.get(i).toInt() and 0xff) - output.zeroPoint) * output.scale
                TensorType.INT8 -> (buffer.get(i) - output.zeroPoint) * output.scale
            }
            probabilities[i] = value
            minimum = minOf(minimum, value) // NaN stays NaN
            maximum = maxOf(maximum, value)
        }
    }
}

/** Selects the most likely classes without sorting all of them. */
internal object TopK {
    /**
     * Fills [indices] and [values] with the largest of [probabilities] in descending order; ties are ordered by index.
     *
     * @return the number of entries: those that reach [threshold], at most the size of [indices].
     */
    fun select(probabilities: FloatArray, threshold: Float, indices: IntArray, values: FloatArray): Int {
        var count = 0
        for (i in probabilities.indices) {
            val value = probabilities[i]
            if (!(value >= threshold) || (count == indices.size && (count == 0 || value <= values[count - 1]))) continue
            var place = if (count < indices.size) count++ else count - 1
            while (place > 0 && values[place - 1] < value) {
                values[place] = values[place - 1]
                indices[place] = indices[place - 1]
                place--
            }
            values[place] = value
            indices[place] = i
        }
        return count
    }
}

/**
 * Exponential smoothing over time: bars don't flicker, and smoothing doesn't depend on the frame rate.
 *
 * @param classes number of values.
 */
internal class Smoothing(classes: Int) {
    /** The smoothed probabilities. */
    val probabilities = FloatArray(classes)
    private var last = 0L
    private var empty = true

    /** Discards earlier values. */
    fun reset() {
        empty = true
    }

    /**
     * Adds new [values].
     *
     * @param nanos their time, nanoseconds.
     * @param milliseconds time constant: after it the old values have the weight 1/e; 0: no smoothing.
     */
    fun add(values: FloatArray, nanos: Long, milliseconds: Float) {
        val elapsed = maxOf(nanos - last, 0L) / 1e6
        val keep = if (empty || milliseconds <= 0f) 0f else exp(-elapsed / milliseconds).toFloat()
        for (i in probabilities.indices) {
            // Not a sum of two products: for equal values, rounding could change the result.
            probabilities[i] = if (keep == 0f) values[i] else values[i] + keep * (probabilities[i] - values[i])
        }
        last = nanos
        empty = false
    }
}
