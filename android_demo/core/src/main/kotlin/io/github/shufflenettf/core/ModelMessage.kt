package io.github.shufflenettf.core

import java.util.Locale

/**
 * A sentence about a model for the user: why it can't be used, or a notice. The app translates it by its key.
 *
 * @property key selects the sentence; the app's string resource is `message_` plus the key in lower case.
 * @property arguments of the pattern, in order: `String`, `Int` or `Float`.
 */
class ModelMessage(val key: Key, val arguments: List<Any>) {
    /**
     * All sentences. Each names the file, the problem, and the remedy.
     *
     * @property pattern in English, for [String.format].
     */
    enum class Key(val pattern: String) {
        /** (file) It is not a TFLite model. */
        NOT_A_MODEL("%1\$s is not a TFLite model: use a .tflite file."),

        /** (file) It is truncated or damaged. */
        DAMAGED("%1\$s is damaged or incomplete: copy or export it again."),

        /** (file, inputs, outputs) It has another task; inputs and outputs are lists of shapes. */
        NOT_A_CLASSIFIER(
            "%1\$s is not an image classifier: its inputs are %2\$s and its outputs %3\$s, but [1, height, width, 3] and " +
                "[1, classes] are expected.",
        ),

        /** (file, channels) Its input is not RGB. */
        NOT_RGB("%1\$s takes images with %2\$d channel(s): use a model with RGB input."),

        /** (file, type) The type of its input or output is not supported, such as int64. */
        UNSUPPORTED_TYPE("%1\$s uses %2\$s: use a model whose input and output are uint8, int8 or float32."),

        /** (file, type) Its input is not pixels, and it has no preprocessing.json. */
        PREPROCESSING_MISSING(
            "%1\$s takes %2\$s and has no preprocessing.json: use a model with uint8 input, or one exported by this project.",
        ),

        /** (file, detail) Its preprocessing.json is invalid. */
        PREPROCESSING_INVALID("%1\$s contains an invalid preprocessing.json (%2\$s): export it again."),

        /** (file, labels, classes) The numbers of labels and classes differ. */
        LABEL_COUNT("%1\$s has %2\$d labels for %3\$d classes: export it with one label per class."),

        /** (file) A notice: it has no labels. */
        LABELS_MISSING("%1\$s has no labels: classes are shown by number."),

        /** (file, smallest, largest) Its output is not that of a softmax. */
        NO_PROBABILITIES(
            "%1\$s returns values from %2\$.3g to %3\$.3g, which are not probabilities: use a model that ends with a softmax.",
        ),

        /** (file, reason) The interpreter rejects it or failed. */
        ENGINE_FAILED("%1\$s can't run (%2\$s): it is damaged, or this device doesn't support it."),
    }

    /** Returns the sentence in English. */
    fun english(): String = String.format(Locale.ROOT, key.pattern, *arguments.toTypedArray())

    override fun toString(): String = english()

    internal companion object {
        fun of(key: Key, vararg arguments: Any): ModelMessage = ModelMessage(key, arguments.asList())
    }
}

/**
 * The model can't be used.
 *
 * @property problem why, for the user.
 */
class ModelException(val problem: ModelMessage, cause: Throwable? = null) : Exception(problem.english(), cause)
