package io.github.shufflenettf.core

import io.github.shufflenettf.core.Message.Key
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** An interpreter of one input and one output. It's made, run and closed in one thread, as a GPU demands. */
interface Engine : AutoCloseable {
    /**
     * Runs the model.
     *
     * @param input the input tensor: direct, in native order, at position 0.
     * @param output the output tensor, to be filled; the same.
     */
    fun run(input: ByteBuffer, output: ByteBuffer)
}

/** Makes an engine, or throws. */
fun interface EngineFactory {
    fun create(): Engine
}

/**
 * What is done with results.
 *
 * @property threshold classes of a smaller probability are left out.
 * @property smoothingMs milliseconds after which what was seen before counts 1/e; 0: no smoothing.
 */
class Settings(val threshold: Float = 0.05f, val smoothingMs: Float = 250f)

/** The source of time, in nanoseconds from whenever. */
internal fun interface Clock {
    fun nanos(): Long
}

/**
 * One model at work: from a frame to a result, without garbage.
 *
 * @property model what is known of it.
 * @param factory makes the engine, which is closed with this.
 */
internal class Classifier(val model: ModelInfo, factory: EngineFactory, private val clock: Clock) : AutoCloseable {
    private val preparer = InputPreparer(model)
    private val input = tensor(model.input)
    private val output = tensor(model.output)
    private val scores = Scores(model.output)
    private val smoothing = Smoothing(model.classes)
    private val statistics = Statistics()
    private var generation = -1

    // The last of all that can fail, so that an engine that was made is always closed.
    private val engine = factory.create()

    /**
     * Makes the model's input of a frame.
     *
     * @param generation another one than before: all frames before are forgotten.
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
     * Runs the model on what [prepare] made and fills [result], but for its sequence.
     *
     * @param offered when the frame was offered, in nanoseconds.
     * @throws ModelException it returns no probabilities.
     */
    fun run(result: Result, settings: Settings, still: Boolean, preparing: Long, offered: Long) {
        val start = clock.nanos()
        input.rewind()
        output.rewind()
        engine.run(input, output)
        val end = clock.nanos()
        scores.read(output)
        if (!scores.plausible) {
            throw ModelException(Message.of(Key.NO_PROBABILITIES, model.fileName, scores.minimum, scores.maximum))
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
