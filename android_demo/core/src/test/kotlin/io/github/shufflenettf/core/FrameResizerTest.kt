package io.github.shufflenettf.core

import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.nio.ByteBuffer
import kotlin.math.abs
import kotlin.random.Random

class FrameResizerTest {
    @Test
    fun `random frames equal the slow reference`() {
        val random = Random(1)
        repeat(400) { number ->
            val preprocessing = Preprocessing(
                resize = random.nextInt(224, 300),
                interpolation = Interpolation.entries[random.nextInt(4)],
                antialias = random.nextBoolean(),
            )
            val resizer = FrameResizer(preprocessing, random.nextInt(1, 24), random.nextInt(1, 24))
            val frame = frame(random, random.nextInt(1, 70), random.nextInt(1, 70))
            val rotation = 90 * random.nextInt(4)
            resizer.resize(frame, rotation)
            val expected = SlowReference.resize(frame, rotation, preprocessing, resizer.width, resizer.height)
            assertArrayEquals(expected, resizer.pixels) {
                "frame $number: ${frame.javaClass.simpleName} ${frame.width} x ${frame.height}, $rotation degrees, " +
                    "to ${resizer.width} x ${resizer.height}, ${preprocessing.interpolation}"
            }
        }
    }

    @Test
    fun `one resizer accepts frames of all kinds in turn`() {
        val random = Random(2)
        val resizer = FrameResizer(Preprocessing(), 20, 14)
        repeat(60) {
            val frame = frame(random, random.nextInt(1, 3) * 31, random.nextInt(1, 3) * 17)
            val rotation = 90 * random.nextInt(4)
            resizer.resize(frame, rotation)
            assertArrayEquals(SlowReference.resize(frame, rotation, resizer.preprocessing, 20, 14), resizer.pixels)
        }
    }

    @Test
    fun `colours are within 1 of floating point, for all Y and many U and V`() {
        for (range in YuvRange.entries) {
            for (u in 0..255 step 5) {
                for (v in 0..255 step 3) checkColours(range, u, v)
            }
        }
    }

    private fun checkColours(range: YuvRange, u: Int, v: Int) {
        val bytes = ByteBuffer.allocate(256 + 2 * 128)
        for (i in 0 until 256) bytes.put(i, i.toByte())
        for (i in 0 until 128) bytes.put(256 + i, u.toByte()).put(384 + i, v.toByte())
        val row = RgbRow(256)
        RgbRows(0, 256).read(YuvFrame.i420(bytes, 256, 1, range), 0, row)
        val colourful = if (range == YuvRange.FULL) 1.0 else 255.0 / 224
        for (y in 0 until 256) {
            val grey = if (range == YuvRange.FULL) y.toDouble() else (y - 16) * 255.0 / 219
            val red = grey + 1.402 * (v - 128) * colourful
            val green = grey - (0.344136286 * (u - 128) + 0.714136286 * (v - 128)) * colourful
            val blue = grey + 1.772 * (u - 128) * colourful
            val worst = maxOf(difference(red, row.red[y]), difference(green, row.green[y]), difference(blue, row.blue[y]))
            // Rounding contributes half a step, 16-bit fixed point little more.
            assertTrue(worst < 0.51) { "$range $y, $u, $v: off by $worst" }
        }
    }

    private fun difference(exact: Double, got: Int): Double = abs(exact.coerceIn(0.0, 255.0) - got)

    @Test
    fun `a uniform area keeps its value`() {
        for (interpolation in Interpolation.entries) {
            val resizer = FrameResizer(Preprocessing(interpolation = interpolation), 9, 7)
            resizer.resize(rgba(50, 31, List(4) { plane -> ByteArray(50 * 31) { (200 - 60 * plane).toByte() } }), 90)
            assertArrayEquals(ByteArray(9 * 7 * 3) { (200 - 60 * (it % 3)).toByte() }, resizer.pixels)
        }
    }

    @Test
    fun `rotation is clockwise`() {
        val redLeft = rgba(20, 20, List(4) { plane -> ByteArray(400) { if (plane == 0 && it % 20 < 10) -1 else 0 } })
        val resizer = FrameResizer(Preprocessing(resize = 8, crop = 8), 8, 8)
        val reds = listOf(0, 90, 180, 270).map { rotation ->
            resizer.resize(redLeft, rotation)
            val borders = mapOf("left" to 4 * 8, "top" to 4, "right" to 4 * 8 + 7, "bottom" to 7 * 8 + 4)
            borders.filterValues { (resizer.pixels[3 * it].toInt() and 0xff) > 250 }.keys.single()
        }
        assertEquals(listOf("left", "top", "right", "bottom"), reds)
    }

    @Test
    fun `a buffer's position is restored`() {
        val bytes = ByteBuffer.allocateDirect(20 * 20 * 4)
        bytes.position(17)
        FrameResizer(Preprocessing(), 8, 8).resize(RgbaFrame(20, 20, Plane(bytes, 80, 4)), 0)
        assertEquals(17, bytes.position())
    }

    @Test
    fun `frames larger than their memory, and invalid rotations`() {
        val bytes = ByteBuffer.allocate(99)
        assertThrows(IllegalArgumentException::class.java) { RgbaFrame(5, 5, Plane(bytes, 20, 4)) }
        assertThrows(IllegalArgumentException::class.java) { RgbaFrame(2, 2, Plane(bytes, 20, 3)) }
        assertThrows(IllegalArgumentException::class.java) { RgbaFrame(0, 2, Plane(bytes, 20, 4)) }
        assertThrows(IllegalArgumentException::class.java) { YuvFrame.nv21(bytes, 9, 8, YuvRange.FULL) }
        assertThrows(IllegalArgumentException::class.java) { RgbaFrame(2, 2, Plane(bytes, Int.MAX_VALUE, 4)) }
        val frame = RgbaFrame(4, 4, Plane(bytes, 16, 4))
        for (rotation in listOf(45, -90, 360)) {
            assertThrows(IllegalArgumentException::class.java) { FrameResizer(Preprocessing(), 8, 8).resize(frame, rotation) }
        }
    }

    private fun frame(random: Random, width: Int, height: Int): Frame {
        fun plane(width: Int, height: Int, size: Int): Plane {
            val offset = random.nextInt(5)
            val pixelStride = size + random.nextInt(3)
            val rowStride = width * pixelStride + random.nextInt(9)
            val content = random.nextBytes(offset + (height - 1) * rowStride + (width - 1) * pixelStride + size)
            val heap = ByteBuffer.wrap(content)
            val memory = if (random.nextBoolean()) heap else ByteBuffer.allocateDirect(content.size).put(heap)
            return Plane(memory, rowStride, pixelStride, offset)
        }
        val chroma = { plane((width + 1) / 2, (height + 1) / 2, 1) }
        return if (random.nextInt(3) == 0) {
            RgbaFrame(width, height, plane(width, height, 4))
        } else {
            YuvFrame(width, height, plane(width, height, 1), chroma(), chroma(), YuvRange.entries[random.nextInt(2)])
        }
    }
}
