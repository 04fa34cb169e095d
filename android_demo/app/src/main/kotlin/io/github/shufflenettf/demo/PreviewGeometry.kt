package io.github.shufflenettf.demo

import android.graphics.Matrix
import android.graphics.RectF
import android.util.Size
import android.view.Surface
import kotlin.math.abs

/** How a camera's pictures lie in the phone's hand. */
internal object PreviewGeometry {
    /** Frames larger than that only cost time. */
    private const val MAX_FRAME_SIDE = 1920

    /** Returns the clockwise turn in degrees of a `Surface.ROTATION_` constant. */
    fun degrees(surfaceRotation: Int): Int = when (surfaceRotation) {
        Surface.ROTATION_90 -> 90
        Surface.ROTATION_180 -> 180
        Surface.ROTATION_270 -> 270
        else -> 0
    }

    /**
     * Returns the clockwise degrees by which a frame has to be turned to be upright on the display.
     *
     * @param sensor the camera's SENSOR_ORIENTATION.
     * @param display degrees that the display's content is turned by.
     * @param front whether the camera looks at the user: it turns the other way round.
     */
    fun frameRotation(sensor: Int, display: Int, front: Boolean): Int =
        if (front) (sensor + display) % 360 else (sensor - display + 360) % 360

    /**
     * Returns the size of frames to classify: the smallest with enough pixels for the network and the sensor's own
     * proportions, because others are cut out of these.
     *
     * @param shortSide pixels of the shorter side that are enough.
     */
    fun frameSize(sizes: Array<Size>, sensor: Size, shortSide: Int): Size {
        val fitting = sizes.filter { minOf(it.width, it.height) >= shortSide && maxOf(it.width, it.height) <= MAX_FRAME_SIDE }
            .ifEmpty { sizes.asList() }
        val proportions = fitting.minOf { difference(it, sensor) }
        return fitting.filter { difference(it, sensor) <= proportions + TOLERANCE }.minBy { it.width.toLong() * it.height }
    }

    /** Returns the size of the preview: the largest useful one with the proportions of the [frame], so that both show the same. */
    fun previewSize(sizes: Array<Size>, frame: Size): Size =
        sizes.filter { maxOf(it.width, it.height) <= MAX_FRAME_SIDE && difference(it, frame) <= TOLERANCE }
            .maxByOrNull { it.width.toLong() * it.height } ?: frame

    private const val TOLERANCE = 0.02f

    private fun difference(a: Size, b: Size): Float = abs(a.width.toFloat() / a.height - b.width.toFloat() / b.height)

    /**
     * Returns the transform of a TextureView that shows all of the preview, upright and undistorted.
     *
     * The camera service turns the preview upright for the phone's natural position, and the view stretches it to its size.
     *
     * @param preview size of the camera's buffers.
     * @param sensor the camera's SENSOR_ORIENTATION.
     * @param display degrees that the display's content is turned by.
     */
    fun transform(viewWidth: Float, viewHeight: Float, preview: Size, sensor: Int, display: Int): Matrix {
        val natural = upright(preview, sensor)
        val shown = upright(natural, display)
        val scale = minOf(viewWidth / shown.width, viewHeight / shown.height)
        val view = RectF(0f, 0f, viewWidth, viewHeight)
        val picture = RectF(0f, 0f, natural.width.toFloat(), natural.height.toFloat())
        picture.offset(view.centerX() - picture.centerX(), view.centerY() - picture.centerY())
        return Matrix().apply {
            setRectToRect(view, picture, Matrix.ScaleToFit.FILL)
            postRotate(-display.toFloat(), view.centerX(), view.centerY())
            postScale(scale, scale, view.centerX(), view.centerY())
        }
    }

    /** Returns the shorter side, in the view's pixels, of a picture that the view shows all of. */
    fun shownShortSide(viewWidth: Float, viewHeight: Float, picture: Size, rotation: Int): Float {
        val shown = upright(picture, rotation)
        return minOf(viewWidth / shown.width, viewHeight / shown.height) * minOf(shown.width, shown.height)
    }

    /** Returns the size of a picture after a turn. */
    fun upright(size: Size, degrees: Int): Size = if (degrees % 180 == 0) size else Size(size.height, size.width)
}
