package io.github.shufflenettf.core

import io.github.shufflenettf.core.ModelMessage.Key
import java.nio.ByteBuffer

/** Tensor types of images and probabilities. */
enum class TensorType(val bytes: Int) { UINT8(1), INT8(1), FLOAT32(4) }

/**
 * An input or output of a model.
 *
 * @property name in the subgraph.
 * @property type of the elements.
 * @property shape all sizes are known.
 * @property scale of a quantized one: real value = scale * (element - zeroPoint); 0: not quantized.
 * @property zeroPoint see `scale`.
 */
class Tensor(val name: String, val type: TensorType, val shape: IntArray, val scale: Float, val zeroPoint: Int) {
    /** Number of elements. */
    val size: Int get() = shape.fold(1) { product, side -> product * side }

    /** Size in memory, bytes. */
    val bytes: Int get() = size * type.bytes
}

/**
 * The metadata of an image classifier in a .tflite file.
 *
 * @property fileName for messages.
 * @property name from the metadata, or else the file name without ".tflite".
 * @property description from the metadata; may be empty.
 * @property input [1, height, width, 3].
 * @property output [1, classes].
 * @property labels class names in order, from labels.txt; null: there are none.
 * @property preprocessing from preprocessing.json, or else the default.
 * @property threshold probability that the likeliest class must reach, else the answer is "not sure"; 0: every answer counts.
 * @property notices warnings about a usable model.
 */
class ModelInfo internal constructor(
    val fileName: String,
    val name: String,
    val description: String,
    val input: Tensor,
    val output: Tensor,
    val labels: List<String>?,
    val preprocessing: Preprocessing,
    val threshold: Float,
    val notices: List<ModelMessage>,
) {
    /** Rows of the input image. */
    val inputHeight: Int get() = input.shape[1]

    /** Columns of the input image. */
    val inputWidth: Int get() = input.shape[2]

    /** Number of classes. */
    val classes: Int get() = output.shape.last()

    /** Whether the input is pixels: uint8, or int8 with pixel - 128. */
    val takesPixels: Boolean get() = input.takesPixels()

    /** Returns the name of a class; null if the file has no labels. */
    fun label(index: Int): String? = labels?.get(index)

    companion object {
        /**
         * Reads a model's metadata and decides whether the app can use it.
         *
         * @param fileName for messages.
         * @param file the whole file, from byte 0 to its limit; mapped or on the heap.
         * @throws ModelException the model can't be used; its message says why.
         */
        @JvmStatic
        fun read(fileName: String, file: ByteBuffer): ModelInfo {
            fun failed(key: Key, vararg details: Any): ModelException = ModelException(ModelMessage.of(key, fileName, *details))
            val content = ModelFile.read(file) { key -> failed(key) }
            val input = classifierInput(content, ::failed)
            val output = tensor(content.outputs.single(), ::failed)
            val json = content.preprocessing
            if (json == null && !input.takesPixels()) {
                val quantized = if (input.type == TensorType.FLOAT32) "" else " values that are not pixels"
                throw failed(Key.PREPROCESSING_MISSING, input.type.name.lowercase() + quantized)
            }
            val preprocessing = try {
                json?.let(Preprocessing::parse) ?: Preprocessing()
            } catch (e: IllegalArgumentException) {
                throw ModelException(ModelMessage.of(Key.PREPROCESSING_INVALID, fileName, e.message?.lines()?.first() ?: "?"), e)
            }
            val labels = content.labels?.let(::labelLines)
            val classes = output.shape.last()
            if (labels != null && labels.size != classes) throw failed(Key.LABEL_COUNT, labels.size, classes)
            val notices = if (labels == null) listOf(ModelMessage.of(Key.LABELS_MISSING, fileName)) else emptyList()
            val name = content.name?.takeIf(String::isNotBlank) ?: fileName.removeSuffix(".tflite")
            val description = content.description ?: ""
            return ModelInfo(fileName, name, description, input, output, labels, preprocessing, content.threshold, notices)
        }

        /** Returns the input if inputs and outputs are those of an image classifier. */
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

        /** One label per line; empty lines at the end are ignored. */
        private fun labelLines(text: String): List<String> =
            text.removePrefix("\ufeff").trimEnd().split("\n").map { it.trim() }

        private val OTHER_CHANNELS = setOf(1, 2, 4)
        private const val MAX_SIDE = 1 shl 13
        private const val MAX_CLASSES = 1 shl 20
    }
}
