package io.github.shufflenettf.core

import kotlinx.serialization.Serializable
import kotlinx.serialization.json.Json
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.DynamicTest.dynamicTest
import org.junit.jupiter.api.TestFactory
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.CRC32

/** Input tensors and results equal Python's, bit by bit; `python -m export.camera.golden_frames` writes the files. */
class GoldenFramesTest {
    private val index = Json.decodeFromString(Index.serializer(), Resources.golden.getValue("index.json").decodeToString())

    @TestFactory
    fun `tensors and results equal Python's`(): List<DynamicTest> {
        return index.cases.groupBy { it.model }.flatMap { (name, cases) ->
            val model = Resources.goldenModel(name)
            val preparer = InputPreparer(model)
            val tensors = ByteBuffer.wrap(Resources.golden.getValue("$name.tensors"))
            val tests = cases.map { case ->
                val expected = ByteArray(model.input.bytes).also(tensors::get)
                val output = ByteArray(model.output.bytes).also(tensors::get)
                dynamicTest("$name: ${case.frame}, ${case.rotation} degrees") {
                    case.check(model, preparer, expected, output)
                }
            }
            assertEquals(0, tensors.remaining())
            tests
        }
    }

    @TestFactory
    fun `a large frame`(): List<DynamicTest> {
        val first = index.large.first()
        val frame = rgba(first.width, first.height, List(4) { samples(first.width, first.height, it) })
        return index.large.map { case ->
            val preprocessing = Preprocessing.parse(case.preprocessing)
            dynamicTest("${preprocessing.interpolation}, antialias ${preprocessing.antialias}, ${case.rotation} degrees") {
                val resizer = FrameResizer(preprocessing, 224, 224)
                resizer.resize(frame, case.rotation)
                assertEquals(case.crc32, CRC32().apply { update(resizer.pixels) }.value)
            }
        }
    }

    @Serializable
    private class Index(val cases: List<Case>, val large: List<LargeCase>)

    @Serializable
    private class LargeCase(val width: Int, val height: Int, val rotation: Int, val preprocessing: String, val crc32: Long)

    /** [planes] are offset, row stride and pixel stride; [range] is null for RGBA. */
    @Serializable
    private class Case(
        val model: String,
        val frame: String,
        val width: Int,
        val height: Int,
        val range: String? = null,
        val planes: List<List<Int>>,
        val rotation: Int,
        val top: IntArray,
        val probabilities: FloatArray,
    ) {
        fun check(model: ModelInfo, preparer: InputPreparer, expected: ByteArray, output: ByteArray) {
            val input = ByteBuffer.allocateDirect(model.input.bytes).order(ByteOrder.nativeOrder())
            // Both kinds of memory: cameras use direct buffers, and bitmaps are copied to the heap.
            for (direct in listOf(true, false)) {
                preparer.prepare(readFrame(direct), rotation, input)
                assertArrayEquals(expected, ByteArray(expected.size).also(input::get))
            }
            val scores = Scores(model.output)
            scores.read(ByteBuffer.wrap(output))
            val indices = IntArray(3)
            val values = FloatArray(3)
            assertEquals(3, TopK.select(scores.probabilities, 0f, indices, values))
            assertArrayEquals(top, indices)
            assertArrayEquals(probabilities, values, 1e-6f)
        }

        private fun readFrame(direct: Boolean): Frame {
            val content = Resources.golden.getValue("$frame.frame")
            val memory = if (direct) ByteBuffer.allocateDirect(content.size).put(content) else ByteBuffer.wrap(content)
            val planes = planes.map { (offset, rowStride, pixelStride) -> Plane(memory, rowStride, pixelStride, offset) }
            if (planes.size == 1) return RgbaFrame(width, height, planes[0])
            val range = YuvRange.valueOf(checkNotNull(range).uppercase())
            return when (frame.substringBefore("_")) {
                "i420" -> YuvFrame.i420(memory, width, height, range)
                "nv12" -> YuvFrame.nv12(memory, width, height, range)
                "nv21" -> YuvFrame.nv21(memory, width, height, range)
                else -> YuvFrame(width, height, planes[0], planes[1], planes[2], range)
            }
        }
    }
}
