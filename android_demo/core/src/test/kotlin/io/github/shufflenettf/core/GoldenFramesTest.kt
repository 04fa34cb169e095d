package io.github.shufflenettf.core

import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.DynamicTest.dynamicTest
import org.junit.jupiter.api.TestFactory
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.CRC32

/** What Python says that networks see and answer, to the bit; `python -m export.camera.golden_frames` wrote it. */
class GoldenFramesTest {
    private val index = Json.parse(Resources.golden.getValue("index.json").decodeToString()) as Map<*, *>

    @TestFactory
    fun `tensors and answers are Python's`(): List<DynamicTest> {
        val byModel = (index["cases"] as List<*>).map { Case(it as Map<*, *>) }.groupBy { it.model }
        return byModel.flatMap { (name, cases) ->
            val model = Resources.goldenModel(name)
            val preparer = InputPreparer(model)
            val tensors = ByteBuffer.wrap(Resources.golden.getValue("$name.tensors"))
            val tests = cases.map { case ->
                val expected = ByteArray(model.input.bytes).also(tensors::get)
                val answer = ByteArray(model.output.bytes).also(tensors::get)
                dynamicTest("$name: ${case.frameName}, ${case.rotation} degrees") {
                    case.check(model, preparer, expected, answer)
                }
            }
            assertEquals(0, tensors.remaining())
            tests
        }
    }

    @TestFactory
    fun `a large frame`(): List<DynamicTest> {
        val large = (index["large"] as List<*>).map { it as Map<*, *> }
        val width = large.first().int("width")
        val height = large.first().int("height")
        val frame = rgba(width, height, List(4) { samples(width, height, it) })
        return large.map { case ->
            val preprocessing = Preprocessing.parse(case["preprocessing"] as String)
            val rotation = case.int("rotation")
            dynamicTest("${preprocessing.interpolation}, antialias ${preprocessing.antialias}, $rotation degrees") {
                val resizer = FrameResizer(preprocessing, 224, 224)
                resizer.resize(frame, rotation)
                assertEquals((case["crc32"] as Double).toLong(), CRC32().apply { update(resizer.pixels) }.value)
            }
        }
    }

    private class Case(private val fields: Map<*, *>) {
        val model = fields["model"] as String
        val frameName = fields["frame"] as String
        val rotation = fields.int("rotation")

        fun check(model: ModelInfo, preparer: InputPreparer, expected: ByteArray, answer: ByteArray) {
            val input = ByteBuffer.allocateDirect(model.input.bytes).order(ByteOrder.nativeOrder())
            // From memory of both kinds, as cameras give direct buffers and bitmaps are copied to the heap.
            for (direct in listOf(true, false)) {
                preparer.prepare(frame(direct), rotation, input)
                assertArrayEquals(expected, ByteArray(expected.size).also(input::get))
            }
            val scores = Scores(model.output)
            scores.read(ByteBuffer.wrap(answer))
            val top = IntArray(3)
            val probabilities = FloatArray(3)
            assertEquals(3, TopK.select(scores.probabilities, 0f, top, probabilities))
            assertArrayEquals(fields.doubles("top").map { it.toInt() }.toIntArray(), top)
            assertArrayEquals(fields.doubles("probabilities").map { it.toFloat() }.toFloatArray(), probabilities, 1e-6f)
        }

        private fun frame(direct: Boolean): Frame {
            val content = Resources.golden.getValue("$frameName.frame")
            val memory = if (direct) ByteBuffer.allocateDirect(content.size).put(content) else ByteBuffer.wrap(content)
            val planes = (fields["planes"] as List<*>).map { plane ->
                val (offset, rowStride, pixelStride) = (plane as List<*>).map { (it as Double).toInt() }
                Plane(memory, rowStride, pixelStride, offset)
            }
            val width = fields.int("width")
            val height = fields.int("height")
            if (planes.size == 1) return RgbaFrame(width, height, planes[0])
            val range = YuvRange.valueOf((fields["range"] as String).uppercase())
            return when (frameName.substringBefore("_")) {
                "i420" -> YuvFrame.i420(memory, width, height, range)
                "nv12" -> YuvFrame.nv12(memory, width, height, range)
                "nv21" -> YuvFrame.nv21(memory, width, height, range)
                else -> YuvFrame(width, height, planes[0], planes[1], planes[2], range)
            }
        }
    }
}

private fun Map<*, *>.int(name: String): Int = (this[name] as Double).toInt()

private fun Map<*, *>.doubles(name: String): List<Double> = (this[name] as List<*>).map { it as Double }
