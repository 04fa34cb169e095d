package io.github.shufflenettf.core

import java.nio.ByteBuffer
import java.util.concurrent.atomic.AtomicBoolean

/**
 * Samples of one byte in memory, as `Image.getPlanes` or `Bitmap.copyPixelsToBuffer` give them.
 *
 * Sample (x, y) is the byte at `offset + y * rowStride + x * pixelStride`; the last row may end with its last sample.
 *
 * @property buffer direct or on the heap; its position is moved while a frame is read and put back afterwards.
 * @property rowStride bytes from a row to the next.
 * @property pixelStride bytes from a sample to the next.
 * @property offset byte of sample (0, 0).
 */
class Plane(val buffer: ByteBuffer, val rowStride: Int, val pixelStride: Int, val offset: Int = 0) {
    internal fun require(width: Int, height: Int, bytes: Int = 1) {
        require(rowStride > 0 && pixelStride > 0 && offset >= 0) { "strides $rowStride, $pixelStride, offset $offset" }
        val end = offset + (height - 1L) * rowStride + (width - 1L) * pixelStride + bytes
        require(end <= buffer.limit()) { "a plane of ${buffer.limit()} bytes, but $width x $height samples need $end" }
    }

    /** Copies [length] bytes of row [y], from its sample [x] on. */
    internal fun copyRow(x: Int, y: Int, length: Int, into: ByteArray) {
        // In one piece: byte by byte is several times slower on Android, and slices would be garbage.
        val position = buffer.position()
        buffer.position(offset + y * rowStride + x * pixelStride)
        buffer.get(into, 0, length)
        buffer.position(position)
    }
}

/** Which values of Y, U and V are black, white and colourless, under BT.601. */
enum class YuvRange {
    /** JPEG's and a camera's: Y 0 to 255, U and V 128 and up to 127 around it. */
    FULL,

    /** Video's: Y 16 to 235, U and V 16 to 240. */
    LIMITED,
}

/**
 * A picture as it lies in memory, which needn't be upright.
 *
 * @property width in pixels.
 * @property height in pixels.
 * @param release gives the memory back to its owner; run by the first [close] only, in whichever thread that is.
 * @throws IllegalArgumentException the planes are too small for it.
 */
sealed class Frame(val width: Int, val height: Int, private val release: Runnable?) : AutoCloseable {
    private val closed = AtomicBoolean()

    init {
        require(width > 0 && height > 0) { "a frame of $width x $height" }
    }

    final override fun close() {
        if (closed.compareAndSet(false, true)) release?.run()
    }
}

/**
 * A YUV 4:2:0 picture: YUV_420_888 of any strides, so also I420, NV12 and NV21.
 *
 * @property y [height, width].
 * @property u [(height + 1) / 2, (width + 1) / 2], each sample for 2 x 2 pixels.
 * @property v the same.
 * @property range of the values.
 */
class YuvFrame(
    width: Int,
    height: Int,
    val y: Plane,
    val u: Plane,
    val v: Plane,
    val range: YuvRange,
    release: Runnable? = null,
) : Frame(width, height, release) {
    init {
        y.require(width, height)
        u.require((width + 1) / 2, (height + 1) / 2)
        v.require((width + 1) / 2, (height + 1) / 2)
    }

    companion object {
        /** A frame without gaps: all of Y, then all of U, then all of V. */
        @JvmStatic
        @JvmOverloads
        fun i420(bytes: ByteBuffer, width: Int, height: Int, range: YuvRange, release: Runnable? = null): YuvFrame {
            val stride = (width + 1) / 2
            val u = Plane(bytes, stride, 1, width * height)
            val v = Plane(bytes, stride, 1, width * height + stride * ((height + 1) / 2))
            return YuvFrame(width, height, Plane(bytes, width, 1), u, v, range, release)
        }

        /** A frame without gaps: all of Y, then U and V in turn. */
        @JvmStatic
        @JvmOverloads
        fun nv12(bytes: ByteBuffer, width: Int, height: Int, range: YuvRange, release: Runnable? = null): YuvFrame =
            interleaved(bytes, width, height, 0, range, release)

        /** A frame without gaps: all of Y, then V and U in turn. */
        @JvmStatic
        @JvmOverloads
        fun nv21(bytes: ByteBuffer, width: Int, height: Int, range: YuvRange, release: Runnable? = null): YuvFrame =
            interleaved(bytes, width, height, 1, range, release)

        /** [first]: whether U or V comes first, 0 or 1. */
        private fun interleaved(
            bytes: ByteBuffer,
            width: Int,
            height: Int,
            first: Int,
            range: YuvRange,
            release: Runnable?,
        ): YuvFrame {
            val stride = (width + 1) / 2 * 2
            fun plane(shift: Int) = Plane(bytes, stride, 2, width * height + shift)
            return YuvFrame(width, height, Plane(bytes, width, 1), plane(first), plane(1 - first), range, release)
        }
    }
}

/**
 * A picture of 4 bytes R, G, B, A a pixel, as Android's `Bitmap.Config.ARGB_8888` and `PixelFormat.RGBA_8888` lie in memory.
 *
 * @property pixels [height, width] with a pixel stride of 4 or more; alpha is ignored.
 */
class RgbaFrame(width: Int, height: Int, val pixels: Plane, release: Runnable? = null) : Frame(width, height, release) {
    init {
        require(pixels.pixelStride >= RGBA_BYTES) { "a pixel stride of ${pixels.pixelStride}, but RGBA takes 4 bytes" }
        pixels.require(width, height, RGBA_BYTES)
    }

    internal companion object {
        const val RGBA_BYTES = 4
    }
}
