package io.github.shufflenettf.core

import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.charset.CharacterCodingException
import java.nio.charset.StandardCharsets
import java.util.zip.CRC32
import java.util.zip.DataFormatException
import java.util.zip.Inflater

/**
 * Reads the small text files in the zip archive that follows a model's flatbuffer.
 *
 * @param file the whole .tflite file.
 * @throws DamagedException the archive is truncated or damaged.
 */
internal class PackedFiles(file: ByteBuffer) {
    /** The archive is truncated or damaged. */
    class DamagedException(message: String, cause: Throwable? = null) : Exception(message, cause)

    private val bytes = file.duplicate().order(ByteOrder.LITTLE_ENDIAN)

    /** Position of each file's record in the central directory. */
    private val records: Map<String, Int>

    /** Offset of the archive's positions: they may count from the archive's start instead of the file's. */
    private var shift = 0

    init {
        records = guarded { directory() }
    }

    val names: Set<String> get() = records.keys

    /** Returns the content of a file; null if there is no file of that name. */
    fun text(name: String): String? = records[name]?.let { record -> guarded { content(record) } }

    private fun directory(): Map<String, Int> {
        val end = (bytes.limit() - END_SIZE downTo maxOf(0, bytes.limit() - END_SIZE - MAX_COMMENT)).firstOrNull {
            bytes.getInt(it) == END && it + END_SIZE + short(it + 20) == bytes.limit()
        }
        if (end == null) {
            // The directory comes last: without this check a truncated archive would look like a model without files.
            if (hasFile()) throw DamagedException("the end of the archive is missing")
            return emptyMap()
        }
        val size = bytes.getInt(end + 12)
        shift = end - size - bytes.getInt(end + 16)
        val records = LinkedHashMap<String, Int>()
        var at = end - size
        repeat(short(end + 10)) {
            if (bytes.getInt(at) != RECORD) throw DamagedException("no record at $at")
            records[decode(slice(at + RECORD_SIZE, short(at + 28)))] = at
            at += RECORD_SIZE + short(at + 28) + short(at + 30) + short(at + 32)
        }
        return records
    }

    private fun hasFile(): Boolean = (0 until bytes.limit() - FILE_SIZE).any { at ->
        bytes.getInt(at) == FILE && READ_FILES.any { name ->
            val start = at + FILE_SIZE
            start + name.length <= bytes.limit() && name.indices.all { bytes.get(start + it).toInt() == name[it].code }
        }
    }

    private fun content(record: Int): String {
        val method = short(record + 10)
        val packed = bytes.getInt(record + 20)
        val size = bytes.getInt(record + 24)
        if (size !in 0..MAX_TEXT) throw DamagedException("a text of $size bytes")
        val header = bytes.getInt(record + 42) + shift
        if (bytes.getInt(header) != FILE) throw DamagedException("no file at $header")
        val data = slice(header + FILE_SIZE + short(header + 26) + short(header + 28), packed)
        val content = when (method) {
            0 -> data
            8 -> inflated(data, size)
            else -> throw DamagedException("compression $method")
        }
        val sum = CRC32().apply { update(content) }.value.toInt()
        if (content.size != size || sum != bytes.getInt(record + 16)) throw DamagedException("a wrong checksum")
        return decode(content)
    }

    private fun inflated(data: ByteArray, size: Int): ByteArray {
        val inflater = Inflater(true)
        try {
            inflater.setInput(data)
            val content = ByteArray(size)
            return content.copyOf(inflater.inflate(content))
        } finally {
            inflater.end()
        }
    }

    private fun slice(from: Int, length: Int): ByteArray {
        if (from < 0 || length < 0 || from + length.toLong() > bytes.limit()) {
            throw IndexOutOfBoundsException("$length bytes at $from")
        }
        return ByteArray(length) { bytes.get(from + it) }
    }

    private fun short(at: Int): Int = bytes.getShort(at).toInt() and 0xffff

    private fun decode(text: ByteArray): String =
        StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(text)).toString()

    private fun <T> guarded(read: () -> T): T = try {
        read()
    } catch (e: IndexOutOfBoundsException) {
        throw DamagedException("the archive is truncated", e)
    } catch (e: DataFormatException) {
        throw DamagedException("invalid compressed data", e)
    } catch (e: CharacterCodingException) {
        throw DamagedException("a text is not UTF-8", e)
    }

    companion object {
        const val LABELS = "labels.txt"
        const val PREPROCESSING = "preprocessing.json"
        private val READ_FILES = listOf(LABELS, PREPROCESSING)
        private const val END = 0x06054b50
        private const val RECORD = 0x02014b50
        private const val FILE = 0x04034b50
        private const val END_SIZE = 22
        private const val RECORD_SIZE = 46
        private const val FILE_SIZE = 30
        private const val MAX_COMMENT = 65535
        private const val MAX_TEXT = 1 shl 24
    }
}
