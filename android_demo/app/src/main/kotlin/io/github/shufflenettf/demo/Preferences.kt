package io.github.shufflenettf.demo

import android.content.Context

/**
 * How to classify.
 *
 * @property model file name of the model; one that isn't there (any more) stands for the first.
 * @property threads of the CPU.
 * @property gpu whether to try the GPU first.
 */
internal data class EngineChoice(val model: String, val threads: Int, val gpu: Boolean)

/** What the user has chosen, kept for the next start. */
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

    /** Smallest probability to show, in per cent. */
    var threshold: Int
        get() = store.getInt("threshold", 5)
        set(value) = store.edit().putInt("threshold", value).apply()

    var smoothing: Boolean
        get() = store.getBoolean("smoothing", true)
        set(value) = store.edit().putBoolean("smoothing", value).apply()

    /** Whether the system has been asked for the camera before: only then does a silent refusal mean "never". */
    var cameraAsked: Boolean
        get() = store.getBoolean("camera_asked", false)
        set(value) = store.edit().putBoolean("camera_asked", value).apply()

    companion object {
        val MAX_THREADS: Int = Runtime.getRuntime().availableProcessors()

        /** More than the big cores seldom helps a network of this size. */
        private val DEFAULT_THREADS = minOf(4, MAX_THREADS)
    }
}
