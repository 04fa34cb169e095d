package io.github.shufflenettf.core

/**
 * Rotates frames upright, resizes and centre-crops them, as `Preprocessing.resize_and_crop` does for evaluation.
 *
 * Computes in integers, and only the pixels of the result. The tables for one frame size and rotation are cached, so nothing
 * is allocated while both stay the same. Not thread-safe.
 *
 * @property preprocessing defines resizing and cropping.
 * @property width of the result, pixels.
 * @property height of the result, pixels.
 */
class FrameResizer(val preprocessing: Preprocessing, val width: Int, val height: Int) {
    /** The result of the last [resize], [height, width, 3]: red, green, blue. */
    val pixels: ByteArray = ByteArray(height * width * 3)

    private var plan: Plan? = null

    /**
     * Fills [pixels].
     *
     * @param frame the image as stored in memory.
     * @param rotation clockwise degrees that make it upright: 0, 90, 180 or 270.
     */
    fun resize(frame: Frame, rotation: Int) {
        requireRotation(rotation)
        val current = plan?.takeIf { it.fits(frame, rotation) } ?: Plan(frame.width, frame.height, rotation)
        plan = current
        current.resize(frame)
    }

    /** Everything that depends on the size and rotation of frames. Columns and rows are those of the frame in memory. */
    private inner class Plan(private val frameWidth: Int, private val frameHeight: Int, private val rotation: Int) {
        private val columns: ResizeWeights
        private val rows: ResizeWeights

        init {
            val sideways = rotation % 180 != 0
            val (across, down) = weights(if (sideways) frameHeight else frameWidth, if (sideways) frameWidth else frameHeight)
            columns = if (sideways) down.flippedIf(rotation == 270, frameWidth) else across.flippedIf(rotation == 180, frameWidth)
            rows = if (sideways) across.flippedIf(rotation == 90, frameHeight) else down.flippedIf(rotation == 180, frameHeight)
        }

        private val first = columns.first / 2 * 2
        private val count = columns.end - first
        private val reader = RgbRows(first, count)

        // The source rows of the current row, row y at y % taps; their weighted sum; and red and blue of the sum packed in one number.
        private val ring = Array(rows.taps) { RgbRow(count) }
        private val sum = RgbRow(count)
        private val redBlue = LongArray(count)

        // The byte offset of column i and row j in the result: origin + i * right + j * below.
        private val right = 3 * when (rotation) { 0 -> 1; 90 -> width; 180 -> -1; else -> -width }
        private val below = 3 * when (rotation) { 0 -> width; 90 -> -1; 180 -> -width; else -> 1 }
        private val origin = maxOf(0, -right) * (columns.size - 1) + maxOf(0, -below) * (rows.size - 1)

        private fun ResizeWeights.flippedIf(backwards: Boolean, source: Int) = if (backwards) flipped(source) else this

        fun fits(frame: Frame, rotation: Int): Boolean =
            frame.width == frameWidth && frame.height == frameHeight && rotation == this.rotation

        fun resize(frame: Frame) {
            reader.reset()
            var next = 0 // row to read
            for (j in 0 until rows.size) {
                val start = rows.starts[j]
                for (y in maxOf(next, start) until start + rows.taps) reader.read(frame, y, ring[y % rows.taps])
                next = start + rows.taps
                addRows(j)
                addColumns(origin + j * below)
            }
        }

        /** Computes the weighted sum of the source rows of row [j]; keeps 7 of its 14 fractional bits. */
        private fun addRows(j: Int) {
            sum.red.fill(HALF_ROW)
            sum.green.fill(HALF_ROW)
            sum.blue.fill(HALF_ROW)
            for (k in 0 until rows.taps) {
                val weight = rows.weights[j * rows.taps + k]
                if (weight == 0) continue
                val row = ring[(rows.starts[j] + k) % rows.taps]
                add(row.red, weight, sum.red)
                add(row.green, weight, sum.green)
                add(row.blue, weight, sum.blue)
            }
            val red = sum.red
            val green = sum.green
            val blue = sum.blue
            for (i in red.indices) redBlue[i] = ((blue[i] shr ROW_SHIFT).toLong() shl 32) + (red[i] shr ROW_SHIFT)
            for (i in green.indices) green[i] = green[i] shr ROW_SHIFT
        }

        /** Computes the weighted sums of the columns of a row and writes its pixels, the first at byte [start]. */
        private fun addColumns(start: Int) {
            val starts = columns.starts
            val weights = columns.weights
            val taps = columns.taps
            val redBlue = redBlue
            val greens = sum.green
            var at = start
            var weight = 0
            for (i in starts.indices) {
                var both = (HALF.toLong() shl 32) + HALF
                var green = HALF
                for (source in starts[i] - first until starts[i] - first + taps) {
                    val w = weights[weight++]
                    both += w * redBlue[source]
                    green += w * greens[source]
                }
                val red = both.toInt()
                pixels[at] = pixel(red)
                pixels[at + 1] = pixel(green)
                pixels[at + 2] = pixel(((both - red) shr 32).toInt())
                at += right
            }
        }

        private fun pixel(sum: Int): Byte = minOf(maxOf(sum shr SHIFT, 0), 255).toByte()
    }

    /** Returns the horizontal and vertical weights of an upright image. */
    private fun weights(sourceWidth: Int, sourceHeight: Int): Pair<ResizeWeights, ResizeWeights> {
        // Single precision, as in evaluation: sizes must round to the same pixel.
        val ratio = (preprocessing.resize.toDouble() / preprocessing.crop).toFloat()
        val factor = maxOf(height.toFloat() / sourceHeight, width.toFloat() / sourceWidth) * ratio
        fun along(source: Int, size: Int): ResizeWeights {
            val resized = maxOf(Math.rint((source * factor).toDouble()).toInt(), size)
            val offset = (resized - size) / 2
            return ResizeWeights.of(source, resized, offset, size, preprocessing.interpolation, preprocessing.antialias)
        }
        return Pair(along(sourceWidth, width), along(sourceHeight, height))
    }

    internal companion object {
        private const val ROW_SHIFT = 7
        private const val HALF_ROW = 1 shl (ROW_SHIFT - 1)
        private const val SHIFT = 2 * ResizeWeights.BITS - ROW_SHIFT
        private const val HALF = 1 shl (SHIFT - 1)

        private fun add(row: IntArray, weight: Int, sum: IntArray) {
            for (i in sum.indices) sum[i] += row[i] * weight
        }

        fun requireRotation(rotation: Int) =
            require(rotation in 0..270 && rotation % 90 == 0) { "The rotation is $rotation degrees; it can be 0, 90, 180 or 270." }
    }
}
