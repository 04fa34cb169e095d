package io.github.shufflenettf.core

import kotlin.math.PI
import kotlin.math.abs
import kotlin.math.ceil
import kotlin.math.floor
import kotlin.math.sin

/** How pixels between pixels are guessed, by the names of TensorFlow's `tf.image.ResizeMethod`. */
enum class Interpolation(internal val radius: Double) {
    BILINEAR(1.0) {
        override fun weight(distance: Double): Double = maxOf(0.0, 1.0 - distance)
    },

    /** Keys' cubic with a = -0.5. */
    BICUBIC(2.0) {
        override fun weight(distance: Double): Double = when {
            distance >= 2.0 -> 0.0
            distance >= 1.0 -> ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
            else -> ((1.5 * distance - 2.5) * distance) * distance + 1.0
        }
    },

    /** The mean of what a pixel covers. */
    AREA(0.0) {
        override fun weight(distance: Double): Double = throw UnsupportedOperationException("an area has no kernel")
    },
    LANCZOS3(3.0) {
        override fun weight(distance: Double): Double = when {
            distance >= 3.0 -> 0.0
            distance <= 1e-3 -> 1.0
            else -> 3.0 * sin(PI * distance) * sin(PI * distance / 3.0) / (PI * PI * distance * distance)
        }
    }, ;

    /** The kernel at [distance] >= 0 from its middle, in pixels. */
    internal abstract fun weight(distance: Double): Double
}

/**
 * Of which source pixels each pixel along one axis is made.
 *
 * @property starts first source pixel of each; it never goes back from a pixel to the next.
 * @property taps number of source pixels of each.
 * @property weights [size, taps] in 1/16384, of which each row sums to 16384.
 */
internal class ResizeWeights(val starts: IntArray, val taps: Int, val weights: IntArray) {
    val size: Int get() = starts.size

    /** First source pixel that any uses. */
    val first: Int get() = starts.first()

    /** The one behind the last source pixel that any uses. */
    val end: Int get() = starts.last() + taps

    /** Returns the weights of the axis the other way round, of [source] pixels. */
    fun flipped(source: Int): ResizeWeights =
        ResizeWeights(IntArray(size) { source - taps - starts[size - 1 - it] }, taps, weights.reversedArray())

    companion object {
        const val BITS = 14

        /**
         * Returns the weights of pixels [offset] to [offset] + [size] of [source] pixels that are resized to [resized].
         *
         * These are TensorFlow's kernels: of half-pixel centres, cut off and rescaled at the borders, and, if [antialias],
         * widened where the picture shrinks.
         */
        fun of(
            source: Int,
            resized: Int,
            offset: Int,
            size: Int,
            interpolation: Interpolation,
            antialias: Boolean,
        ): ResizeWeights {
            val step = source.toDouble() / resized
            val widening = if (antialias) maxOf(step, 1.0) else 1.0
            val starts = IntArray(size)
            val rows = Array(size) { i ->
                if (interpolation == Interpolation.AREA) {
                    val low = (i + offset) * step
                    val high = minOf(low + step, source.toDouble())
                    starts[i] = minOf(floor(low).toInt(), source - 1)
                    val end = maxOf(ceil(high).toInt(), starts[i] + 1)
                    DoubleArray(end - starts[i]) { minOf(starts[i] + it + 1.0, high) - maxOf((starts[i] + it).toDouble(), low) }
                } else {
                    val middle = (i + offset + 0.5) * step
                    val reach = interpolation.radius * widening
                    starts[i] = ceil(middle - reach - 0.5).toInt().coerceIn(0, source - 1)
                    val end = floor(middle + reach - 0.5).toInt().coerceIn(0, source - 1) + 1
                    DoubleArray(end - starts[i]) { interpolation.weight(abs(starts[i] + it + 0.5 - middle) / widening) }
                }
            }
            return pack(starts, rows.map(::rounded), source)
        }

        /** Weights in 1/16384; what rounding leaves over goes to the largest, so that a plain area stays what it is. */
        private fun rounded(weights: DoubleArray): IntArray {
            var sum = 0.0
            for (weight in weights) sum += weight
            val whole = IntArray(weights.size) { floor(weights[it] / sum * (1 shl BITS) + 0.5).toInt() }
            val largest = whole.indices.maxBy { whole[it] }
            whole[largest] += (1 shl BITS) - whole.sum()
            return whole
        }

        /** Gives all the same number of taps, which loops are faster for. */
        private fun pack(starts: IntArray, rows: List<IntArray>, source: Int): ResizeWeights {
            val taps = rows.maxOf { it.size }
            val packed = IntArray(rows.size * taps)
            val packedStarts = IntArray(rows.size) { minOf(starts[it], source - taps) }
            for (i in rows.indices) rows[i].copyInto(packed, i * taps + starts[i] - packedStarts[i])
            return ResizeWeights(packedStarts, taps, packed)
        }
    }
}
