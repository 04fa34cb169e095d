package io.github.shufflenettf.demo

import android.content.Context
import android.graphics.Bitmap
import android.net.Uri
import android.os.Handler
import android.os.Looper
import io.github.shufflenettf.core.EngineFactory
import io.github.shufflenettf.core.FramePipeline
import io.github.shufflenettf.core.ModelMessage
import io.github.shufflenettf.core.ModelException
import io.github.shufflenettf.core.ModelInfo
import io.github.shufflenettf.core.Result
import io.github.shufflenettf.core.Settings
import java.io.IOException
import java.util.concurrent.Executors

/** The content of the image area. */
internal enum class Mode { LIVE, PAUSED, PHOTO }

/**
 * The state that survives a rotation of the phone: the pipeline with its model, and the content of the screen. Used in the
 * main thread; each new activity takes it over from its predecessor.
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

    /** Sequence number of the photo's frame: results of earlier frames are not shown for it. */
    private var photoSequence = Long.MAX_VALUE

    val models = ModelStore(application.assets)
    val pipeline = FramePipeline(this)
    val result = Result(ROWS)

    /** Called on each change; null between two activities. */
    var observer: (() -> Unit)? = null

    var mode = Mode.LIVE
        private set

    /** The photo, or the last camera image while paused; null while live, or while a photo is loading. */
    var still: Bitmap? = null
        private set

    /** Source of the photo. */
    var photoUri: Uri? = null
        private set
    var photoFailed = false
        private set
    var model: ModelInfo? = null
        private set

    /** Why the model can't be used. */
    var problem: ModelMessage? = null
        private set

    /** Whether the CPU runs the model although the GPU was chosen. */
    var onCpuInstead = false
        private set
    var hasResult = false
        private set

    /** Useful length of a camera frame's shorter side, pixels; at least [MIN_SHORT_SIDE], for a sharp preview. */
    val usefulPixels: Int
        get() {
            val model = model ?: return MIN_SHORT_SIDE
            val used = minOf(model.inputWidth, model.inputHeight) * model.preprocessing.resize / model.preprocessing.crop
            return maxOf(used, MIN_SHORT_SIDE)
        }

    /** Applies the user's preferences; reloads the model only if its settings changed. */
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
        if (mode == Mode.PAUSED) resume() // the frame of the paused image is gone and can't be classified again
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
        }
        changed()
    }

    /** Pauses the camera; [picture] is a copy of its last image. */
    fun pause(picture: Bitmap?) {
        mode = Mode.PAUSED
        still = picture
        pipeline.paused = true
        changed()
    }

    /** Resumes the camera. */
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

    /** Loads a photo and classifies it. */
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

    override fun onProblem(problem: ModelMessage) {
        main.post {
            ready = false
            val choice = loaded
            if (triedGpu && choice != null && problem.key == ModelMessage.Key.ENGINE_FAILED) {
                load(choice, gpu = false) // a GPU driver that fails only at run time
            } else {
                this.problem = problem
                changed()
            }
        }
    }

    private fun changed() {
        observer?.invoke()
    }

    /** Stops everything; no activity follows. */
    fun close() {
        observer = null
        loads++
        photos.shutdown()
        pipeline.close()
    }

    companion object {
        /** Number of classes shown. */
        const val ROWS = 3

        private const val MIN_SHORT_SIDE = 480
    }
}
