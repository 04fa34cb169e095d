package io.github.shufflenettf.demo

import android.graphics.Bitmap
import android.graphics.Matrix
import android.graphics.SurfaceTexture
import android.hardware.display.DisplayManager
import android.view.TextureView
import io.github.shufflenettf.core.FramePipeline
import io.github.shufflenettf.core.YuvFrame

/**
 * Shows the camera's preview upright in any orientation of the phone, and sends its frames to the pipeline.
 *
 * @param preview shows the preview.
 * @param pipeline classifies the frames.
 * @param owner receives events.
 */
internal class LiveView(private val preview: TextureView, private val pipeline: FramePipeline, private val owner: Owner) :
    CameraFeed.Listener, TextureView.SurfaceTextureListener, DisplayManager.DisplayListener {
    interface Owner {
        /** The view is ready: [open] can show the camera. */
        fun onViewReady()

        /** The layout changes: [camera], null for none, on a display rotated by [display] degrees. */
        fun onLayout(camera: Camera?, display: Int)

        /** [problem] is set. */
        fun onCameraProblem()
    }

    private val feed = CameraFeed(preview.context, this)
    private val displays = preview.context.getSystemService(DisplayManager::class.java)
    private var camera: Camera? = null

    /** Rotation of the display, degrees. */
    private var display = 0

    /** Clockwise degrees that make a frame upright; read by the camera's thread. */
    @Volatile
    private var rotation = 0

    /** String resource that explains why there is no image, or null. */
    var problem: Int? = null
        private set

    val running: Boolean
        get() = feed.running

    init {
        preview.surfaceTextureListener = this
    }

    /** Starts watching the display's rotation. */
    fun start() = displays.registerDisplayListener(this, null)

    /** Closes the camera. */
    fun stop() {
        displays.unregisterDisplayListener(this)
        feed.close()
    }

    /**
     * Opens the camera if the view is ready; requires the camera permission.
     *
     * @param shortSide useful length of a frame's shorter side, pixels.
     */
    fun open(shortSide: Int) {
        problem = null
        preview.surfaceTexture?.let { feed.open(it, shortSide) }
    }

    /** Closes the camera while a photo is shown. */
    fun close() = feed.close()

    /** Freezes the preview, or resumes it. */
    fun freeze(frozen: Boolean) = feed.freeze(frozen)

    /** Returns an upright copy of the visible image; null: there is none yet. */
    fun picture(): Bitmap? {
        val camera = camera ?: return null
        val size = PreviewGeometry.upright(camera.previewSize, camera.sensor)
        // The bitmap lacks the view's transform: it is upright for the phone's natural orientation.
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

    // A rotation by 180 degrees changes no configuration; only this callback reports it.
    override fun onDisplayChanged(displayId: Int) = layOut()

    override fun onDisplayAdded(displayId: Int) = Unit

    override fun onDisplayRemoved(displayId: Int) = Unit
}
