package io.github.shufflenettf.core

import io.github.shufflenettf.core.Message.Key
import java.nio.ByteBuffer

/** Types of tensors that pictures and probabilities come in. */
enum class TensorType(val bytes: Int) { UINT8(1), INT8(1), FLOAT32(4) }

/**
 * An input or output of a model.
 *
 * @property name in the graph.
 * @property type of its elements.
 * @property shape without unknown sizes.
 * @property scale of a quantized one: real value = scale * (element - zeroPoint); 0: it isn't quantized.
 * @property zeroPoint see there.
 */
class Tensor(val name: String, val type: TensorType, val shape: IntArray, val scale: Float, val zeroPoint: Int) {
    /** Number of elements. */
    val size: Int get() = shape.fold(1) { product, side -> product * side }

    /** Size in memory, in bytes. */
    val bytes: Int get() = size * type.bytes
}

/**
 * What an image classifier in a .tflite file says about itself.
 *
 * @property fileName the name that was given for it.
 * @property name from its metadata; else the file's without ".tflite".
 * @property description from its metadata; may be empty.
 * @property input [1, height, width, 3], red, green and blue.
 * @property output [1, classes].
 * @property labels names of the classes in order, from its labels.txt; null: it has none.
 * @property preprocessing from its preprocessing.json; the default where it has none.
 * @property notices what its owner should know, though it can be used.
 */
class ModelInfo internal constructor(
    val fileName: String,
    val name: String,
    val description: String,
    val input: Tensor,
    val output: Tensor,
    val labels: List<String>?,
    val preprocessing: Preprocessing,
    val notices: List<Message>,
) {
    /** Rows of the input picture. */
    val inputHeight: Int get() = input.shape[1]

    /** Columns of the input picture. */
    val inputWidth: Int get() = input.shape[2]

    /** Number of classes. */
    val classes: Int get() = output.shape.last()

    /** Whether its input is pixels: uint8, or int8 that is a pixel less 128. */
    val takesPixels: Boolean get() = input.takesPixels()

    /** Returns the name of a class; null where the file has no names. */
    fun label(index: Int): String? = labels?.get(index)

    companion object {
        /**
         * Reads a model.
         *
         * @param fileName for messages.
         * @param file all of it, from byte 0 to its limit; mapped or on the heap.
         * @throws ModelException it can't be used, and why.
         */
        @JvmStatic
        fun read(fileName: String, file: ByteBuffer): ModelInfo {
            fun failed(key: Key, vararg more: Any): ModelException = ModelException(Message.of(key, fileName, *more))
            val content = ModelFile.read(file) { key -> failed(key) }
            val input = classifierInput(content, ::failed)
            val output = tensor(content.outputs.single(), ::failed)
            val json = content.preprocessing
            if (json == null && !input.takesPixels()) {
                val quantized = if (input.type == TensorType.FLOAT32) "" else " of other values than pixels"
                throw failed(Key.PREPROCESSING_MISSING, input.type.name.lowercase() + quantized)
            }
            val preprocessing = try {
                json?.let(Preprocessing::parse) ?: Preprocessing()
            } catch (e: IllegalArgumentException) {
                throw ModelException(Message.of(Key.PREPROCESSING_INVALID, fileName, e.message ?: "?"), e)
            }
            val labels = content.labels?.let(::labelLines)
            val classes = output.shape.last()
            if (labels != null && labels.size != classes) throw failed(Key.LABEL_COUNT, labels.size, classes)
            val notices = if (labels == null) listOf(Message.of(Key.LABELS_MISSING, fileName)) else emptyList()
            val name = content.name?.takeIf(String::isNotBlank) ?: fileName.removeSuffix(".tflite")
            return ModelInfo(fileName, name, content.description ?: "", input, output, labels, preprocessing, notices)
        }

        /** Returns the one input, if inputs and outputs are a classifier's. */
        private fun classifierInput(content: ModelFile, failed: (Key, Array<out Any>) -> ModelException): Tensor {
            val inputs = content.inputs
            val outputs = content.outputs
            val image = inputs.singleOrNull()?.shape
            val scores = outputs.singleOrNull()?.shape
            val fits = image != null && image.size == 4 && image[0] == 1 && image.all { it > 0 } &&
                scores != null && scores.size >= 2 && scores.all { it > 0 } && scores.all { it <= MAX_CLASSES } &&
                scores.fold(1L) { product, side -> minOf(product * side, Int.MAX_VALUE.toLong()) } == scores.last().toLong()
            if (fits && image!![3] in OTHER_CHANNELS) throw failed(Key.NOT_RGB, arrayOf(image[3]))
            if (!fits || image!![3] != 3 || image.any { it > MAX_SIDE }) {
                throw failed(Key.NOT_A_CLASSIFIER, arrayOf(shapes(inputs), shapes(outputs)))
            }
            return tensor(inputs.single(), failed)
        }

        private fun tensor(raw: ModelFile.RawTensor, failed: (Key, Array<out Any>) -> ModelException): Tensor {
            val type = TensorType.entries.firstOrNull { it.name.lowercase() == raw.type }
                ?: throw failed(Key.UNSUPPORTED_TYPE, arrayOf(raw.type))
            return Tensor(raw.name, type, raw.shape, raw.scale, raw.zeroPoint)
        }

        private fun shapes(tensors: List<ModelFile.RawTensor>): String =
            if (tensors.isEmpty()) "none" else tensors.joinToString { it.shape.joinToString(", ", "[", "]") }

        private fun Tensor.takesPixels(): Boolean =
            type == TensorType.UINT8 || (type == TensorType.INT8 && scale == 1f && zeroPoint == -128)

        /** One label a line; the last line may be empty. */
        private fun labelLines(text: String): List<String> =
            text.removePrefix("\ufeff").trimEnd().split("\n").map { it.trim() }

        private val OTHER_CHANNELS = setOf(1, 2, 4)
        private const val MAX_SIDE = 1 shl 13
        private const val MAX_CLASSES = 1 shl 20
    }
}
