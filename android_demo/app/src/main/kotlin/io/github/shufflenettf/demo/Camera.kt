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
 * The camera in use.
 *
 * @property id the system's camera id.
 * @property frameSize of the frames to classify, before rotation.
 * @property previewSize of the preview's buffers, before rotation.
 * @property sensor SENSOR_ORIENTATION, degrees.
 * @property front whether it faces the user.
 * @property continuousFocus whether it supports continuous autofocus.
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
         * Returns the back camera, or else another one; null: there is none.
         *
         * @throws android.hardware.camera2.CameraAccessException the cameras can't be queried now.
         */
        fun choose(manager: CameraManager, shortSide: Int): Camera? {
            val cameras = manager.cameraIdList.map { it to manager.getCameraCharacteristics(it) }
            val (id, characteristics) = cameras.firstOrNull { it.second.faces(CameraCharacteristics.LENS_FACING_BACK) }
                ?: cameras.firstOrNull() ?: return null
            val map = characteristics[CameraCharacteristics.SCALER_STREAM_CONFIGURATION_MAP] ?: return null
            val sizes = map.getOutputSizes(ImageFormat.YUV_420_888)
            val array = characteristics[CameraCharacteristics.SENSOR_INFO_ACTIVE_ARRAY_SIZE]
            val frame = PreviewGeometry.frameSize(sizes, array?.let { Size(it.width(), it.height()) } ?: Size(4, 3), shortSide)
            val focus = characteristics[CameraCharacteristics.CONTROL_AF_AVAILABLE_MODES]
            return Camera(
                id,
                frame,
                PreviewGeometry.previewSize(map.getOutputSizes(SurfaceTexture::class.java), frame),
                characteristics[CameraCharacteristics.SENSOR_ORIENTATION] ?: 0,
                characteristics.faces(CameraCharacteristics.LENS_FACING_FRONT),
                focus != null && CaptureRequest.CONTROL_AF_MODE_CONTINUOUS_VIDEO in focus,
            )
        }

        private fun CameraCharacteristics.faces(facing: Int) = this[CameraCharacteristics.LENS_FACING] == facing
    }
}

/** Starts a capture session with these outputs; the callbacks run in the handler's thread. */
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
        @Suppress("DEPRECATION") // before Android 9 there is no other
        createCaptureSession(outputs, callback, handler)
    }
}
