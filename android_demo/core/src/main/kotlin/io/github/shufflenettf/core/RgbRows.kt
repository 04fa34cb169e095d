package io.github.shufflenettf.core

/** A row of [count] pixels: red, green and blue, 0 to 255. */
internal class RgbRow(val count: Int) {
    val red = IntArray(count)
    val green = IntArray(count)
    val blue = IntArray(count)
}

/**
 * Reads rows of frames as red, green and blue.
 *
 * Each pixel is converted with the chroma sample that covers it, in 16-bit fixed point.
 *
 * @param first column to read; even.
 * @param count number of columns.
 */
internal class RgbRows(private val first: Int, private val count: Int) {
    private val luma = IntArray(count)

    // The contribution of U and V to each channel, for the two pixel rows that share a chroma row; and the index of that row.
    private val chroma = RgbRow((count + 1) / 2 * 2)
    private var chromaRow = -1
    private var bytes = ByteArray(0)
    private var moreBytes = ByteArray(0)

    init {
        require(first % 2 == 0) { "The first column is $first; it must be even, because two columns share a chroma sample." }
    }

    /** Clears the cached chroma row: a new frame begins. */
    fun reset() {
        chromaRow = -1
    }

    /** Reads row [y] of [frame] into [row]. */
    fun read(frame: Frame, y: Int, row: RgbRow) = when (frame) {
        is YuvFrame -> readYuv(frame, y, row)
        is RgbaFrame -> readRgba(frame.pixels, y, row)
    }

    private fun readRgba(plane: Plane, y: Int, row: RgbRow) {
        bytes = copied(plane, first, y, count, RgbaFrame.RGBA_BYTES, bytes)
        val source = bytes
        var at = 0
        for (i in 0 until count) {
            row.red[i] = source[at].toInt() and 0xff
            row.green[i] = source[at + 1].toInt() and 0xff
            row.blue[i] = source[at + 2].toInt() and 0xff
            at += plane.pixelStride
        }
    }

    private fun readYuv(frame: YuvFrame, y: Int, row: RgbRow) {
        val matrix = if (frame.range == YuvRange.FULL) FULL else LIMITED
        if (chromaRow != y / 2) {
            chromaRow = y / 2
            readChroma(frame, matrix)
        }
        bytes = copied(frame.y, first, y, count, 1, bytes)
        widen(bytes, frame.y.pixelStride, luma)
        combine(luma, matrix.luma, chroma.red, row.red)
        combine(luma, matrix.luma, chroma.green, row.green)
        combine(luma, matrix.luma, chroma.blue, row.blue)
    }

    private fun readChroma(frame: YuvFrame, matrix: Matrix) {
        val samples = chroma.count / 2
        bytes = copied(frame.u, first / 2, chromaRow, samples, 1, bytes)
        moreBytes = copied(frame.v, first / 2, chromaRow, samples, 1, moreBytes)
        val us = bytes
        val vs = moreBytes
        val uStride = frame.u.pixelStride
        val vStride = frame.v.pixelStride
        val (redV, greenU, greenV, blueU) = matrix.chroma
        val red = chroma.red
        val green = chroma.green
        val blue = chroma.blue
        for (i in 0 until samples) {
            val u = (us[i * uStride].toInt() and 0xff) - CENTRE
            val v = (vs[i * vStride].toInt() and 0xff) - CENTRE
            val left = 2 * i
            val right = left + 1
            red[left] = matrix.offset + redV * v
            red[right] = matrix.offset + redV * v
            green[left] = matrix.offset - greenU * u - greenV * v
            green[right] = matrix.offset - greenU * u - greenV * v
            blue[left] = matrix.offset + blueU * u
            blue[right] = matrix.offset + blueU * u
        }
    }

    /** Returns [buffer], or a longer one, with [samples] samples of row [y] starting at sample [x]; the last one has [size] bytes. */
    private fun copied(plane: Plane, x: Int, y: Int, samples: Int, size: Int, buffer: ByteArray): ByteArray {
        val length = (samples - 1) * plane.pixelStride + size
        val into = if (buffer.size < length) ByteArray(length) else buffer
        plane.copyRow(x, y, length, into)
        return into
    }

    /**
     * The BT.601 matrix times 65536.
     *
     * @property luma factor for Y.
     * @property offset one half, for rounding, minus black's contribution of Y.
     * @property chroma factors for V in red, U and V in green (to subtract), and U in blue.
     */
    private class Matrix(val luma: Int, val offset: Int, val chroma: IntArray)

    private companion object {
        const val BITS = 16
        const val CENTRE = 128
        val FULL = Matrix(65536, 32768, intArrayOf(91881, 22553, 46802, 116130))
        val LIMITED = Matrix(76309, 32768 - 16 * 76309, intArrayOf(104597, 25675, 53279, 132201))

        fun widen(source: ByteArray, stride: Int, into: IntArray) {
            if (stride == 1) {
                for (i in into.indices) into[i] = source[i].toInt() and 0xff
            } else {
                for (i in into.indices) into[i] = source[i * stride].toInt() and 0xff
            }
        }

        /** Whole arrays, and no min and max: compilers vectorize this form. */
        fun combine(luma: IntArray, scale: Int, chroma: IntArray, into: IntArray) {
            for (i in into.indices) {
                val value = (luma[i] * scale + chroma[i]) shr BITS
                val below255 = 255 - (value and (value shr 31).inv()) // a negative value becomes 0
                into[i] = 255 - (below255 and (below255 shr 31).inv())
            }
        }
    }
}
