package io.github.shufflenettf.core

import io.github.shufflenettf.core.ModelMessage.Key
import io.github.shufflenettf.core.TfliteBuilder.T
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.params.ParameterizedTest
import org.junit.jupiter.params.provider.ValueSource
import java.nio.ByteBuffer
import kotlin.random.Random

class ModelInfoTest {
    private val image = T(1, 8, 6, 3)
    private val scores = T(1, 2)
    private val labels = mapOf("labels.txt" to "cat\ndog\n")
    private val normalization =
        mapOf("preprocessing.json" to """{"mean": [0, 0.5, 1e0], "std": [1, 2, 3], "antialias": false}""")

    private fun read(file: ByteBuffer) = ModelInfo.read("m.tflite", file)

    private fun problem(file: ByteBuffer): ModelMessage {
        val problem = assertThrows(ModelException::class.java) { read(file) }.problem
        assertTrue(problem.english().startsWith("m.tflite ") && problem.english().endsWith("."), problem.english())
        return problem
    }

    private fun problem(inputs: List<T>, outputs: List<T> = listOf(scores), files: Map<String, String> = labels) =
        problem(TfliteBuilder.model(inputs, outputs, files))

    @Test
    fun `an exported model`() {
        val model = Resources.model("int8.tflite")
        assertEquals("int8", model.name)
        assertEquals("A small network for tests", model.description)
        assertEquals(listOf("apple", "Birne", "cerise", "жираф", "象"), model.labels)
        assertArrayEquals(intArrayOf(1, 12, 20, 3), model.input.shape)
        assertEquals(TensorType.INT8, model.input.type)
        assertEquals(listOf(1f, -128), listOf(model.input.scale, model.input.zeroPoint))
        assertEquals(listOf(1 / 256f, -128), listOf(model.output.scale, model.output.zeroPoint))
        assertEquals(listOf(12, 20, 5), listOf(model.inputHeight, model.inputWidth, model.classes))
        assertEquals(Interpolation.BICUBIC, model.preprocessing.interpolation)
        assertEquals(ChannelOrder.BGR, model.preprocessing.channelOrder)
        assertEquals("жираф", model.label(3))
        assertTrue(model.takesPixels && model.notices.isEmpty())
    }

    @Test
    fun `missing metadata has defaults`() {
        val model = read(TfliteBuilder.model(listOf(image), listOf(scores)))
        assertNull(model.labels)
        assertNull(model.label(1))
        assertEquals("m", model.name)
        assertEquals(listOf(Key.LABELS_MISSING), model.notices.map { it.key })
        assertEquals("m.tflite has no labels: classes are shown by number.", model.notices.single().english())
        assertEquals(256, model.preprocessing.resize)
    }

    @Test
    fun `the threshold of a sure answer`() {
        fun threshold(value: Float?) = read(TfliteBuilder.model(listOf(image), listOf(scores), labels, value)).threshold
        assertEquals(0.6f, threshold(0.6f))
        assertEquals(listOf(0f, 0f, 0f, 0f), listOf(null, 2f, -1f, Float.NaN).map(::threshold))
    }

    @Test
    fun `float32 and scaled int8 with their preprocessing`() {
        for (type in listOf(TfliteBuilder.FLOAT32, TfliteBuilder.INT8)) {
            val model = read(TfliteBuilder.model(listOf(T(1, 8, 6, 3, type = type)), listOf(scores), labels + normalization))
            assertEquals(listOf(0.0, 0.5, 1.0), model.preprocessing.mean)
            assertTrue(!model.preprocessing.antialias && !model.takesPixels)
            assertEquals(listOf("cat", "dog"), model.labels)
        }
    }

    @Test
    fun `labels in a file of another name, with Windows line ends`() {
        val files = mapOf("names.txt" to "\ufeffcat\r\ndog\r\n", "readme.md" to "?")
        assertEquals(listOf("cat", "dog"), read(TfliteBuilder.model(listOf(image), listOf(scores), files)).labels)
    }

    @Test
    fun `models of other tasks`() {
        val detector = listOf(T(1, 10, 4), T(1, 10), T(1, 10), T(1))
        assertEquals(
            "m.tflite is not an image classifier: its inputs are [1, 8, 6, 3] and its outputs [1, 10, 4], [1, 10], [1, 10], [1], " +
                "but [1, height, width, 3] and [1, classes] are expected.",
            problem(listOf(image), detector).english(),
        )
        val others = listOf(
            problem(emptyList()), problem(listOf(image), emptyList()), problem(listOf(image, image)),
            problem(listOf(T(1, 128))), problem(listOf(T(2, 8, 6, 3))), problem(listOf(T(1, 3, 8, 6))),
            problem(listOf(image), listOf(T(1, 8, 6, 2))), problem(listOf(image), listOf(T(1, 0))),
            problem(listOf(T(1, 1, 1, 3, signature = intArrayOf(-1, -1, -1, 3)))), problem(listOf(T(1, 1 shl 20, 6, 3))),
        )
        assertEquals(setOf(Key.NOT_A_CLASSIFIER), others.map { it.key }.toSet())
    }

