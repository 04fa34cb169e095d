package io.github.shufflenettf.core

/** A reader of JSON: objects as [Map], arrays as [List], texts as [String], numbers as [Double], [Boolean] and null. */
internal class Json private constructor(private val text: String) {
    private var at = 0

    private fun value(depth: Int): Any? {
        require(depth < MAX_DEPTH) { "too deep" }
        skipSpace()
        return when (text.getOrNull(at)) {
            '{' -> members(depth)
            '[' -> sequence('[', ']') { value(depth + 1) }
            '"' -> string()
            't' -> word("true", true)
            'f' -> word("false", false)
            'n' -> word("null", null)
            else -> number()
        }
    }

    private fun members(depth: Int): Map<String, Any?> = sequence('{', '}') {
        skipSpace()
        val name = string()
        skipSpace()
        expect(':')
        name to value(depth + 1)
    }.toMap()

    private fun <T> sequence(open: Char, close: Char, item: () -> T): List<T> {
        expect(open)
        val items = mutableListOf<T>()
        skipSpace()
        if (text.getOrNull(at) != close) {
            do items += item() while (comma())
        }
        expect(close)
        return items
    }

    private fun comma(): Boolean {
        skipSpace()
        val found = text.getOrNull(at) == ','
        if (found) at++
        return found
    }

    private fun string(): String {
        expect('"')
        val result = StringBuilder()
        while (true) {
            when (val c = next()) {
                '"' -> return result.toString()
                '\\' -> result.append(escaped())
                else -> {
                    require(c >= ' ') { "a control character in a text" }
                    result.append(c)
                }
            }
        }
    }

    private fun escaped(): Char = when (val c = next()) {
        '"', '\\', '/' -> c
        'b' -> '\b'
        'f' -> '\u000c'
        'n' -> '\n'
        'r' -> '\r'
        't' -> '\t'
        'u' -> {
            require(at + 4 <= text.length) { "it ends within a text" }
            at += 4
            text.substring(at - 4, at).toInt(16).toChar()
        }
        else -> throw IllegalArgumentException("\\$c in a text")
    }

    private fun number(): Double {
        val found = NUMBER.find(text, at)
        require(found != null && found.range.first == at) { "no value at character $at" }
        at = found.range.last + 1
        return found.value.toDouble()
    }

    private fun <T> word(word: String, value: T): T {
        require(text.startsWith(word, at)) { "no value at character $at" }
        at += word.length
        return value
    }

    private fun next(): Char {
        require(at < text.length) { "it ends too early" }
        return text[at++]
    }

    private fun expect(c: Char) = require(next() == c) { "no $c at character ${at - 1}" }

    private fun skipSpace() {
        while (at < text.length && text[at] in " \t\r\n") at++
    }

    companion object {
        private const val MAX_DEPTH = 32
        private val NUMBER = Regex("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?")

        /** @throws IllegalArgumentException the text is no JSON. */
        fun parse(text: String): Any? {
            val json = Json(text)
            val value = json.value(0)
            json.skipSpace()
            require(json.at == text.length) { "more text behind it" }
            return value
        }
    }
}
