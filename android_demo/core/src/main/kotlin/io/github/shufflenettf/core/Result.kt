package io.github.shufflenettf.core

/**
 * A classification result, reused from frame to frame. Not thread-safe: each reader needs its own.
 *
 * @property top maximum number of classes.
 */
class Result(val top: Int = 3) {
    internal val indices = IntArray(top)
    internal val probabilities = FloatArray(top)

    /** Number of classes above the threshold, at most [top]. */
    var count: Int = 0
        internal set

    /** Whether the likeliest class reaches the model's own threshold; else the answer is "not sure". */
    var sure: Boolean = true
        internal set

    /** The model that the classes belong to; null: there is no result yet. */
    var model: ModelInfo? = null
        internal set

    /** Sequence number of the frame; it increases from frame to frame. */
    var sequence: Long = -1
        internal set

    /** Increases with each `switchModel` and `clear`. */
    var generation: Int = 0
        internal set

    /** Whether it is the result of a photo, which is not smoothed. */
    var still: Boolean = false
        internal set

    /** Milliseconds from the frame to the model's input. */
    var preparationMs: Float = 0f
        internal set

    /** Milliseconds of inference. */
    var inferenceMs: Float = 0f
        internal set

    /** Milliseconds since the frame was offered, including waiting. */
    var totalMs: Float = 0f
        internal set

    /** Means over the latest results. */
    val averages: Averages = Averages()

    /** Returns the class of rank 0 (most likely) to [count] - 1. */
    fun index(rank: Int): Int = indices[checked(rank)]

    /** Returns the probability of the class of a rank. */
    fun probability(rank: Int): Float = probabilities[checked(rank)]

    private fun checked(rank: Int): Int {
        if (rank !in 0 until count) throw IndexOutOfBoundsException("rank $rank of $count")
        return rank
    }

    /** Copies [other], up to [top] classes. */
    internal fun copyFrom(other: Result) {
        count = minOf(other.count, top)
        other.indices.copyInto(indices, 0, 0, count)
        other.probabilities.copyInto(probabilities, 0, 0, count)
        sure = other.sure
        model = other.model
        sequence = other.sequence
        generation = other.generation
        still = other.still
        preparationMs = other.preparationMs
        inferenceMs = other.inferenceMs
        totalMs = other.totalMs
        averages.copyFrom(other.averages)
    }
}
