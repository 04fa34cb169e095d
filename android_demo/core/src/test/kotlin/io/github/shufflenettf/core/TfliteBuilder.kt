package io.github.shufflenettf.core

import java.io.ByteArrayOutputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.ZipEntry
import java.util.zip.ZipOutputStream

/** Builds .tflite files with the metadata that a test needs; they can't be run. */
internal object TfliteBuilder {
    const val FLOAT32: Byte = 0
    const val FLOAT16: Byte = 1
    const val UINT8: Byte = 3
    const val INT64: Byte = 4
    const val INT8: Byte = 9

    class T(
        vararg val shape: Int,
        val type: Byte = UINT8,
        val scale: Float = 0f,
        val zeroPoint: Long = 0,
        val signature: IntArray? = null,
    )

    /** Returns a file; [threshold]: ScoreThresholdingOptions of the output in its metadata; null: it has no metadata. */
    fun model(
        inputs: List<T>,
        outputs: List<T>,
        files: Map<String, String> = emptyMap(),
        threshold: Float? = null,
    ): ByteBuffer {
        val all = inputs + outputs
        val graph = mapOf(
            0 to all.map(::tensor),
            1 to IntArray(inputs.size) { it },
            2 to IntArray(outputs.size) { inputs.size + it },
        )
        val buffers = mutableListOf<Map<Int, Any>>(emptyMap(), mapOf(0 to IntArray(16)))
        val model = mutableMapOf(0 to 3, 2 to listOf(graph), 4 to buffers)
        if (threshold != null) {
            buffers += mapOf(0 to metadata(threshold))
            model[6] = listOf(mapOf(0 to "TFLITE_METADATA", 1 to 2))
        }
        return ByteBuffer.wrap(Flat().file(model) + packed(files))
    }

    private fun metadata(threshold: Float): ByteArray {
        val units = listOf(mapOf(0 to 1.toByte(), 1 to emptyMap<Int, Any>()), mapOf(0 to 3.toByte(), 1 to mapOf(0 to threshold)))
        return Flat().file(mapOf(3 to listOf(mapOf(3 to listOf(mapOf(4 to units))))))
    }

    private fun tensor(t: T): Map<Int, Any> {
        val quantization = if (t.scale == 0f) emptyMap() else mapOf(2 to floatArrayOf(t.scale), 3 to longArrayOf(t.zeroPoint))
        val signature = t.signature?.let { mapOf(7 to it) } ?: emptyMap()
        return mapOf(0 to t.shape, 1 to t.type, 2 to 1, 3 to "a tensor", 4 to quantization) + signature
    }

    /** Returns a zip archive whose positions count from its own start. */
    fun packed(files: Map<String, String>, stored: Boolean = false): ByteArray {
        if (files.isEmpty()) return ByteArray(0)
        val bytes = ByteArrayOutputStream()
        ZipOutputStream(bytes).use { zip ->
            if (stored) zip.setLevel(0)
            for ((name, text) in files) {
                zip.putNextEntry(ZipEntry(name))
                zip.write(text.toByteArray())
            }
        }
        return bytes.toByteArray()
    }

    /** Writes a flatbuffer front to back: tables are maps of field numbers to values. */
    private class Flat {
        private val out = ByteBuffer.allocate(1 shl 16).order(ByteOrder.LITTLE_ENDIAN)

        fun file(root: Map<Int, Any>): ByteArray {
            out.putInt(0).put("TFL3".toByteArray())
            out.putInt(0, write(root))
            return out.array().copyOf(out.position())
        }

        private fun align(): Int {
            while (out.position() % 8 != 4) out.put(0) // vectors of 8-byte elements begin after their 4-byte length
            return out.position()
        }

        private fun write(value: Any): Int = when (value) {
            is Map<*, *> -> table(value)
            is String -> vector(value.length) { out.put(value.toByteArray()).put(0) }
            is ByteArray -> vector(value.size) { out.put(value) }
            is IntArray -> vector(value.size) { value.forEach(out::putInt) }
            is FloatArray -> vector(value.size) { value.forEach(out::putFloat) }
            is LongArray -> vector(value.size) { value.forEach(out::putLong) }
            is List<*> -> {
                val at = vector(value.size) { value.forEach { _ -> out.putInt(0) } }
                value.forEachIndexed { i, item -> write(item!!).let { out.putInt(at + 4 + 4 * i, it - at - 4 - 4 * i) } }
                at
            }
            else -> error("can't write $value")
        }

        private fun vector(count: Int, content: () -> Unit): Int {
            val at = align()
            out.putInt(count)
            content()
            return at
        }

        private fun table(fields: Map<*, *>): Int {
            val slots = (fields.keys.maxOfOrNull { it as Int } ?: -1) + 1
            val virtual = align()
            out.putShort((4 + 2 * slots).toShort()).putShort((4 + 4 * slots).toShort())
            for (slot in 0 until slots) out.putShort((if (slot in fields) 4 + 4 * slot else 0).toShort())
            val at = align()
            out.putInt(at - virtual)
            for (slot in 0 until slots) {
                when (val value = fields[slot]) {
                    is Byte -> out.putInt(value.toInt())
                    is Int -> out.putInt(value)
                    is Float -> out.putFloat(value)
                    else -> out.putInt(0)
                }
            }
            for ((slot, value) in fields) {
                if (value is Byte || value is Int || value is Float) continue
                val place = at + 4 + 4 * (slot as Int)
                out.putInt(place, write(value!!) - place)
            }
            return at
        }
    }
}
