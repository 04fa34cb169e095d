package io.github.shufflenettf.demo

import android.graphics.Bitmap
import android.graphics.Matrix
import android.graphics.SurfaceTexture
import android.hardware.display.DisplayManager
import android.view.TextureView
import io.github.shufflenettf.core.FramePipeline
import io.github.shufflenettf.core.YuvFrame

/**
 * The camera in a view: its preview upright whichever way the phone is held, its frames to the pipeline.
 *
 * @param preview shows it.
 * @param pipeline takes the frames.
 * @param owner is told.
 */
internal class LiveView(private val preview: TextureView, private val pipeline: FramePipeline, private val owner: Owner) :
    CameraFeed.Listener, TextureView.SurfaceTextureListener, DisplayManager.DisplayListener {
    interface Owner {
        /** The view is there: [open] can show something now. */
        fun onViewReady()

        /** Pictures of [camera], null for none, will be shown on a display that is turned by [display] degrees. */
        fun onLayout(camera: Camera?, display: Int)

        /** [problem] has come up. */
        fun onCameraProblem()
    }

    private val feed = CameraFeed(preview.context, this)
    private val displays = preview.context.getSystemService(DisplayManager::class.java)
    private var camera: Camera? = null

    /** Degrees that the display's content is turned by. */
    private var display = 0

    /** Degrees that make a frame upright; read by the camera's thread. */
    @Volatile
    private var rotation = 0

    /** String resource of why there is no picture, or null. */
    var problem: Int? = null
        private set

    val running: Boolean
        get() = feed.running

    init {
        preview.surfaceTextureListener = this
    }

    /** Starts watching how the phone is held. */
    fun start() = displays.registerDisplayListener(this, null)

    /** Closes the camera. */
    fun stop() {
        displays.unregisterDisplayListener(this)
        feed.close()
    }

    /**
     * Opens the camera, if the view is there already; the permission must have been given.
     *
     * @param shortSide pixels of a frame's shorter side that the network has use for.
     */
    fun open(shortSide: Int) {
        problem = null
        preview.surfaceTexture?.let { feed.open(it, shortSide) }
    }

    /** Closes the camera while something else is shown. */
    fun close() = feed.close()

    /** Holds the picture, or goes on. */
    fun freeze(frozen: Boolean) = feed.freeze(frozen)

    /** Returns a copy of the picture that is shown, upright; null if there is none yet. */
    fun picture(): Bitmap? {
        val camera = camera ?: return null
        val size = PreviewGeometry.upright(camera.previewSize, camera.sensor)
        // The view gives its content without its transform: upright for the phone's natural position.
        val natural = preview.getBitmap(size.width, size.height) ?: return null
        val turn = Matrix().apply { setRotate(-display.toFloat()) }
        return Bitmap.createBitmap(natural, 0, 0, natural.width, natural.height, turn, false)
    }

    private fun layOut() {
        display = PreviewGeometry.degrees(preview.display?.rotation ?: return)
        rotation = camera?.let { PreviewGeometry.frameRotation(it.sensor, display, it.front) } ?: 0
        owner.onLayout(camera, display)
    }

    override fun onFrame(frame: YuvFrame) {
        pipeline.offer(frame, rotation)
    }

    override fun onCamera(camera: Camera) {
        this.camera = camera
        layOut()
    }

    override fun onCameraProblem(exists: Boolean) {
        problem = if (exists) R.string.camera_lost else R.string.camera_none
        owner.onCameraProblem()
    }

    override fun onSurfaceTextureAvailable(texture: SurfaceTexture, width: Int, height: Int) = owner.onViewReady()

    override fun onSurfaceTextureSizeChanged(texture: SurfaceTexture, width: Int, height: Int) = layOut()

    override fun onSurfaceTextureDestroyed(texture: SurfaceTexture): Boolean {
        feed.close()
        return true
    }

    override fun onSurfaceTextureUpdated(texture: SurfaceTexture) = Unit

    // Half a turn changes no configuration: only the display tells.
    override fun onDisplayChanged(displayId: Int) = layOut()

    override fun onDisplayAdded(displayId: Int) = Unit

    override fun onDisplayRemoved(displayId: Int) = Unit
}
