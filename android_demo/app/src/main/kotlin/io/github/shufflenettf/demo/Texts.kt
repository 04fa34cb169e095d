package io.github.shufflenettf.demo

import android.content.res.Resources
import io.github.shufflenettf.core.Message
import io.github.shufflenettf.core.ModelInfo
import java.text.NumberFormat

/** Returns the sentence in the phone's language. */
internal fun Resources.sentence(message: Message): String = getString(message.key.resource, *message.arguments.toTypedArray())

/** The string resource of each of core's sentences; a new key doesn't compile until it has one. */
private val Message.Key.resource: Int
    get() = when (this) {
        Message.Key.NOT_A_MODEL -> R.string.message_not_a_model
        Message.Key.DAMAGED -> R.string.message_damaged
        Message.Key.NOT_A_CLASSIFIER -> R.string.message_not_a_classifier
        Message.Key.NOT_RGB -> R.string.message_not_rgb
        Message.Key.UNSUPPORTED_TYPE -> R.string.message_unsupported_type
        Message.Key.PREPROCESSING_MISSING -> R.string.message_preprocessing_missing
        Message.Key.PREPROCESSING_INVALID -> R.string.message_preprocessing_invalid
        Message.Key.LABEL_COUNT -> R.string.message_label_count
        Message.Key.LABELS_MISSING -> R.string.message_labels_missing
        Message.Key.NO_PROBABILITIES -> R.string.message_no_probabilities
        Message.Key.ENGINE_FAILED -> R.string.message_engine_failed
    }

/** Returns the class's name, or its number where the model names none. */
internal fun Resources.className(model: ModelInfo, index: Int): String =
    model.label(index) ?: getString(R.string.class_number, index)

/** Returns a probability such as 0.87 as "87 %", as the language writes it. */
internal fun percent(probability: Float): String = NumberFormat.getPercentInstance().format(probability)
