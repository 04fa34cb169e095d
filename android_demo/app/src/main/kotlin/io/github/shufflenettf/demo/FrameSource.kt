package io.github.shufflenettf.demo

import android.graphics.ImageFormat
import android.hardware.DataSpace
import android.media.Image
import android.media.ImageReader
import android.os.Build
import android.os.Handler
import android.os.HandlerThread
import android.util.Size
import android.view.Surface
import io.github.shufflenettf.core.Plane
import io.github.shufflenettf.core.YuvFrame
import io.github.shufflenettf.core.YuvRange
import java.util.concurrent.atomic.AtomicInteger

/**
 * Delivers the newest camera frames and drops older ones.
 *
 * @param size of the frames, before rotation.
 * @param onFrame receives a frame and must close it; called in a separate thread.
 */
internal class FrameSource(size: Size, private val onFrame: (YuvFrame) -> Unit) {
    private val thread = HandlerThread("frames").apply { start() }
    private val handler = Handler(thread.looper)
    private val reader = ImageReader.newInstance(size.width, size.height, ImageFormat.YUV_420_888, MAX_IMAGES)

    /** Reference count: this source and the frames in use. Closing the reader would free the memory of these frames. */
    private val users = AtomicInteger(1)

    /** The camera's output for the frames. */
    val surface: Surface = reader.surface

    init {
        // Older frames are dropped: late results are useless.
        reader.setOnImageAvailableListener({ it.acquireLatestImage()?.let(::deliver) }, handler)
    }

    private fun deliver(image: Image) {
        users.incrementAndGet()
        val (y, u, v) = image.planes.map { Plane(it.buffer, it.rowStride, it.pixelStride) }
        onFrame(
            YuvFrame(image.width, image.height, y, u, v, image.range()) {
                image.close()
                release()
            },
        )
    }

    /** Stops the frames; those in use stay readable until they are closed. */
    fun close() {
        reader.setOnImageAvailableListener(null, null)
        handler.post(::release) // after a frame that is being delivered
        thread.quitSafely()
    }

    private fun release() {
        if (users.decrementAndGet() == 0) reader.close()
    }

    private companion object {
        /** One in use, one waiting, one arriving, one that replaces it. */
        const val MAX_IMAGES = 4

        /** Cameras use the full range unless they report another, which Android 13 and newer support. */
        fun Image.range(): YuvRange {
            val supported = Build.VERSION.SDK_INT >= Build.VERSION_CODES.TIRAMISU
            val limited = supported && DataSpace.getRange(dataSpace) == DataSpace.RANGE_LIMITED
            return if (limited) YuvRange.LIMITED else YuvRange.FULL
        }
    }
}
