package io.github.shufflenettf.core

import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.charset.StandardCharsets

/**
 * Reads the tables of a flatbuffer by field number.
 *
 * Reading beyond the file throws an [IndexOutOfBoundsException].
 *
 * @param file is not modified: its position and limit stay.
 */
internal class FlatBuffer(file: ByteBuffer) {
    val bytes: ByteBuffer = file.duplicate().order(ByteOrder.LITTLE_ENDIAN)

    val root: Table get() = Table(bytes.getInt(0))

    fun identifier(): String = text(4, 4)

    private fun text(from: Int, length: Int): String {
        check(from, length, 1)
        return String(ByteArray(length) { bytes.get(from + it) }, StandardCharsets.UTF_8)
    }

    private fun check(from: Int, count: Int, size: Int) {
        if (from < 0 || count < 0 || from + count.toLong() * size > bytes.limit()) {
            throw IndexOutOfBoundsException("$count x $size bytes at $from of ${bytes.limit()}")
        }
    }

    /** The table at byte [at]. */
    inner class Table(private val at: Int) {
        private val fields = at - bytes.getInt(at)

        private fun field(slot: Int): Int {
            val place = 4 + 2 * slot
            if (place >= bytes.getShort(fields).toInt()) return 0
            val offset = bytes.getShort(fields + place).toInt() and 0xffff
            return if (offset == 0) 0 else at + offset
        }

        private fun target(slot: Int): Int {
            val place = field(slot)
            return if (place == 0) 0 else place + bytes.getInt(place)
        }

        fun byte(slot: Int): Int = field(slot).let { if (it == 0) 0 else bytes.get(it).toInt() }

        fun uint(slot: Int): Long = field(slot).let { if (it == 0) 0 else bytes.getInt(it).toLong() and 0xffffffffL }

        fun float(slot: Int): Float = field(slot).let { if (it == 0) 0f else bytes.getFloat(it) }

        fun table(slot: Int): Table? = target(slot).let { if (it == 0) null else Table(it) }

        fun string(slot: Int): String? = target(slot).let { if (it == 0) null else text(it + 4, bytes.getInt(it)) }

        /** Returns the vector in a field, with elements of [size] bytes; a missing field gives an empty one. */
        fun vector(slot: Int, size: Int): Vector {
            val place = target(slot)
            if (place == 0) return Vector(0, 0, size)
            val count = bytes.getInt(place)
            check(place + 4, count, size)
            return Vector(place + 4, count, size)
        }
    }

    /** [count] elements of [size] bytes, starting at byte [at]. */
    inner class Vector(private val at: Int, val count: Int, private val size: Int) {
        private fun place(index: Int): Int {
            if (index !in 0 until count) throw IndexOutOfBoundsException("element $index of $count")
            return at + index * size
        }

        fun int(index: Int): Int = bytes.getInt(place(index))

        fun long(index: Int): Long = bytes.getLong(place(index))

        fun float(index: Int): Float = bytes.getFloat(place(index))

        fun table(index: Int): Table = place(index).let { Table(it + bytes.getInt(it)) }

        fun ints(): IntArray = IntArray(count, ::int)

        /** Returns a view of the elements' bytes. */
        fun slice(): ByteBuffer {
            val view = bytes.duplicate()
            view.position(at)
            view.limit(at + count * size)
            return view.slice()
        }
    }
}
