package io.github.shufflenettf.core

/**
 * Averages over the latest results.
 *
 * @property preparationMs milliseconds from a frame to the model's input.
 * @property inferenceMs milliseconds of inference.
 * @property totalMs milliseconds from offering a frame to its result, including waiting.
 * @property framesPerSecond results per second; 0 with fewer than two results.
 */
class Averages internal constructor() {
    var preparationMs: Float = 0f
        internal set
    var inferenceMs: Float = 0f
        internal set
    var totalMs: Float = 0f
        internal set
    var framesPerSecond: Float = 0f
        internal set

    internal fun copyFrom(other: Averages) {
        preparationMs = other.preparationMs
        inferenceMs = other.inferenceMs
        totalMs = other.totalMs
        framesPerSecond = other.framesPerSecond
    }
}

/**
 * Durations of the latest results.
 *
 * @param window number of results.
 */
internal class Statistics(private val window: Int = 30) {
    private val preparation = LongArray(window)
    private val inference = LongArray(window)
    private val total = LongArray(window)
    private val finished = LongArray(window)
    private var count = 0L

    /** Discards earlier results. */
    fun reset() {
        count = 0
    }

    /** Adds the durations of a result, nanoseconds; [end] is the time it was ready. */
    fun add(preparing: Long, inferring: Long, all: Long, end: Long) {
        val place = (count++ % window).toInt()
        preparation[place] = preparing
        inference[place] = inferring
        total[place] = all
        finished[place] = end
    }

    /** Writes the averages to [averages]. */
    fun writeTo(averages: Averages) {
        val size = minOf(count, window.toLong()).toInt()
        averages.preparationMs = mean(preparation, size)
        averages.inferenceMs = mean(inference, size)
        averages.totalMs = mean(total, size)
        averages.framesPerSecond = 0f
        if (size < 2) return
        val newest = finished[((count - 1) % window).toInt()]
        val oldest = finished[((count - size) % window).toInt()]
        if (newest > oldest) averages.framesPerSecond = ((size - 1) * 1e9 / (newest - oldest)).toFloat()
    }

    private fun mean(nanos: LongArray, size: Int): Float {
        if (size == 0) return 0f
        var sum = 0L
        for (i in 0 until size) sum += nanos[i]
        return (sum / 1e6 / size).toFloat()
    }
}
