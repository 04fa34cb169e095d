package io.github.shufflenettf.core

import io.github.shufflenettf.core.ModelMessage.Key
import java.util.concurrent.locks.LockSupport

/**
 * Classifies frames in a worker thread and keeps the newest result; frames never queue up.
 *
 * The worker thread creates, runs and closes engines. All methods are thread-safe and do not block.
 *
 * @param listener receives events.
 */
class FramePipeline internal constructor(private val listener: Listener, settings: Settings, private val clock: Clock) :
    AutoCloseable {
    /** Called in the worker thread; implementations should return quickly. */
    interface Listener {
        /** A new result can be read. */
        fun onResult()

        /** The engine of a model is ready. */
        fun onModelReady(model: ModelInfo)

        /** The model can't be used; frames are rejected until [switchModel]. */
        fun onProblem(problem: ModelMessage)
    }

    /** Holds at most one frame that waits for the worker. */
    private class Slot {
        var frame: Frame? = null
        var rotation = 0
        var sequence = 0L
        var offered = 0L

        fun put(frame: Frame, rotation: Int, sequence: Long, offered: Long) {
            this.frame = frame
            this.rotation = rotation
            this.sequence = sequence
            this.offered = offered
        }

        fun take(): Frame? = frame.also { frame = null }
    }

    private class Choice(val model: ModelInfo, val factory: EngineFactory)

    // Guarded by the lock.
    private val lock = Any()
    private val live = Slot()
    private val photo = Slot()
    private var choice: Choice? = null
    private var usable = false
    private var closing = false
    private var generation = 0
    private var sequence = 0L
    private var pausing = false
    private val latest = Result(MAX_TOP)

    // Used by the worker thread only.
    private val taken = Slot()
    private var takenIsPhoto = false
    private var takenGeneration = 0
    private val fresh = Result(MAX_TOP)
    private var classifier: Classifier? = null
    private val worker = Thread(::work, "classifier")

    /** Can be changed at any time; takes effect with the next frame. */
    @Volatile
    var settings: Settings = settings

    constructor(listener: Listener, settings: Settings = Settings()) : this(listener, settings, Clock { System.nanoTime() })

    init {
        worker.isDaemon = true
        worker.start()
    }

    /** Whether live frames are rejected. Pausing closes a waiting frame, and drops the result of the one being classified. */
    var paused: Boolean
        get() = synchronized(lock) { pausing }
        set(value) {
            val unused = synchronized(lock) {
                pausing = value
                if (value) live.take() else null
            }
            unused?.close()
        }

    /**
     * Switches to another model; results of the previous one can no longer be read.
     *
     * @param factory creates its engine in the worker thread, after the previous engine is closed.
     */
    fun switchModel(model: ModelInfo, factory: EngineFactory) {
        synchronized(lock) {
            if (closing) return
            choice = Choice(model, factory)
            usable = true
            forget()
        }
        LockSupport.unpark(worker)
    }

    /** Drops earlier results, the smoothing state and waiting frames. */
    fun clear() {
        synchronized(lock) { forget() }
        dropWaiting()
    }

    private fun forget() {
        generation++
        latest.model = null
    }

    /**
     * Offers a live frame, which replaces a waiting one.
     *
     * @param frame the pipeline closes it in any case.
     * @param rotation clockwise degrees that make it upright: 0, 90, 180 or 270.
     * @return its sequence number; -1: rejected, because the pipeline is paused, closed or without a model.
     */
    fun offer(frame: Frame, rotation: Int): Long = put(live, frame, rotation)

    /** Offers a photo, also to a paused pipeline. Live frames do not replace it, and its result is not smoothed. */
    fun offerStill(frame: Frame, rotation: Int): Long = put(photo, frame, rotation)

    private fun put(slot: Slot, frame: Frame, rotation: Int): Long {
        FrameResizer.requireRotation(rotation)
        val offered = clock.nanos()
        var number = -1L
        var displaced: Frame? = frame
        var older: Frame? = null
        synchronized(lock) {
            if (usable && !closing && !(pausing && slot === live)) {
                number = sequence++
                displaced = slot.take()
                if (slot === photo) older = live.take() // otherwise it would be classified after the photo
                slot.put(frame, rotation, number, offered)
            }
        }
        displaced?.close()
        older?.close()
        if (number >= 0) LockSupport.unpark(worker)
        return number
    }

    /** Copies the newest result to [into]; returns false if there is none since the last [switchModel] or [clear]. */
    fun read(into: Result): Boolean = synchronized(lock) {
        if (latest.model == null) return false
        into.copyFrom(latest)
        true
    }

    /** Rejects all further frames; the worker finishes its frame and closes the engine. */
    override fun close() {
        synchronized(lock) {
            closing = true
            forget()
        }
        LockSupport.unpark(worker)
    }

    /** After [close]: waits until the engine is closed; returns whether it is. */
    fun awaitClosed(milliseconds: Long): Boolean {
        worker.join(milliseconds)
        return !worker.isAlive
    }

    private fun work() {
        try {
            while (true) {
                val next = synchronized(lock) {
                    if (closing) return
                    takeNext()
                }
                val frame = taken.take()
                when {
                    next != null -> begin(next)
                    frame != null -> frame.use(::classify)
                    else -> LockSupport.park(this)
                }
            }
        } finally {
            end()
        }
    }

    /** Returns a newly chosen model; if there is none, moves the next frame, if any, to [taken]. */
    private fun takeNext(): Choice? {
        val next = choice
        choice = null
        if (next != null) return next
        takenIsPhoto = photo.frame != null
        takenGeneration = generation
        val slot = if (takenIsPhoto) photo else live
        slot.take()?.let { taken.put(it, slot.rotation, slot.sequence, slot.offered) }
        return null
    }

    private fun begin(choice: Choice) {
        closeEngine()
        try {
            classifier = Classifier(choice.model, choice.factory, clock)
        } catch (@Suppress("TooGenericExceptionCaught") e: Throwable) { // missing native code is an Error
            return fail(engineFailed(choice.model, e))
        }
        listener.onModelReady(choice.model)
    }

    private fun classify(frame: Frame) {
        val classifier = classifier ?: return
        val preparing = try {
            classifier.prepare(frame, taken.rotation, takenGeneration)
        } catch (@Suppress("TooGenericExceptionCaught") _: RuntimeException) {
            return // its memory is gone: the camera was closed meanwhile
        }
        try {
            classifier.run(fresh, settings, takenIsPhoto, preparing, taken.offered)
        } catch (e: ModelException) {
            return fail(e.problem)
        } catch (@Suppress("TooGenericExceptionCaught") e: Exception) {
            return fail(engineFailed(classifier.model, e))
        }
        fresh.sequence = taken.sequence
        val shown = synchronized(lock) {
            val current = takenGeneration == generation && !(pausing && !takenIsPhoto)
            if (current) latest.copyFrom(fresh)
            current
        }
        if (shown) listener.onResult()
    }

    private fun engineFailed(model: ModelInfo, e: Throwable): ModelMessage {
        val reason = e.message?.lineSequence()?.firstOrNull { it.isNotBlank() }?.trim()?.trimEnd('.') ?: e.javaClass.simpleName
        return ModelMessage.of(Key.ENGINE_FAILED, model.fileName, reason)
    }

    private fun fail(problem: ModelMessage) {
        closeEngine()
        val replaced = synchronized(lock) {
            usable = choice != null
            if (!usable) forget()
            usable
        }
        if (replaced) return
        dropWaiting()
        listener.onProblem(problem)
    }

    private fun closeEngine() {
        val previous = classifier
        classifier = null
        previous?.close()
    }

    private fun dropWaiting() {
        var first: Frame? = null
        var second: Frame? = null
        synchronized(lock) {
            first = live.take()
            second = photo.take()
        }
        first?.close()
        second?.close()
    }

    private fun end() {
        synchronized(lock) { closing = true }
        dropWaiting()
        closeEngine()
    }

    private companion object {
        const val MAX_TOP = 10
    }
}
