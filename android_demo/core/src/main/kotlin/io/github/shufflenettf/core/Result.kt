package io.github.shufflenettf.core

/**
 * A classification: a holder that is filled again and again. Not thread-safe: each reader has its own.
 *
 * @property top how many classes it has room for.
 */
class Result(val top: Int = 3) {
    internal val indices = IntArray(top)
    internal val probabilities = FloatArray(top)

    /** How many classes it has: those above the threshold. */
    var count: Int = 0
        internal set

    /** The model whose classes these are; null: it was never filled. */
    var model: ModelInfo? = null
        internal set

    /** Of the frame; a later frame has a larger one. */
    var sequence: Long = -1
        internal set

    /** Rises with each `switchModel` and `clear`. */
    var generation: Int = 0
        internal set

    /** Whether it's of a photo, and so not smoothed. */
    var still: Boolean = false
        internal set

    /** Milliseconds from the frame to the model's input. */
    var preparationMs: Float = 0f
        internal set

    /** Milliseconds that the model took. */
    var inferenceMs: Float = 0f
        internal set

    /** Milliseconds from the moment the frame was offered, waiting included. */
    var totalMs: Float = 0f
        internal set

    /** Means over the latest results. */
    val averages: Averages = Averages()

    /** Returns the class of rank 0 (the likeliest) to [count] - 1. */
    fun index(rank: Int): Int = indices[checked(rank)]

    /** Returns the probability of the class of a rank. */
    fun probability(rank: Int): Float = probabilities[checked(rank)]

    private fun checked(rank: Int): Int {
        if (rank !in 0 until count) throw IndexOutOfBoundsException("rank $rank of $count")
        return rank
    }

    /** Takes over what fits of [other], which may have more or less room. */
    internal fun copyFrom(other: Result) {
        count = minOf(other.count, top)
        other.indices.copyInto(indices, 0, 0, count)
        other.probabilities.copyInto(probabilities, 0, 0, count)
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
