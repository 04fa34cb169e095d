package io.github.shufflenettf.demo

/** A button of an error card. */
internal class CardAction(val label: Int, val run: () -> Unit)

/**
 * Replaces the results when there can be none: no model, a damaged model, an unreadable photo, no camera.
 *
 * `MainActivity.errorCard` decides which card is shown. Why a model can't be used is decided by core's `ModelInfo.read`, and the
 * sentences are those of core's `ModelMessage`.
 *
 * @property title string resource.
 * @property text a sentence in the phone's language.
 * @property first the recommended action.
 * @property second another action, if any.
 */
internal class ErrorCard(val title: Int, val text: String, val first: CardAction, val second: CardAction? = null)
