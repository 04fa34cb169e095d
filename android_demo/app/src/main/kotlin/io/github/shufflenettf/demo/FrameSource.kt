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
 * The camera's frames, the newest only.
 *
 * @param size of the frames, not turned upright.
 * @param onFrame takes a frame and closes it in the end; called in a thread of its own.
 */
internal class FrameSource(size: Size, private val onFrame: (YuvFrame) -> Unit) {
    private val thread = HandlerThread("frames").apply { start() }
    private val handler = Handler(thread.looper)
    private val reader = ImageReader.newInstance(size.width, size.height, ImageFormat.YUV_420_888, MAX_IMAGES)

    /** The source itself and the frames that somebody reads: closing the reader takes their memory away. */
    private val users = AtomicInteger(1)

    /** Where the camera puts them. */
    val surface: Surface = reader.surface

    init {
        // Older ones are dropped: a late picture is worth nothing.
        reader.setOnImageAvailableListener({ it.acquireLatestImage()?.let(::give) }, handler)
    }

    private fun give(image: Image) {
        users.incrementAndGet()
        val (y, u, v) = image.planes.map { Plane(it.buffer, it.rowStride, it.pixelStride) }
        onFrame(
            YuvFrame(image.width, image.height, y, u, v, image.range()) {
                image.close()
                release()
            },
        )
    }

    /** Ends the frames; what is being read stays readable until it is closed. */
    fun close() {
        reader.setOnImageAvailableListener(null, null)
        handler.post(::release) // behind a frame that is just being given
        thread.quitSafely()
    }

    private fun release() {
        if (users.decrementAndGet() == 0) reader.close()
    }

    private companion object {
        /** One in work, one waiting, one just coming, one that replaces it. */
        const val MAX_IMAGES = 4

        /** Cameras give the full range unless they say otherwise, which they can since Android 13. */
        fun Image.range(): YuvRange {
            val asked = Build.VERSION.SDK_INT >= Build.VERSION_CODES.TIRAMISU
            val limited = asked && DataSpace.getRange(dataSpace) == DataSpace.RANGE_LIMITED
            return if (limited) YuvRange.LIMITED else YuvRange.FULL
        }
    }
}
