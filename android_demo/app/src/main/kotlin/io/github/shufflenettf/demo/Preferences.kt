package io.github.shufflenettf.demo

import android.content.Context

/**
 * How the model runs.
 *
 * @property model file name; if there is no such file, the first model is used.
 * @property threads CPU threads.
 * @property gpu whether to try the GPU first.
 */
internal data class EngineChoice(val model: String, val threads: Int, val gpu: Boolean)

/** The user's settings, stored on the phone. */
internal class Preferences(context: Context) {
    private val store = context.getSharedPreferences("choices", Context.MODE_PRIVATE)

    var engine: EngineChoice
        get() = EngineChoice(
            store.getString("model", null).orEmpty(),
            store.getInt("threads", DEFAULT_THREADS).coerceIn(1, MAX_THREADS),
            store.getBoolean("gpu", false),
        )
        set(value) = store.edit().putString("model", value.model).putInt("threads", value.threads)
            .putBoolean("gpu", value.gpu).apply()

    /** Minimum probability to show, per cent. */
    var threshold: Int
        get() = store.getInt("threshold", 5)
        set(value) = store.edit().putInt("threshold", value).apply()

    var smoothing: Boolean
        get() = store.getBoolean("smoothing", true)
        set(value) = store.edit().putBoolean("smoothing", value).apply()

    /** Whether the app has already asked for the camera; if so, a denial without a dialog is permanent. */
    var cameraAsked: Boolean
        get() = store.getBoolean("camera_asked", false)
        set(value) = store.edit().putBoolean("camera_asked", value).apply()

    companion object {
        val MAX_THREADS: Int = Runtime.getRuntime().availableProcessors()

        /** More threads than big cores rarely help a network of this size. */
        private val DEFAULT_THREADS = minOf(4, MAX_THREADS)
    }
}