    @Test
    fun `an unknown batch size is 1`() {
        read(TfliteBuilder.model(listOf(T(1, 8, 6, 3, signature = intArrayOf(-1, 8, 6, 3))), listOf(T(1, 1, 1, 2)), labels))
    }

    @ParameterizedTest
    @ValueSource(ints = [1, 2, 4])
    fun `images that are not RGB`(channels: Int) {
        val problem = problem(listOf(T(1, 8, 6, channels)))
        assertEquals(Key.NOT_RGB, problem.key)
        assertEquals(listOf("m.tflite", channels), problem.arguments)
    }

    @Test
    fun `unsupported types`() {
        assertEquals("float16", problem(listOf(T(1, 8, 6, 3, type = TfliteBuilder.FLOAT16))).arguments[1])
        val output = problem(listOf(image), listOf(T(1, 2, type = TfliteBuilder.INT64)))
        assertEquals(listOf(Key.UNSUPPORTED_TYPE, "int64"), listOf(output.key, output.arguments[1]))
        assertEquals("type 77", problem(listOf(T(1, 8, 6, 3, type = 77))).arguments[1])
    }

    @Test
    fun `inputs that are not pixels need a preprocessing`() {
        val float = problem(listOf(T(1, 8, 6, 3, type = TfliteBuilder.FLOAT32)))
        assertEquals(listOf(Key.PREPROCESSING_MISSING, "float32"), listOf(float.key, float.arguments[1]))
        val int8 = problem(listOf(T(1, 8, 6, 3, type = TfliteBuilder.INT8, scale = 0.02f, zeroPoint = 3)))
        assertEquals("int8 values that are not pixels", int8.arguments[1])
        val pixels = T(1, 8, 6, 3, type = TfliteBuilder.INT8, scale = 1f, zeroPoint = -128)
        assertTrue(read(TfliteBuilder.model(listOf(pixels), listOf(scores), labels)).takesPixels)
    }

    @ParameterizedTest
    @ValueSource(
        strings = [
            "", "[]", "{", "{} {}", "{'a\\", "{'crop': 300}", "{'mean': [1, 2]}", "{'std': [1, 0, 1]}", "{'speed': 1}",
            "{'resize': 2.5}", "{'resize': 2000000}", "{'crop': 1e999}", "{'interpolation': 'nearest'}",
            "{'antialias': 1}", "{'scale': 'x'}", "{'scale': NaN}",
        ],
    )
    fun `an invalid preprocessing`(json: String) {
        val files = mapOf("preprocessing.json" to json.replace('\'', '"'))
        assertEquals(Key.PREPROCESSING_INVALID, problem(listOf(image), files = files).key)
    }

    @ParameterizedTest
    @ValueSource(strings = ["cat", "cat\ndog\ncow", "cat\n\ndog"])
    fun `a wrong number of labels`(text: String) {
        val problem = problem(listOf(image), files = mapOf("labels.txt" to text))
        assertEquals(listOf<Any>("m.tflite", text.count { it == '\n' } + 1, 2), problem.arguments)
        assertEquals(Key.LABEL_COUNT, problem.key)
    }

    @Test
    fun `files that are not models`() {
        for (content in listOf("", "TFL3", "PK\u0003\u0004, a zip", "<html>not found</html>")) {
            assertEquals(Key.NOT_A_MODEL, problem(ByteBuffer.wrap(content.toByteArray())).key)
        }
        assertEquals(Key.DAMAGED, problem(ByteBuffer.wrap("\u0004\u0000\u0000\u0000TFL3".toByteArray())).key)
    }

    @Test
    fun `a file truncated anywhere is rejected`() {
        val whole = Resources.bytes("models/uint8.tflite")
        val model = (1 until whole.size).first { whole[it - 1] == 'P'.code.toByte() && whole[it] == 'K'.code.toByte() } - 1
        for (length in whole.indices) {
            // Until the name of the first packed file is complete, it is a valid model without packed files.
            if (length in model until model + 40) continue
            val truncated = ByteBuffer.wrap(whole.copyOf(length))
            val key = assertThrows(ModelException::class.java, { read(truncated) }, "$length bytes").problem.key
            assertTrue(key == Key.DAMAGED || length < 8)
        }
    }

    @Test
    fun `a file with wrong bytes is read or rejected with a sentence`() {
        val random = Random(3)
        for (name in listOf("uint8.tflite", "float32.tflite")) {
            val whole = Resources.bytes("models/$name")
            var rejected = 0
            repeat(5_000) {
                val broken = whole.clone()
                repeat(random.nextInt(1, 4)) { broken[random.nextInt(broken.size)] = random.nextInt().toByte() }
                try {
                    read(ByteBuffer.wrap(broken))
                } catch (_: ModelException) {
                    rejected++
                }
            }
            assertTrue(rejected > 100)
        }
    }

    @Test
    fun `messages number their arguments from 1`() {
        for (key in Key.entries) {
            val places = Regex("%(\\d)\\$").findAll(key.pattern).map { it.groupValues[1].toInt() }.toSet()
            assertEquals((1..places.size).toSet(), places, key.name)
            assertNotEquals("", key.pattern)
        }
    }
}
