package io.github.shufflenettf.demo

import android.annotation.SuppressLint
import android.content.Context
import android.graphics.SurfaceTexture
import android.hardware.camera2.CameraAccessException
import android.hardware.camera2.CameraCaptureSession
import android.hardware.camera2.CameraDevice
import android.hardware.camera2.CameraManager
import android.hardware.camera2.CaptureRequest
import android.os.Handler
import android.os.Looper
import android.view.Surface
import io.github.shufflenettf.core.YuvFrame

/**
 * Runs the camera: shows a preview on a surface and delivers the newest frames. Only frames are delivered outside the main thread.
 *
 * @param listener receives frames and events.
 */
internal class CameraFeed(context: Context, private val listener: Listener) {
    interface Listener {
        /** Receives a frame, in the camera's thread; the listener must close it. */
        fun onFrame(frame: YuvFrame)

        /** The camera is opening; its images have these properties. */
        fun onCamera(camera: Camera)

        /** There is no camera (false), or another app uses it or it failed (true). */
        fun onCameraProblem(exists: Boolean)
    }

    private val manager = context.getSystemService(CameraManager::class.java)
    private val main = Handler(Looper.getMainLooper())
    private var opened: Opened? = null

    /** Whether the camera is open or opening. */
    val running: Boolean
        get() = opened != null

    /**
     * Opens the camera; requires the camera permission.
     *
     * @param texture shows the preview.
     * @param shortSide useful length of a frame's shorter side, pixels.
     */
    fun open(texture: SurfaceTexture, shortSide: Int) {
        close()
        try {
            val camera = Camera.choose(manager, shortSide) ?: return listener.onCameraProblem(exists = false)
            texture.setDefaultBufferSize(camera.previewSize.width, camera.previewSize.height)
            Opened(camera, Surface(texture)).also { opened = it }.open()
            listener.onCamera(camera)
        } catch (failure: CameraAccessException) {
            fail()
        } catch (failure: SecurityException) { // disabled by the device's owner, or at the moment
            fail()
        } catch (failure: IllegalArgumentException) { // unplugged since it was listed
            fail()
        }
    }

    /** Closes the camera; no frames follow. */
    fun close() {
        opened?.close()
        opened = null
    }

    /** Freezes the preview and stops the frames, or resumes both. */
    fun freeze(frozen: Boolean) {
        opened?.freeze(frozen)
    }

    private fun fail() {
        close()
        listener.onCameraProblem(exists = true)
    }

    /** An open camera and its resources; events after its end are ignored. */
    private inner class Opened(private val camera: Camera, private val preview: Surface) : CameraDevice.StateCallback() {
        private val frames = FrameSource(camera.frameSize, listener::onFrame)
        private var device: CameraDevice? = null
        private var session: CameraCaptureSession? = null
        private var frozen = false

        // The activity checks the permission first; if the user revokes it, open() handles the exception.
        @SuppressLint("MissingPermission")
        fun open() = manager.openCamera(camera.id, this, main)

        override fun onOpened(device: CameraDevice) {
            if (opened !== this) return device.close()
            this.device = device
            try {
                device.startSession(listOf(preview, frames.surface), main, ::onSession) { if (opened === this) fail() }
            } catch (failure: CameraAccessException) {
                fail()
            }
        }

        private fun onSession(session: CameraCaptureSession) {
            if (opened !== this) return
            this.session = session
            freeze(frozen)
        }

        fun freeze(frozen: Boolean) {
            this.frozen = frozen
            val session = session ?: return
            try {
                if (frozen) return session.stopRepeating()
                val request = session.device.createCaptureRequest(CameraDevice.TEMPLATE_PREVIEW)
                request.addTarget(preview)
                request.addTarget(frames.surface)
                if (camera.continuousFocus) {
                    request.set(CaptureRequest.CONTROL_AF_MODE, CaptureRequest.CONTROL_AF_MODE_CONTINUOUS_VIDEO)
                }
                session.setRepeatingRequest(request.build(), null, null)
            } catch (failure: CameraAccessException) {
                fail()
            } catch (closed: IllegalStateException) {
                fail()
            }
        }

        override fun onDisconnected(device: CameraDevice) {
            device.close()
            if (opened === this) fail()
        }

        override fun onError(device: CameraDevice, error: Int) = onDisconnected(device)

        fun close() {
            device?.close()
            frames.close()
            preview.release()
        }
    }
}
