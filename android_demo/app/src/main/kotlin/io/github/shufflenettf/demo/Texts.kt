package io.github.shufflenettf.demo

import android.content.res.Resources
import io.github.shufflenettf.core.ModelMessage
import io.github.shufflenettf.core.ModelInfo
import java.text.NumberFormat

/** Returns a sentence about a model in the phone's language. */
internal fun Resources.sentence(message: ModelMessage): String = getString(message.key.resource, *message.arguments.toTypedArray())

/** The string resource of each key; a new key doesn't compile until it has one. */
private val ModelMessage.Key.resource: Int
    get() = when (this) {
        ModelMessage.Key.NOT_A_MODEL -> R.string.message_not_a_model
        ModelMessage.Key.DAMAGED -> R.string.message_damaged
        ModelMessage.Key.NOT_A_CLASSIFIER -> R.string.message_not_a_classifier
        ModelMessage.Key.NOT_RGB -> R.string.message_not_rgb
        ModelMessage.Key.UNSUPPORTED_TYPE -> R.string.message_unsupported_type
        ModelMessage.Key.PREPROCESSING_MISSING -> R.string.message_preprocessing_missing
        ModelMessage.Key.PREPROCESSING_INVALID -> R.string.message_preprocessing_invalid
        ModelMessage.Key.LABEL_COUNT -> R.string.message_label_count
        ModelMessage.Key.LABELS_MISSING -> R.string.message_labels_missing
        ModelMessage.Key.NO_PROBABILITIES -> R.string.message_no_probabilities
        ModelMessage.Key.ENGINE_FAILED -> R.string.message_engine_failed
    }

/** Returns a class's name, or its number if the model has no labels. */
internal fun Resources.className(model: ModelInfo, index: Int): String =
    model.label(index) ?: getString(R.string.class_number, index)

/** Formats a probability such as 0.87 as "87 %", in the phone's language. */
internal fun percent(probability: Float): String = NumberFormat.getPercentInstance().format(probability)
