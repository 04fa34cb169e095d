package io.github.shufflenettf.demo

import android.content.Context
import android.graphics.Bitmap
import android.net.Uri
import android.os.Handler
import android.os.Looper
import io.github.shufflenettf.core.EngineFactory
import io.github.shufflenettf.core.FramePipeline
import io.github.shufflenettf.core.Message
import io.github.shufflenettf.core.ModelException
import io.github.shufflenettf.core.ModelInfo
import io.github.shufflenettf.core.Result
import io.github.shufflenettf.core.Settings
import java.io.IOException
import java.util.concurrent.Executors

/** What the picture area shows. */
internal enum class Mode { LIVE, PAUSED, PHOTO }

/**
 * What outlives the turning of the phone: the pipeline with its model, and what the screen shows. Used in the main thread;
 * a new activity takes it over from the old one.
 */
internal class Session(context: Context) : FramePipeline.Listener {
    private val application = context.applicationContext
    private val main = Handler(Looper.getMainLooper())
    private val photos = Executors.newSingleThreadExecutor()
    private val preferences = Preferences(application)
    private var loaded: EngineChoice? = null
    private var ready = false
    private var loads = 0

    @Volatile
    private var fellBack = false
    private var triedGpu = false

    /** Of the photo among all frames: a result of an earlier one isn't shown for it. */
    private var photoSequence = Long.MAX_VALUE

    val models = ModelStore(application.assets)
    val pipeline = FramePipeline(this)
    val result = Result(ROWS)

    /** Is told of each change; null between two activities. */
    var observer: (() -> Unit)? = null

    var mode = Mode.LIVE
        private set

    /** The photo, or the camera's last picture while paused; null while live, and while a photo is being read. */
    var still: Bitmap? = null
        private set

    /** Where the photo came from. */
    var photoUri: Uri? = null
        private set
    var photoFailed = false
        private set
    var model: ModelInfo? = null
        private set

    /** Why the model can't be used. */
    var problem: Message? = null
        private set

    /** Whether the GPU was wanted and the CPU computes. */
    var onCpuInstead = false
        private set
    var hasResult = false
        private set

    /** Pixels of a camera frame's shorter side that the model has use for; more than it looks at, for the preview's sake. */
    val usefulPixels: Int
        get() {
            val model = model ?: return MIN_SHORT_SIDE
            val used = minOf(model.inputWidth, model.inputHeight) * model.preprocessing.resize / model.preprocessing.crop
            return maxOf(used, MIN_SHORT_SIDE)
        }

    /** Takes over the user's choices; the model is made anew only if need be. */
    fun applyPreferences() {
        val smoothing = if (preferences.smoothing) Settings().smoothingMs else 0f
        pipeline.settings = Settings(threshold = preferences.threshold / 100f, smoothingMs = smoothing)
        if (preferences.engine != loaded) load(preferences.engine)
    }

    private fun load(choice: EngineChoice, gpu: Boolean = choice.gpu) {
        loaded = choice
        fellBack = choice.gpu && !gpu
        triedGpu = gpu
        ready = false
        problem = null
        model = null
        onCpuInstead = false
        hasResult = false
        if (mode == Mode.PAUSED) resume() // the paused picture's frame is gone: nothing can name it anew
        val name = models.choose(choice.model) ?: return changed()
        try {
            val file = models.open(name)
            val info = ModelInfo.read(name, file)
            model = info
            pipeline.switchModel(
                info,
                EngineFactory { LiteEngine.create(file, choice.threads, gpu).also { fellBack = choice.gpu && !it.onGpu } },
            )
        } catch (failure: ModelException) {
            problem = failure.problem
        } catch (failure: IOException) {
            problem = Message(Message.Key.DAMAGED, listOf(name))
        }
        changed()
    }

    /** Holds the camera's picture, of which [picture] is a copy. */
    fun pause(picture: Bitmap?) {
        mode = Mode.PAUSED
        still = picture
        pipeline.paused = true
        changed()
    }

    /** Goes back to the camera. */
    fun resume() {
        mode = Mode.LIVE
        still = null
        photoUri = null
        photoFailed = false
        hasResult = false
        loads++
        pipeline.clear()
        pipeline.paused = false
        changed()
    }

    /** Reads a photo and classifies it. */
    fun showPhoto(uri: Uri) {
        mode = Mode.PHOTO
        still = null
        photoUri = uri
        photoFailed = false
        hasResult = false
        photoSequence = Long.MAX_VALUE
        pipeline.paused = true
        val load = ++loads
        photos.execute {
            val bitmap = try {
                Photo.load(application.contentResolver, uri)
            } catch (unreadable: IOException) {
                null
            }
            main.post { if (load == loads) onPhoto(bitmap) }
        }
        changed()
    }

    private fun onPhoto(bitmap: Bitmap?) {
        still = bitmap
        photoFailed = bitmap == null
        classifyPhoto()
        changed()
    }

    private fun classifyPhoto() {
        val photo = still ?: return
        if (mode != Mode.PHOTO || !ready) return
        val load = loads
        photos.execute {
            val frame = Photo.frame(photo)
            main.post { if (load == loads) photoSequence = pipeline.offerStill(frame, 0) }
        }
    }

    override fun onResult() {
        main.post {
            if (pipeline.read(result)) {
                hasResult = if (mode == Mode.PHOTO) result.still && result.sequence >= photoSequence else !result.still
                changed()
            }
        }
    }

    override fun onModelReady(model: ModelInfo) {
        main.post {
            if (model !== this.model) return@post
            ready = true
            onCpuInstead = fellBack
            classifyPhoto()
            changed()
        }
    }

    override fun onProblem(problem: Message) {
        main.post {
            ready = false
            val choice = loaded
            if (triedGpu && choice != null && problem.key == Message.Key.ENGINE_FAILED) {
                load(choice, gpu = false) // a driver that failed only when it ran
            } else {
                this.problem = problem
                changed()
            }
        }
    }

    private fun changed() {
        observer?.invoke()
    }

    /** Ends everything; no activity will follow. */
    fun close() {
        observer = null
        loads++
        photos.shutdown()
        pipeline.close()
    }

    companion object {
        /** Classes that are shown. */
        const val ROWS = 3

        private const val MIN_SHORT_SIDE = 480
    }
}
