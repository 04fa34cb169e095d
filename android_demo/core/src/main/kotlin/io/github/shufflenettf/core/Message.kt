package io.github.shufflenettf.core

import java.util.Locale

/**
 * One sentence for a person: a key under which the app keeps it in each language, and what it speaks of.
 *
 * @property key which sentence; the app's string resource is named `message_` and the key in lower case.
 * @property arguments in the order of the pattern's places: texts, `Int` and `Float`.
 */
class Message(val key: Key, val arguments: List<Any>) {
    /**
     * The sentences.
     *
     * @property pattern in English, for [String.format].
     */
    enum class Key(val pattern: String) {
        /** (file) It isn't a TFLite model at all. */
        NOT_A_MODEL("%1\$s is no TFLite model: give a .tflite file."),

        /** (file) It's cut off or broken. */
        DAMAGED("%1\$s is damaged or cut off: copy or export it again."),

        /** (file, inputs, outputs) It does something else; inputs and outputs are shapes as text. */
        NOT_A_CLASSIFIER(
            "%1\$s is no image classifier: it has inputs %2\$s and outputs %3\$s, but [1, height, width, 3] and " +
                "[1, classes] are expected.",
        ),

        /** (file, channels) Its pictures aren't of red, green and blue. */
        NOT_RGB("%1\$s takes pictures of %2\$d channel(s): give a model that takes red, green and blue."),

        /** (file, type) Its input or output is of a type such as int64. */
        UNSUPPORTED_TYPE("%1\$s uses %2\$s: give a model with uint8, int8 or float32 as input and output."),

        /** (file, type) It takes something else than pixels, and doesn't say how these become it. */
        PREPROCESSING_MISSING(
            "%1\$s takes %2\$s and doesn't say how pixels become that: give a model that takes uint8, or one that this " +
                "project has exported.",
        ),

        /** (file, detail) Its preprocessing.json makes no sense. */
        PREPROCESSING_INVALID("%1\$s has a preprocessing.json that can't be used (%2\$s): export it again."),

        /** (file, labels, classes) The numbers differ. */
        LABEL_COUNT("%1\$s has %2\$d labels for %3\$d classes: export it with one for each class."),

        /** (file) A notice, no error. */
        LABELS_MISSING("%1\$s names no classes: they are shown by number."),

        /** (file, smallest, largest) Its output isn't that of a softmax. */
        NO_PROBABILITIES(
            "%1\$s returns values of %2\$.3g to %3\$.3g where probabilities are expected: give a model that ends with a " +
                "softmax.",
        ),

        /** (file, reason) The interpreter refuses it, or stopped. */
        ENGINE_FAILED("%1\$s can't be run (%2\$s): it is damaged, or needs more than this device has."),
    }

    /** Returns the sentence in English. */
    fun english(): String = String.format(Locale.ROOT, key.pattern, *arguments.toTypedArray())

    override fun toString(): String = english()

    internal companion object {
        fun of(key: Key, vararg arguments: Any): Message = Message(key, arguments.asList())
    }
}

/**
 * A model can't be used.
 *
 * @property problem why, for a person.
 */
class ModelException(val problem: Message, cause: Throwable? = null) : Exception(problem.english(), cause)
