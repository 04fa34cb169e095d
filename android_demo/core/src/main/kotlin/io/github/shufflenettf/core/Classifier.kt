package io.github.shufflenettf.core

import io.github.shufflenettf.core.ModelMessage.Key
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** An interpreter of one input and one output. It is created, run and closed in one thread, because GPU delegates require it. */
interface Engine : AutoCloseable {
    /**
     * Runs the model.
     *
     * @param input the input tensor: direct, in native order, at position 0.
     * @param output the output tensor to fill: direct, in native order, at position 0.
     */
    fun run(input: ByteBuffer, output: ByteBuffer)
}

/** Creates an engine, or throws. */
fun interface EngineFactory {
    fun create(): Engine
}

/**
 * How results are filtered and smoothed.
 *
 * @property threshold classes with a smaller probability are omitted.
 * @property smoothingMs time constant of the exponential smoothing, milliseconds; 0: no smoothing.
 */
class Settings(val threshold: Float = 0.05f, val smoothingMs: Float = 250f)

/** A monotonic clock, in nanoseconds from an arbitrary origin. */
internal fun interface Clock {
    fun nanos(): Long
}

/**
 * Runs one model: from a frame to a result, without allocating memory.
 *
 * @property model its metadata.
 * @param factory creates the engine, which [close] closes.
 */
internal class Classifier(val model: ModelInfo, factory: EngineFactory, private val clock: Clock) : AutoCloseable {
    private val preparer = InputPreparer(model)
    private val input = tensor(model.input)
    private val output = tensor(model.output)
    private val scores = Scores(model.output)
    private val smoothing = Smoothing(model.classes)
    private val statistics = Statistics()
    private var generation = -1

    // Created last: if anything before it fails, no engine is left open.
    private val engine = factory.create()

    /**
     * Converts a frame to the model's input.
     *
     * @param generation a change resets smoothing and statistics.
     * @return the nanoseconds it took.
     */
    fun prepare(frame: Frame, rotation: Int, generation: Int): Long {
        if (this.generation != generation) reset()
        this.generation = generation
        val start = clock.nanos()
        preparer.prepare(frame, rotation, input)
        return clock.nanos() - start
    }

    /**
     * Runs the model on the input that [prepare] wrote and fills [result], except its sequence.
     *
     * @param offered time when the frame was offered, nanoseconds.
     * @throws ModelException the output does not hold probabilities.
     */
    fun run(result: Result, settings: Settings, still: Boolean, preparing: Long, offered: Long) {
        val start = clock.nanos()
        input.rewind()
        output.rewind()
        engine.run(input, output)
        val end = clock.nanos()
        scores.read(output)
        if (!scores.plausible) {
            throw ModelException(ModelMessage.of(Key.NO_PROBABILITIES, model.fileName, scores.minimum, scores.maximum))
        }
        var shown = scores.probabilities
        if (still) {
            reset()
        } else {
            smoothing.add(shown, offered, settings.smoothingMs)
            shown = smoothing.probabilities
        }
        statistics.add(preparing, end - start, end - offered, end)
        result.count = TopK.select(shown, settings.threshold, result.indices, result.probabilities)
        result.sure = result.count > 0 && result.probabilities[0] >= model.threshold
        result.model = model
        result.generation = generation
        result.still = still
        result.preparationMs = preparing / NANOS
        result.inferenceMs = (end - start) / NANOS
        result.totalMs = (end - offered) / NANOS
        statistics.writeTo(result.averages)
    }

    private fun reset() {
        smoothing.reset()
        statistics.reset()
    }

    override fun close() = engine.close()

    private companion object {
        const val NANOS = 1e6f

        fun tensor(tensor: Tensor): ByteBuffer = ByteBuffer.allocateDirect(tensor.bytes).order(ByteOrder.nativeOrder())
    }
}
