package io.github.shufflenettf.demo

import android.Manifest
import android.app.Application
import android.content.Intent
import android.net.Uri
import android.os.Bundle
import android.os.Looper
import android.view.View
import android.view.ViewGroup
import android.widget.ProgressBar
import android.widget.TextView
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNotNull
import org.junit.Assert.assertTrue
import org.junit.Before
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.android.controller.ActivityController
import org.robolectric.annotation.Config
import org.tensorflow.lite.Interpreter
import java.io.File

/** The main screen with real Android classes, layouts and drawing on the JVM; LiteRT in Python runs the model. */
@RunWith(RobolectricTestRunner::class)
class MainActivityTest {
    private val application: Application = RuntimeEnvironment.getApplication()
    private val photo = File(System.getProperty("photo"))
    private val expected = System.getProperty("expected").split("|")
    private val uri = Uri.parse("content://photos/1")
    private val controllers = mutableListOf<ActivityController<MainActivity>>()

    @Before
    fun reset() {
        Interpreter.CREATED.set(0)
        Interpreter.CLOSED.set(0)
        shadowOf(application.contentResolver).registerInputStreamSupplier(uri) { photo.inputStream() }
    }

    @After
    fun close() {
        controllers.forEach { it.close() }
        waitFor("every interpreter is closed, once") { Interpreter.CLOSED.get() == Interpreter.CREATED.get() }
    }

    private fun launch(intent: Intent? = null, state: Bundle? = null): ActivityController<MainActivity> =
        Robolectric.buildActivity(MainActivity::class.java, intent).also {
            controllers += it
            if (state == null) it.setup() else it.setup(state)
        }

    private fun sharing(): Intent = Intent(Intent.ACTION_SEND).setType("image/*").putExtra(Intent.EXTRA_STREAM, uri)

    private fun share(): ActivityController<MainActivity> = launch(sharing())

    private fun ActivityController<MainActivity>.view(id: Int): View = get().findViewById(id)

    private fun ActivityController<MainActivity>.text(id: Int): String = (view(id) as TextView).text.toString()

    private fun ActivityController<MainActivity>.rows(): List<View> = (view(R.id.rows) as ViewGroup).let { rows ->
        List(rows.childCount) { rows.getChildAt(it) }.filter { it.visibility == View.VISIBLE }
    }

    private fun ActivityController<MainActivity>.shownClasses(): List<String> =
        rows().map { it.findViewById<TextView>(R.id.label).text.toString() }

    private fun ActivityController<MainActivity>.waitForResult() = waitFor("a result is shown") { rows().isNotEmpty() }

    private fun waitFor(event: String, condition: () -> Boolean) {
        val end = System.nanoTime() + 20_000_000_000
        while (!condition()) {
            check(System.nanoTime() < end) { "Timed out: $event." }
            shadowOf(Looper.getMainLooper()).idle()
            Thread.sleep(5)
        }
    }

    @Test
    fun sharedPhotoIsClassifiedAsInPython() {
        val screen = share()
        screen.waitForResult()
        assertEquals(expected, screen.shownClasses())
        screen.rows().forEach {
            val bar = it.findViewById<ProgressBar>(R.id.bar)
            assertEquals(it.findViewById<TextView>(R.id.percent).text.toString(), percent(bar.progress / bar.max.toFloat()))
            assertTrue(it.contentDescription.startsWith(it.findViewById<TextView>(R.id.label).text))
        }
        assertEquals(View.GONE, screen.view(R.id.card).visibility)
        screen.newIntent(sharing())
        assertEquals(emptyList<String>(), screen.shownClasses())
        screen.waitForResult()
        assertEquals(expected, screen.shownClasses())
        picture(screen, "photo_light")
    }

    @Test
    @Config(qualifiers = "+de-night")
    fun germanAndDark() {
        val screen = share()
        screen.waitForResult()
        assertTrue(screen.text(R.id.times).startsWith("Vorbereitung"))
        picture(screen, "photo_dark")
    }

    @Test
    fun largeFontsFit() {
        RuntimeEnvironment.setFontScale(2f)
        val screen = share()
        screen.waitForResult()
        val settings = screen.view(R.id.settings)
        assertTrue(settings.right <= (settings.parent as View).width)
        val panel = screen.view(R.id.panel)
        assertTrue(panel.top >= screen.view(R.id.model_name).bottom)
        assertTrue(panel.bottom <= screen.view(R.id.root).height)
        picture(screen, "photo_large_font")
    }

    @Test
    fun turningKeepsPhotoResultAndModel() {
        val screen = share()
        screen.waitForResult()
        val before = screen.shownClasses()
        RuntimeEnvironment.setQualifiers("+w740dp-h360dp-land")
        screen.recreate()
        assertEquals(before, screen.shownClasses())
        assertEquals(1, Interpreter.CREATED.get())
        picture(screen, "photo_landscape")
    }

    @Test
    fun photoIsRestoredAfterTheSystemStoppedTheApp() {
        val state = Bundle()
        share().apply { waitForResult() }.saveInstanceState(state).pause().stop().destroy()
        controllers.clear()
        val again = launch(state = state)
        again.waitForResult()
        assertEquals(expected, again.shownClasses())
    }

    @Test
    fun firstStartAsksForTheCamera() {
        val screen = launch()
        val asked = shadowOf(screen.get()).lastRequestedPermission
        assertEquals(listOf(Manifest.permission.CAMERA), asked.requestedPermissions.asList())
    }

    @Test
    fun deniedCameraShowsACardWithActions() {
        val screen = launch()
        screen.get().onRequestPermissionsResult(1, arrayOf(Manifest.permission.CAMERA), intArrayOf(-1))
        assertEquals(View.VISIBLE, screen.view(R.id.card).visibility)
        assertEquals(screen.get().getString(R.string.permission_denied_text), screen.text(R.id.card_text))
        picture(screen, "permission_denied")
        screen.view(R.id.card_first).performClick()
        val settings = shadowOf(screen.get()).nextStartedActivity
        assertEquals("android.settings.APPLICATION_DETAILS_SETTINGS", settings.action)
        screen.view(R.id.card_second).performClick()
        assertNotNull(shadowOf(screen.get()).nextStartedActivityForResult)
    }

    @Test
    fun missingPhotoShowsACard() {
        shadowOf(application.contentResolver).registerInputStreamSupplier(uri) { throw SecurityException("revoked") }
        val screen = share()
        waitFor("the error card is shown") { screen.view(R.id.card).visibility == View.VISIBLE }
        assertEquals(screen.get().getString(R.string.photo_title), screen.text(R.id.card_title))
    }

    @Test
    fun damagedModelShowsACardWithAnAction() {
        Preferences(application).engine = EngineChoice("model_damaged.tflite", 1, gpu = false)
        val screen = share()
        waitFor("the error card is shown") { screen.view(R.id.card).visibility == View.VISIBLE }
        assertEquals(screen.get().getString(R.string.model_title), screen.text(R.id.card_title))
        assertTrue(screen.text(R.id.card_text).startsWith("model_damaged.tflite"))
        screen.view(R.id.card_first).performClick()
        assertEquals(SettingsActivity::class.java.name, shadowOf(screen.get()).nextStartedActivity.component?.className)
    }

    @Test
    fun withoutGpuTheCpuRunsTheModelWithANotice() {
        Preferences(application).engine = EngineChoice("", 1, gpu = true)
        val screen = share()
        screen.waitForResult()
        assertEquals(screen.get().getString(R.string.gpu_fallback), screen.text(R.id.notice))
    }

    private fun picture(screen: ActivityController<MainActivity>, name: String) = Pictures.draw(screen.get(), name)
}
