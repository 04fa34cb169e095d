package io.github.shufflenettf.core

import io.github.shufflenettf.core.ModelMessage.Key
import java.nio.ByteBuffer

/**
 * The contents of a .tflite file, of any task.
 *
 * @property inputs of the first subgraph.
 * @property outputs of the first subgraph.
 * @property name from the metadata, if any.
 * @property description from the metadata, if any.
 * @property labels content of labels.txt, or else of the only packed text file; null: there is none.
 * @property preprocessing content of preprocessing.json; null: there is none.
 * @property threshold ScoreThresholdingOptions of the output: smaller scores don't count; 0: there are none.
 */
internal class ModelFile private constructor(
    val inputs: List<RawTensor>,
    val outputs: List<RawTensor>,
    val name: String?,
    val description: String?,
    val labels: String?,
    val preprocessing: String?,
    val threshold: Float,
) {
    /** A tensor of any type; -1 in its shape is an unknown size. */
    class RawTensor(val name: String, val type: String, val shape: IntArray, val scale: Float, val zeroPoint: Int)

    companion object {
        // Field numbers of TensorFlow Lite's schema.fbs and metadata_schema.fbs.
        private const val MODEL_OPERATOR_CODES = 1
        private const val MODEL_SUBGRAPHS = 2
        private const val MODEL_BUFFERS = 4
        private const val MODEL_METADATA = 6
        private const val OLD_OPERATOR_CODE = 0
        private const val OPERATOR_CODE = 3
        private const val SUBGRAPH_TENSORS = 0
        private const val SUBGRAPH_INPUTS = 1
        private const val SUBGRAPH_OUTPUTS = 2
        private const val TENSOR_SHAPE = 0
        private const val TENSOR_TYPE = 1
        private const val TENSOR_NAME = 3
        private const val TENSOR_QUANTIZATION = 4
        private const val TENSOR_SHAPE_SIGNATURE = 7
        private const val QUANTIZATION_SCALE = 2
        private const val QUANTIZATION_ZERO_POINT = 3
        private const val BUFFER_DATA = 0
        private const val METADATA_NAME = 0
        private const val METADATA_BUFFER = 1
        private const val MODEL_NAME = 0
        private const val MODEL_DESCRIPTION = 1
        private const val MODEL_SUBGRAPH_METADATA = 3
        private const val SUBGRAPH_OUTPUT_METADATA = 3
        private const val TENSOR_PROCESS_UNITS = 4
        private const val UNIT_KIND = 0
        private const val UNIT_OPTIONS = 1
        private const val SCORE_THRESHOLDING = 3
        private const val THRESHOLD = 0
        private const val METADATA = "TFLITE_METADATA"
        private val TYPES = listOf(
            "float32", "float16", "int32", "uint8", "int64", "string", "bool", "int16", "complex64", "int8", "float64",
            "complex128", "uint64", "resource", "variant", "uint32", "uint16", "int4", "bfloat16",
        )

        /** Reads a file. Decides that it is damaged or no model: [failed] creates the exception to throw for that [Key]. */
        fun read(file: ByteBuffer, failed: (Key) -> ModelException): ModelFile {
            val flat = FlatBuffer(file)
            try {
                if (file.limit() < 8 || flat.identifier() != "TFL3") throw failed(Key.NOT_A_MODEL)
                val model = flat.root
                checkEnd(model)
                val graph = model.vector(MODEL_SUBGRAPHS, 4).table(0)
                val tensors = graph.vector(SUBGRAPH_TENSORS, 4)
                fun tensors(slot: Int) = graph.vector(slot, 4).ints().map { tensor(tensors.table(it)) }
                val metadata = metadata(model)
                val packed = PackedFiles(file)
                val labels = packed.text(PackedFiles.LABELS)
                    ?: packed.names.singleOrNull { it.endsWith(".txt") }?.let(packed::text)
                return ModelFile(
                    tensors(SUBGRAPH_INPUTS),
                    tensors(SUBGRAPH_OUTPUTS),
                    metadata?.string(MODEL_NAME),
                    metadata?.string(MODEL_DESCRIPTION),
                    labels,
                    packed.text(PackedFiles.PREPROCESSING),
                    metadata?.let(::threshold) ?: 0f,
                )
            } catch (e: IndexOutOfBoundsException) {
                throw failed(Key.DAMAGED).apply { addSuppressed(e) }
            } catch (e: PackedFiles.DamagedException) {
                throw failed(Key.DAMAGED).apply { addSuppressed(e) }
            }
        }

        /** Reads where weights and operators, the last things in a file, should be: a truncated file fails here. */
        private fun checkEnd(model: FlatBuffer.Table) {
            val buffers = model.vector(MODEL_BUFFERS, 4)
            for (i in 0 until buffers.count) buffers.table(i).vector(BUFFER_DATA, 1)
            val operators = model.vector(MODEL_OPERATOR_CODES, 4)
            for (i in 0 until operators.count) {
                operators.table(i).byte(OLD_OPERATOR_CODE)
                operators.table(i).uint(OPERATOR_CODE)
            }
        }

        private fun tensor(table: FlatBuffer.Table): RawTensor {
            val shape = table.vector(TENSOR_SHAPE, 4).ints()
            val signature = table.vector(TENSOR_SHAPE_SIGNATURE, 4).ints()
            // An unknown batch size is 1; any other unknown size can't be run without resizing.
            for (i in 1 until minOf(shape.size, signature.size)) if (signature[i] < 0) shape[i] = -1
            val quantization = table.table(TENSOR_QUANTIZATION)
            val scales = quantization?.vector(QUANTIZATION_SCALE, 4)
            val zeroPoints = quantization?.vector(QUANTIZATION_ZERO_POINT, 8)
            return RawTensor(
                table.string(TENSOR_NAME) ?: "",
                TYPES.getOrElse(table.byte(TENSOR_TYPE)) { "type $it" },
                shape,
                if (scales?.count == 1) scales.float(0) else 0f,
                if (zeroPoints?.count == 1) zeroPoints.long(0).toInt() else 0,
            )
        }

        private fun threshold(metadata: FlatBuffer.Table): Float {
            val outputs = metadata.vector(MODEL_SUBGRAPH_METADATA, 4).firstTable()?.vector(SUBGRAPH_OUTPUT_METADATA, 4)
            val units = outputs?.firstTable()?.vector(TENSOR_PROCESS_UNITS, 4) ?: return 0f
            val unit = (0 until units.count).map(units::table).firstOrNull { it.byte(UNIT_KIND) == SCORE_THRESHOLDING }
            val value = unit?.table(UNIT_OPTIONS)?.float(THRESHOLD) ?: 0f
            return if (value > 0f && value <= 1f) value else 0f // NaN is no threshold
        }

        private fun FlatBuffer.Vector.firstTable(): FlatBuffer.Table? = if (count == 0) null else table(0)

        private fun metadata(model: FlatBuffer.Table): FlatBuffer.Table? {
            val entries = model.vector(MODEL_METADATA, 4)
            val entry = (0 until entries.count).map(entries::table).firstOrNull { it.string(METADATA_NAME) == METADATA }
                ?: return null
            val buffer = model.vector(MODEL_BUFFERS, 4).table(entry.uint(METADATA_BUFFER).toInt())
            val content = buffer.vector(BUFFER_DATA, 1)
            return if (content.count == 0) null else FlatBuffer(content.slice()).root
        }
    }
}
