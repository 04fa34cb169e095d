package io.github.shufflenettf.demo

import android.graphics.ImageFormat
import android.graphics.SurfaceTexture
import android.hardware.camera2.CameraCaptureSession
import android.hardware.camera2.CameraCharacteristics
import android.hardware.camera2.CameraDevice
import android.hardware.camera2.CameraManager
import android.hardware.camera2.CaptureRequest
import android.hardware.camera2.params.OutputConfiguration
import android.hardware.camera2.params.SessionConfiguration
import android.os.Build
import android.os.Handler
import android.util.Size
import android.view.Surface

/**
 * A camera as the app uses it.
 *
 * @property id the system's name for it.
 * @property frameSize of the frames to classify, not yet turned upright.
 * @property previewSize of the preview's buffers.
 * @property sensor its SENSOR_ORIENTATION, degrees.
 * @property front whether it looks at the user.
 * @property continuousFocus whether it can keep itself focused.
 */
internal class Camera(
    val id: String,
    val frameSize: Size,
    val previewSize: Size,
    val sensor: Int,
    val front: Boolean,
    val continuousFocus: Boolean,
) {
    companion object {
        /**
         * Returns the camera at the phone's back, or else any other; null if there is none.
         *
         * @throws android.hardware.camera2.CameraAccessException the cameras can't be asked now.
         */
        fun choose(manager: CameraManager, shortSide: Int): Camera? {
            val cameras = manager.cameraIdList.map { it to manager.getCameraCharacteristics(it) }
            val (id, facts) = cameras.firstOrNull { it.second.looks(CameraCharacteristics.LENS_FACING_BACK) }
                ?: cameras.firstOrNull() ?: return null
            val map = facts[CameraCharacteristics.SCALER_STREAM_CONFIGURATION_MAP] ?: return null
            val sizes = map.getOutputSizes(ImageFormat.YUV_420_888)
            val array = facts[CameraCharacteristics.SENSOR_INFO_ACTIVE_ARRAY_SIZE]
            val frame = PreviewGeometry.frameSize(sizes, array?.let { Size(it.width(), it.height()) } ?: Size(4, 3), shortSide)
            val focus = facts[CameraCharacteristics.CONTROL_AF_AVAILABLE_MODES]
            return Camera(
                id,
                frame,
                PreviewGeometry.previewSize(map.getOutputSizes(SurfaceTexture::class.java), frame),
                facts[CameraCharacteristics.SENSOR_ORIENTATION] ?: 0,
                facts.looks(CameraCharacteristics.LENS_FACING_FRONT),
                focus != null && CaptureRequest.CONTROL_AF_MODE_CONTINUOUS_VIDEO in focus,
            )
        }

        private fun CameraCharacteristics.looks(facing: Int) = this[CameraCharacteristics.LENS_FACING] == facing
    }
}

/** Starts a session with these outputs; calls back on the handler's thread. */
internal fun CameraDevice.startSession(
    outputs: List<Surface>,
    handler: Handler,
    ready: (CameraCaptureSession) -> Unit,
    failed: () -> Unit,
) {
    val callback = object : CameraCaptureSession.StateCallback() {
        override fun onConfigured(session: CameraCaptureSession) = ready(session)

        override fun onConfigureFailed(session: CameraCaptureSession) = failed()
    }
    if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.P) {
        val configurations = outputs.map(::OutputConfiguration)
        val executor = { command: Runnable -> handler.post(command).let { } }
        createCaptureSession(SessionConfiguration(SessionConfiguration.SESSION_REGULAR, configurations, executor, callback))
    } else {
        @Suppress("DEPRECATION") // all there is before Android 9
        createCaptureSession(outputs, callback, handler)
    }
}
