package io.github.shufflenettf.demo

import android.graphics.Matrix
import android.graphics.RectF
import android.util.Size
import android.view.Surface
import kotlin.math.abs

/** Rotations and sizes of camera images: decides how frames and preview become upright. */
internal object PreviewGeometry {
    /** Larger frames only cost time. */
    private const val MAX_FRAME_SIDE = 1920

    /** Returns the clockwise degrees of a `Surface.ROTATION_` constant. */
    fun degrees(surfaceRotation: Int): Int = when (surfaceRotation) {
        Surface.ROTATION_90 -> 90
        Surface.ROTATION_180 -> 180
        Surface.ROTATION_270 -> 270
        else -> 0
    }

    /**
     * Returns the clockwise degrees that make a frame upright on the display.
     *
     * @param sensor the camera's SENSOR_ORIENTATION.
     * @param display rotation of the display, degrees.
     * @param front whether the camera faces the user, which reverses the direction.
     */
    fun frameRotation(sensor: Int, display: Int, front: Boolean): Int =
        if (front) (sensor + display) % 360 else (sensor - display + 360) % 360

    /**
     * Returns the size of the frames to classify: the smallest with enough pixels for the network and the sensor's aspect
     * ratio, because other sizes are cropped.
     *
     * @param shortSide required length of the shorter side, pixels.
     */
    fun frameSize(sizes: Array<Size>, sensor: Size, shortSide: Int): Size {
        val candidates = sizes.filter { minOf(it.width, it.height) >= shortSide && maxOf(it.width, it.height) <= MAX_FRAME_SIDE }
            .ifEmpty { sizes.asList() }
        val aspectDifference = candidates.minOf { difference(it, sensor) }
        return candidates.filter { difference(it, sensor) <= aspectDifference + TOLERANCE }.minBy { it.width.toLong() * it.height }
    }

    /** Returns the size of the preview: the largest useful one with the aspect ratio of [frame], so that both show the same scene. */
    fun previewSize(sizes: Array<Size>, frame: Size): Size =
        sizes.filter { maxOf(it.width, it.height) <= MAX_FRAME_SIDE && difference(it, frame) <= TOLERANCE }
            .maxByOrNull { it.width.toLong() * it.height } ?: frame

    private const val TOLERANCE = 0.02f

    private fun difference(a: Size, b: Size): Float = abs(a.width.toFloat() / a.height - b.width.toFloat() / b.height)

    /**
     * Returns the transform of a TextureView that shows the whole preview upright and undistorted.
     *
     * The camera service rotates the preview upright for the phone's natural orientation, and the view stretches it to its size.
     *
     * @param preview size of the camera's buffers.
     * @param sensor the camera's SENSOR_ORIENTATION.
     * @param display rotation of the display, degrees.
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

    /** Returns the length of the shorter side of an image that fits the view, in the view's pixels. */
    fun shownShortSide(viewWidth: Float, viewHeight: Float, picture: Size, rotation: Int): Float {
        val shown = upright(picture, rotation)
        return minOf(viewWidth / shown.width, viewHeight / shown.height) * minOf(shown.width, shown.height)
    }

    /** Returns the size of an image after a rotation. */
    fun upright(size: Size, degrees: Int): Size = if (degrees % 180 == 0) size else Size(size.height, size.width)
}
