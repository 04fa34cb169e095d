package io.github.shufflenettf.core

import io.github.shufflenettf.core.Message.Key
import java.util.concurrent.locks.LockSupport

/**
 * Frames in, the newest result out; nothing ever queues.
 *
 * One thread of its own makes, runs and closes engines. All methods may be called in any thread and return at once.
 *
 * @param listener is told of what happens.
 */
class FramePipeline internal constructor(private val listener: Listener, settings: Settings, private val clock: Clock) :
    AutoCloseable {
    /** Is called in the pipeline's thread, and should only pass on that there is news. */
    interface Listener {
        /** A newer result can be read. */
        fun onResult()

        /** The engine of a model is there. */
        fun onModelReady(model: ModelInfo)

        /** The model can't be used; frames are refused until [switchModel]. */
        fun onProblem(problem: Message)
    }

    /** What waits for the thread: at most one frame of each kind. */
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

    // All of these are used under the lock.
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

    // These are the thread's own.
    private val taken = Slot()
    private var takenIsPhoto = false
    private var takenGeneration = 0
    private val fresh = Result(MAX_TOP)
    private var classifier: Classifier? = null
    private val worker = Thread(::work, "classifier")

    /** Can be changed at any time; counts from the next frame on. */
    @Volatile
    var settings: Settings = settings

    constructor(listener: Listener, settings: Settings = Settings()) : this(listener, settings, Clock { System.nanoTime() })

    init {
        worker.isDaemon = true
        worker.start()
    }

    /** Whether live frames are refused; a waiting one is given back, and one under way has no result. */
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
     * Changes the model; from now on no result of the former one is read.
     *
     * @param factory makes its engine, in the pipeline's thread, where the former one is closed before.
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

    /** Forgets all frames before: results, what is smoothed, and frames that wait. */
    fun clear() {
        synchronized(lock) { forget() }
        dropWaiting()
    }

    private fun forget() {
        generation++
        latest.model = null
    }

    /**
     * Gives a live frame, which takes the place of one that waits.
     *
     * @param frame will be closed in any case.
     * @param rotation degrees clockwise that turn it upright: 0, 90, 180 or 270.
     * @return its sequence number; -1: refused, as the pipeline is paused, closed or without a model.
     */
    fun offer(frame: Frame, rotation: Int): Long = put(live, frame, rotation)

    /** Gives a photo, also to a paused pipeline; live frames don't displace it, and it's classified by itself. */
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
                if (slot === photo) older = live.take() // it would come after the photo
                slot.put(frame, rotation, number, offered)
            }
        }
        displaced?.close()
        older?.close()
        if (number >= 0) LockSupport.unpark(worker)
        return number
    }

    /** Copies the newest result to [into]; false: there's none since the last [switchModel] or [clear]. */
    fun read(into: Result): Boolean = synchronized(lock) {
        if (latest.model == null) return false
        into.copyFrom(latest)
        true
    }

    /** Refuses all from now on; the thread ends what it is at, and closes the engine. */
    override fun close() {
        synchronized(lock) {
            closing = true
            forget()
        }
        LockSupport.unpark(worker)
    }

    /** Waits after [close] until the engine is closed; returns whether it is. */
    fun awaitClosed(milliseconds: Long): Boolean {
        worker.join(milliseconds)
        return !worker.isAlive
    }

    private fun work() {
        try {
            while (true) {
                val chosen = synchronized(lock) {
                    if (closing) return
                    takeNext()
                }
                val frame = taken.take()
                when {
                    chosen != null -> begin(chosen)
                    frame != null -> frame.use(::classify)
                    else -> LockSupport.park(this)
                }
            }
        } finally {
            end()
        }
    }

    /** Returns a model that was chosen, or else moves the frame that is next, if there is one, to [taken]. */
    private fun takeNext(): Choice? {
        val chosen = choice
        choice = null
        if (chosen != null) return chosen
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
        } catch (@Suppress("TooGenericExceptionCaught") e: Throwable) { // native code that is missing is an Error
            return fail(engineFailed(choice.model, e))
        }
        listener.onModelReady(choice.model)
    }

    private fun classify(frame: Frame) {
        val classifier = classifier ?: return
        val preparing = try {
            classifier.prepare(frame, taken.rotation, takenGeneration)
        } catch (@Suppress("TooGenericExceptionCaught") _: RuntimeException) {
            return // its memory is gone: the camera has been closed under it
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

    private fun engineFailed(model: ModelInfo, e: Throwable): Message {
        val reason = e.message?.lineSequence()?.firstOrNull { it.isNotBlank() }?.trim()?.trimEnd('.') ?: e.javaClass.simpleName
        return Message.of(Key.ENGINE_FAILED, model.fileName, reason)
    }

    private fun fail(problem: Message) {
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
        val former = classifier
        classifier = null
        former?.close()
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
