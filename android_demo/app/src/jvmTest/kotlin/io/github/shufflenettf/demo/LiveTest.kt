package io.github.shufflenettf.demo

import android.Manifest
import android.app.Application
import android.graphics.ImageFormat
import android.graphics.Rect
import android.graphics.SurfaceTexture
import android.hardware.camera2.CameraCharacteristics
import android.hardware.camera2.CameraManager
import android.os.Looper
import android.util.Size
import android.view.TextureView
import android.view.View
import android.widget.TextView
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.shadows.ShadowCameraCharacteristics
import org.robolectric.shadows.StreamConfigurationMapBuilder

/** The camera's states, with a camera that opens and delivers no images. */
@RunWith(RobolectricTestRunner::class)
class LiveTest {
    private val application: Application = RuntimeEnvironment.getApplication()
    private val cameras = shadowOf(application.getSystemService(CameraManager::class.java))
    private val controller = Robolectric.buildActivity(MainActivity::class.java)

    private fun view(id: Int): View = controller.get().findViewById(id)

    private fun start() {
        shadowOf(application).grantPermissions(Manifest.permission.CAMERA)
        controller.setup()
        val preview = view(R.id.preview) as TextureView
        val texture = SurfaceTexture(false)
        preview.setSurfaceTexture(texture)
        preview.surfaceTextureListener?.onSurfaceTextureAvailable(texture, preview.width, preview.height)
        shadowOf(Looper.getMainLooper()).idle()
    }

    private fun addCamera() {
        val map = StreamConfigurationMapBuilder.newBuilder()
        for (size in listOf(Size(1920, 1080), Size(640, 480))) map.addOutputSize(ImageFormat.YUV_420_888, size).addOutputSize(size)
        val camera = ShadowCameraCharacteristics.newCameraCharacteristics()
        shadowOf(camera).apply {
            set(CameraCharacteristics.LENS_FACING, CameraCharacteristics.LENS_FACING_BACK)
            set(CameraCharacteristics.SENSOR_ORIENTATION, 90)
            set(CameraCharacteristics.SENSOR_INFO_ACTIVE_ARRAY_SIZE, Rect(0, 0, 4032, 3024))
            set(CameraCharacteristics.SCALER_STREAM_CONFIGURATION_MAP, map.build())
        }
        cameras.addCamera("0", camera)
    }

    private fun card(): String? =
        if (view(R.id.card).visibility == View.VISIBLE) (view(R.id.card_text) as TextView).text.toString() else null

    private fun string(id: Int) = application.getString(id)

    @After
    fun close() {
        controller.close()
    }

    @Test
    fun withoutCameraACardOffersPhotos() {
        start()
        assertEquals(string(R.string.camera_none), card())
    }

    @Test
    fun tapPausesAndResumes() {
        addCamera()
        start()
        assertEquals(null, card())
        assertEquals(string(R.string.starting), (view(R.id.status) as TextView).text.toString())
        view(R.id.tap).performClick()
        assertEquals(View.VISIBLE, view(R.id.paused).visibility)
        assertEquals(string(R.string.picture_paused), view(R.id.tap).contentDescription)
        view(R.id.tap).performClick()
        assertEquals(View.GONE, view(R.id.paused).visibility)
    }

    @Test
    fun lostCameraShowsACardAndCanBeRetried() {
        addCamera()
        start()
        cameras.triggerDisconnect()
        shadowOf(Looper.getMainLooper()).idle()
        assertEquals(string(R.string.camera_lost), card())
        view(R.id.card_first).performClick()
        shadowOf(Looper.getMainLooper()).idle()
        assertEquals(null, card())
    }
}
