package io.github.shufflenettf.core

import kotlinx.serialization.SerialName
import kotlinx.serialization.Serializable
import kotlin.math.PI
import kotlin.math.abs
import kotlin.math.ceil
import kotlin.math.floor
import kotlin.math.sin

/** Interpolation kernels, named as in TensorFlow's `tf.image.ResizeMethod`. */
@Serializable
enum class Interpolation(internal val radius: Double) {
    @SerialName("bilinear")
    BILINEAR(1.0) {
        override fun weight(distance: Double): Double = maxOf(0.0, 1.0 - distance)
    },

    /** Keys' cubic kernel with a = -0.5. */
    @SerialName("bicubic")
    BICUBIC(2.0) {
        override fun weight(distance: Double): Double = when {
            distance >= 2.0 -> 0.0
            distance >= 1.0 -> ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
            else -> ((1.5 * distance - 2.5) * distance) * distance + 1.0
        }
    },

    /** The mean of the source area that a pixel covers. */
    @SerialName("area")
    AREA(0.0) {
        override fun weight(distance: Double): Double = throw UnsupportedOperationException("AREA has no kernel")
    },
    @SerialName("lanczos3")
    LANCZOS3(3.0) {
        override fun weight(distance: Double): Double = when {
            distance >= 3.0 -> 0.0
            distance <= 1e-3 -> 1.0
            else -> 3.0 * sin(PI * distance) * sin(PI * distance / 3.0) / (PI * PI * distance * distance)
        }
    }, ;

    /** Returns the kernel at [distance] >= 0 from its centre, in pixels. */
    internal abstract fun weight(distance: Double): Double
}

/**
 * The source pixels and weights of each result pixel along one axis.
 *
 * @property starts first source pixel of each result pixel, in ascending order.
 * @property taps number of source pixels per result pixel.
 * @property weights [size, taps] in units of 1/16384; each row sums to 16384.
 */
internal class ResizeWeights(val starts: IntArray, val taps: Int, val weights: IntArray) {
    val size: Int get() = starts.size

    /** First source pixel in use. */
    val first: Int get() = starts.first()

    /** One past the last source pixel in use. */
    val end: Int get() = starts.last() + taps

    /** Returns the weights of the reversed axis, which has [source] pixels. */
    fun flipped(source: Int): ResizeWeights =
        ResizeWeights(IntArray(size) { source - taps - starts[size - 1 - it] }, taps, weights.reversedArray())

    companion object {
        const val BITS = 14

        /**
         * Returns the weights of pixels [offset] to [offset] + [size] when [source] pixels are resized to [resized].
         *
         * These are TensorFlow's kernels: half-pixel centres, truncated and renormalized at the borders, and, with [antialias],
         * widened when downscaling.
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

        /** Returns weights in units of 1/16384. The largest takes the rounding error, so that a uniform area keeps its value. */
        private fun rounded(weights: DoubleArray): IntArray {
            var sum = 0.0
            for (weight in weights) sum += weight
            val whole = IntArray(weights.size) { floor(weights[it] / sum * (1 shl BITS) + 0.5).toInt() }
            val largest = whole.indices.maxBy { whole[it] }
            whole[largest] += (1 shl BITS) - whole.sum()
            return whole
        }

        /** Pads all rows to the same number of taps, which makes the loops faster. */
        private fun pack(starts: IntArray, rows: List<IntArray>, source: Int): ResizeWeights {
            val taps = rows.maxOf { it.size }
            val packed = IntArray(rows.size * taps)
            val packedStarts = IntArray(rows.size) { minOf(starts[it], source - taps) }
            for (i in rows.indices) rows[i].copyInto(packed, i * taps + starts[i] - packedStarts[i])
            return ResizeWeights(packedStarts, taps, packed)
        }
    }
}
