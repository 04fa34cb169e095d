package io.github.shufflenettf.core

import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.charset.CharacterCodingException
import java.nio.charset.StandardCharsets
import java.util.zip.CRC32
import java.util.zip.DataFormatException
import java.util.zip.Inflater

/**
 * The small text files in the zip archive behind a model's flatbuffer.
 *
 * @param file all of the .tflite file.
 * @throws DamagedException the archive is cut off or broken.
 */
internal class PackedFiles(file: ByteBuffer) {
    /** Something about the archive doesn't hold. */
    class DamagedException(message: String, cause: Throwable? = null) : Exception(message, cause)

    private val bytes = file.duplicate().order(ByteOrder.LITTLE_ENDIAN)

    /** Where each file's record in the archive's directory lies. */
    private val records: Map<String, Int>

    /** What to add to positions in the archive: it may have been written before the flatbuffer stood in front of it. */
    private var shift = 0

    init {
        records = guarded { directory() }
    }

    val names: Set<String> get() = records.keys

    /** Returns the content of a file, or null if there is none of that name. */
    fun text(name: String): String? = records[name]?.let { record -> guarded { content(record) } }

    private fun directory(): Map<String, Int> {
        val end = (bytes.limit() - END_SIZE downTo maxOf(0, bytes.limit() - END_SIZE - MAX_COMMENT)).firstOrNull {
            bytes.getInt(it) == END && it + END_SIZE + short(it + 20) == bytes.limit()
        }
        if (end == null) {
            // The directory comes last, so that the files of an archive that was cut off would be missed in silence.
            if (hasFile()) throw DamagedException("an archive without its end")
            return emptyMap()
        }
        val size = bytes.getInt(end + 12)
        shift = end - size - bytes.getInt(end + 16)
        val found = LinkedHashMap<String, Int>()
        var at = end - size
        repeat(short(end + 10)) {
            if (bytes.getInt(at) != RECORD) throw DamagedException("no record at $at")
            found[decode(slice(at + RECORD_SIZE, short(at + 28)))] = at
            at += RECORD_SIZE + short(at + 28) + short(at + 30) + short(at + 32)
        }
        return found
    }

    private fun hasFile(): Boolean = (0 until bytes.limit() - FILE_SIZE).any { at ->
        bytes.getInt(at) == FILE && WANTED.any { name ->
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
        throw DamagedException("beyond the end", e)
    } catch (e: DataFormatException) {
        throw DamagedException("not compressed as it says", e)
    } catch (e: CharacterCodingException) {
        throw DamagedException("not UTF-8", e)
    }

    companion object {
        const val LABELS = "labels.txt"
        const val PREPROCESSING = "preprocessing.json"
        private val WANTED = listOf(LABELS, PREPROCESSING)
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
