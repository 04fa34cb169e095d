package io.github.shufflenettf.demo

import android.graphics.RectF
import android.util.Size
import org.junit.Assert.assertEquals
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner

/** Which way is up, in all four positions of the phone. */
@RunWith(RobolectricTestRunner::class)
class PreviewGeometryTest {
    private val turns = listOf(0, 90, 180, 270)

    @Test
    fun framesAreTurnedAgainstThePhone() {
        assertEquals(listOf(90, 0, 270, 180), turns.map { PreviewGeometry.frameRotation(90, it, front = false) })
        assertEquals(listOf(270, 0, 90, 180), turns.map { PreviewGeometry.frameRotation(270, it, front = true) })
    }

    @Test
    fun framesHaveTheSensorsProportionsAndAreNoLargerThanNeeded() {
        val sizes = arrayOf(Size(4000, 3000), Size(1920, 1080), Size(1280, 960), Size(640, 480), Size(640, 360), Size(320, 240))
        assertEquals(Size(640, 480), PreviewGeometry.frameSize(sizes, Size(4032, 3024), 480))
        assertEquals(Size(1280, 960), PreviewGeometry.frameSize(sizes, Size(4032, 3024), 481))
        assertEquals(Size(1280, 960), PreviewGeometry.previewSize(sizes, Size(640, 480)))
        assertEquals(Size(176, 144), PreviewGeometry.frameSize(arrayOf(Size(176, 144)), Size(4, 3), 480))
    }

    @Test
    fun previewIsWholeUndistortedAndInTheMiddle() {
        for (turn in turns) {
            val (width, height) = if (turn % 180 == 0) 1080f to 2000f else 2000f to 1080f
            val shown = RectF(0f, 0f, width, height)
            PreviewGeometry.transform(width, height, Size(640, 480), 90, turn).mapRect(shown)
            val (shownWidth, shownHeight) = if (turn % 180 == 0) 1080f to 1440f else 1440f to 1080f
            val expected = RectF(0f, 0f, shownWidth, shownHeight).apply { offset((width - shownWidth) / 2, (height - shownHeight) / 2) }
            listOf(RectF::left, RectF::top, RectF::right, RectF::bottom).forEach { assertEquals("$turn", it(expected), it(shown), 0.5f) }
        }
    }

    @Test
    fun previewsTopStaysOnTop() {
        // The middle of the upper edge, as the camera service lays it for the natural position, on a display turned by 90°.
        val point = floatArrayOf(1000f, 0f)
        PreviewGeometry.transform(2000f, 1080f, Size(640, 480), 90, 90).mapPoints(point)
        assertEquals(280f, point[0], 0.5f)
        assertEquals(540f, point[1], 0.5f)
    }
}
