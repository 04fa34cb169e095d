package io.github.shufflenettf.demo

import android.widget.RadioButton
import android.widget.RadioGroup
import android.widget.SeekBar
import android.widget.TextView
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.annotation.Config

/** The settings with real Android classes on the JVM. */
@RunWith(RobolectricTestRunner::class)
class SettingsActivityTest {
    private val activity = Robolectric.buildActivity(SettingsActivity::class.java).setup().get()
    private val models = activity.findViewById<RadioGroup>(R.id.models)
    private val details = activity.findViewById<TextView>(R.id.model_details)

    private fun button(name: String) =
        List(models.childCount) { models.getChildAt(it) as RadioButton }.single { it.text.toString() == name }

    @Test
    fun choicesAreStored() {
        button("model_damaged.tflite").performClick()
        activity.findViewById<RadioButton>(R.id.gpu).performClick()
        activity.findViewById<SeekBar>(R.id.threads).progress = 1
        activity.findViewById<SeekBar>(R.id.threshold).progress = 20
        val stored = Preferences(activity)
        assertEquals(EngineChoice("model_damaged.tflite", 1, gpu = true), stored.engine)
        assertEquals(20, stored.threshold)
        assertTrue(details.text.startsWith("model_damaged.tflite"))
    }

    @Test
    fun modelDetailsAreShown() {
        button("model.tflite").performClick()
        assertTrue(details.text.toString(), details.text.contains("uint8"))
        Pictures.draw(activity, "settings_light")
    }

    @Test
    @Config(qualifiers = "+night")
    fun dark() = Pictures.draw(activity, "settings_dark")
}
