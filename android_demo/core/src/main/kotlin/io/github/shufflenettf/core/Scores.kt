package io.github.shufflenettf.core

import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.exp

/**
 * Reads probabilities from a model's output.
 *
 * @param output the tensor.
 */
internal class Scores(private val output: Tensor) {
    /** The probability of each class, as real values. */
    val probabilities = FloatArray(output.size)

    /** Smallest of the values last read. */
    var minimum = 0f
        private set

    /** Largest of the values last read. */
    var maximum = 0f
        private set

    /** Whether the values last read can be probabilities. */
    val plausible: Boolean get() = minimum >= 0f && maximum <= 1.001f

    /** Reads [buffer] in native order, from byte 0 on. */
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

/** The likeliest classes: chooses and sorts them without sorting all. */
internal object TopK {
    /**
     * Fills [indices] and [values] with the largest of [probabilities], the largest first and equal ones by index.
     *
     * @return how many there are that are not below [threshold], at most as many as there is room for.
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
 * Exponential smoothing over time, so that bars neither flicker nor depend on how many frames a second there are.
 *
 * @param classes how many values.
 */
internal class Smoothing(classes: Int) {
    /** The smoothed probabilities. */
    val probabilities = FloatArray(classes)
    private var last = 0L
    private var empty = true

    /** Forgets all before. */
    fun reset() {
        empty = true
    }

    /**
     * Takes in new [values].
     *
     * @param nanos when they were seen.
     * @param milliseconds after which the old values count 1/e; 0: not at all.
     */
    fun add(values: FloatArray, nanos: Long, milliseconds: Float) {
        val elapsed = maxOf(nanos - last, 0L) / 1e6
        val keep = if (empty || milliseconds <= 0f) 0f else exp(-elapsed / milliseconds).toFloat()
        for (i in probabilities.indices) {
            // Not the sum of two products, which for equal values needn't be that value.
            probabilities[i] = if (keep == 0f) values[i] else values[i] + keep * (probabilities[i] - values[i])
        }
        last = nanos
        empty = false
    }
}
