package io.github.shufflenettf.core

import java.nio.ByteBuffer
import java.util.concurrent.atomic.AtomicBoolean

/**
 * One-byte samples in memory, as `Image.getPlanes` or `Bitmap.copyPixelsToBuffer` return them.
 *
 * Sample (x, y) is the byte at `offset + y * rowStride + x * pixelStride`; the last row may end after its last sample.
 *
 * @property buffer direct or on the heap; its position changes while a frame is read and is restored afterwards.
 * @property rowStride bytes from one row to the next.
 * @property pixelStride bytes from one sample to the next.
 * @property offset of sample (0, 0), bytes.
 */
class Plane(val buffer: ByteBuffer, val rowStride: Int, val pixelStride: Int, val offset: Int = 0) {
    internal fun require(width: Int, height: Int, bytes: Int = 1) {
        require(rowStride > 0 && pixelStride > 0 && offset >= 0) { "strides $rowStride, $pixelStride, offset $offset" }
        val end = offset + (height - 1L) * rowStride + (width - 1L) * pixelStride + bytes
        require(end <= buffer.limit()) { "a plane of ${buffer.limit()} bytes, but $width x $height samples need $end" }
    }

    /** Copies [length] bytes of row [y], starting at sample [x]. */
    internal fun copyRow(x: Int, y: Int, length: Int, into: ByteArray) {
        // A bulk copy: single bytes are several times slower on Android, and slices would allocate.
        val position = buffer.position()
        buffer.position(offset + y * rowStride + x * pixelStride)
        buffer.get(into, 0, length)
        buffer.position(position)
    }
}

/** The value range of Y, U and V under BT.601. */
enum class YuvRange {
    /** JPEG and cameras: Y is 0 to 255, U and V are 128 ± 127. */
    FULL,

    /** Video: Y is 16 to 235, U and V are 16 to 240. */
    LIMITED,
}

/**
 * An image as stored in memory, which need not be upright.
 *
 * @property width pixels.
 * @property height pixels.
 * @param release returns the memory to its owner; the first [close] runs it, in its thread.
 * @throws IllegalArgumentException the planes are too small.
 */
sealed class Frame(val width: Int, val height: Int, private val release: Runnable?) : AutoCloseable {
    private val closed = AtomicBoolean()

    init {
        require(width > 0 && height > 0) { "The frame is $width x $height pixels; both must be positive." }
    }

    final override fun close() {
        if (closed.compareAndSet(false, true)) release?.run()
    }
}

/**
 * A YUV 4:2:0 image: YUV_420_888 with any strides, which includes I420, NV12 and NV21.
 *
 * @property y [height, width].
 * @property u [(height + 1) / 2, (width + 1) / 2], one sample for 2 x 2 pixels.
 * @property v as `u`.
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
        /** Returns a frame without padding: the Y plane, the U plane, the V plane. */
        @JvmStatic
        @JvmOverloads
        fun i420(bytes: ByteBuffer, width: Int, height: Int, range: YuvRange, release: Runnable? = null): YuvFrame {
            val stride = (width + 1) / 2
            val u = Plane(bytes, stride, 1, width * height)
            val v = Plane(bytes, stride, 1, width * height + stride * ((height + 1) / 2))
            return YuvFrame(width, height, Plane(bytes, width, 1), u, v, range, release)
        }

        /** Returns a frame without padding: the Y plane, then interleaved U and V. */
        @JvmStatic
        @JvmOverloads
        fun nv12(bytes: ByteBuffer, width: Int, height: Int, range: YuvRange, release: Runnable? = null): YuvFrame =
            interleaved(bytes, width, height, 0, range, release)

        /** Returns a frame without padding: the Y plane, then interleaved V and U. */
        @JvmStatic
        @JvmOverloads
        fun nv21(bytes: ByteBuffer, width: Int, height: Int, range: YuvRange, release: Runnable? = null): YuvFrame =
            interleaved(bytes, width, height, 1, range, release)

        /** [first]: offset of U, 0 or 1; V has the other. */
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
 * An image with 4 bytes R, G, B, A per pixel: the memory layout of `Bitmap.Config.ARGB_8888` and `PixelFormat.RGBA_8888`.
 *
 * @property pixels [height, width], pixel stride 4 or more; alpha is ignored.
 */
class RgbaFrame(width: Int, height: Int, val pixels: Plane, release: Runnable? = null) : Frame(width, height, release) {
    init {
        require(pixels.pixelStride >= RGBA_BYTES) { "The pixel stride is ${pixels.pixelStride}; RGBA needs 4 or more." }
        pixels.require(width, height, RGBA_BYTES)
    }

    internal companion object {
        const val RGBA_BYTES = 4
    }
}
