package io.github.shufflenettf.core

/** A reference for [FrameResizer]: pixel by pixel, not optimized. */
internal object SlowReference {
    /** Returns red, green or blue (0, 1, 2) of pixel (x, y) of a frame in memory. */
    fun colour(frame: Frame, x: Int, y: Int, channel: Int): Int = when (frame) {
        is RgbaFrame -> frame.pixels.sample(x, y, channel)
        is YuvFrame -> {
            val v = frame.v.sample(x / 2, y / 2) - 128
            val u = frame.u.sample(x / 2, y / 2) - 128
            val full = frame.range == YuvRange.FULL
            val luma = if (full) frame.y.sample(x, y) * 65536 else (frame.y.sample(x, y) - 16) * 76309
            val chroma = when (channel) {
                0 -> (if (full) 91881 else 104597) * v
                1 -> if (full) -22553 * u - 46802 * v else -25675 * u - 53279 * v
                else -> (if (full) 116130 else 132201) * u
            }
            ((luma + chroma + 32768) shr 16).coerceIn(0, 255)
        }
    }

    private fun Plane.sample(x: Int, y: Int, byte: Int = 0): Int =
        buffer.get(offset + y * rowStride + x * pixelStride + byte).toInt() and 0xff

    fun resize(frame: Frame, rotation: Int, preprocessing: Preprocessing, width: Int, height: Int): ByteArray {
        val sideways = rotation % 180 != 0
        val across = axis(preprocessing, width, height, if (sideways) frame.height else frame.width, frame, sideways, width)
        val down = axis(preprocessing, width, height, if (sideways) frame.width else frame.height, frame, sideways, height)
        return ByteArray(width * height * 3) { at ->
            val channel = at % 3
            val columns = across[at / 3 % width]
            val rows = down[at / 3 / width]
            // Upright column i and row j; the vertical axis in memory is summed first.
            val inner = if (sideways) columns else rows
            val outer = if (sideways) rows else columns
            var sum = 0L
            for ((o, weight) in outer) {
                var part = 0L
                for ((i, innerWeight) in inner) {
                    part += innerWeight * upright(frame, rotation, if (sideways) i else o, if (sideways) o else i, channel).toLong()
                }
                sum += weight * ((part + 64) shr 7)
            }
            ((sum + (1L shl 20)) shr 21).coerceIn(0L, 255L).toByte()
        }
    }

    private fun upright(frame: Frame, rotation: Int, x: Int, y: Int, channel: Int): Int = when (rotation) {
        0 -> colour(frame, x, y, channel)
        90 -> colour(frame, y, frame.height - 1 - x, channel)
        180 -> colour(frame, frame.width - 1 - x, frame.height - 1 - y, channel)
        else -> colour(frame, frame.width - 1 - y, x, channel)
    }

    /** Returns, for each pixel along an upright axis, its source pixels and weights. */
    @Suppress("LongParameterList")
    private fun axis(
        preprocessing: Preprocessing,
        width: Int,
        height: Int,
        source: Int,
        frame: Frame,
        sideways: Boolean,
        size: Int,
    ): List<List<Pair<Int, Int>>> {
        val frameWidth = if (sideways) frame.height else frame.width
        val frameHeight = if (sideways) frame.width else frame.height
        val zoom = maxOf(height.toFloat() / frameHeight, width.toFloat() / frameWidth) *
            (preprocessing.resize.toDouble() / preprocessing.crop).toFloat()
        val resized = maxOf(Math.rint((source * zoom).toDouble()).toInt(), size)
        val weights = ResizeWeights.of(
            source, resized, (resized - size) / 2, size, preprocessing.interpolation, preprocessing.antialias,
        )
        return List(size) { i -> List(weights.taps) { k -> weights.starts[i] + k to weights.weights[i * weights.taps + k] } }
    }
}
