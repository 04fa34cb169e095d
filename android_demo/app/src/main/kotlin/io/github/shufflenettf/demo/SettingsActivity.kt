package io.github.shufflenettf.demo

import android.app.Activity
import android.os.Build
import android.os.Bundle
import android.util.TypedValue
import android.view.MenuItem
import android.view.View
import android.view.WindowInsets
import android.widget.RadioButton
import android.widget.RadioGroup
import android.widget.SeekBar
import android.widget.Switch
import android.widget.TextView
import io.github.shufflenettf.core.ModelException
import io.github.shufflenettf.core.ModelInfo

/** The settings: model, processor, threads, threshold, smoothing. Each change is saved at once. */
class SettingsActivity : Activity() {
    private lateinit var preferences: Preferences
    private lateinit var models: ModelStore

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        setContentView(R.layout.settings)
        preferences = Preferences(this)
        models = ModelStore(assets)
        actionBar?.setDisplayHomeAsUpEnabled(true)
        keepClearOfBars()
        listModels()
        listProcessors()
        slider(R.id.threads, 1..Preferences.MAX_THREADS, preferences.engine.threads, ::onThreads)
        slider(R.id.threshold, 1..MAX_THRESHOLD, preferences.threshold, ::onThreshold)
        findViewById<Switch>(R.id.smoothing).apply {
            isChecked = preferences.smoothing
            setOnCheckedChangeListener { _, on -> preferences.smoothing = on }
        }
    }

    override fun onOptionsItemSelected(item: MenuItem): Boolean {
        if (item.itemId == android.R.id.home) finish()
        return super.onOptionsItemSelected(item)
    }

    private fun keepClearOfBars() {
        findViewById<View>(android.R.id.content).setOnApplyWindowInsetsListener { view, insets ->
            if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.R) {
                val bars = insets.getInsets(WindowInsets.Type.systemBars() or WindowInsets.Type.displayCutout())
                view.setPadding(bars.left, 0, bars.right, bars.bottom)
            }
            insets
        }
    }

    private fun listModels() {
        val group = findViewById<RadioGroup>(R.id.models)
        val selected = models.choose(preferences.engine.model)
        models.names.forEach { name ->
            val button = RadioButton(this).apply {
                id = View.generateViewId()
                text = name
                setTextSize(TypedValue.COMPLEX_UNIT_PX, resources.getDimension(R.dimen.text_body))
                minHeight = resources.getDimensionPixelSize(R.dimen.touch)
                isSaveEnabled = false // its id differs next time
            }
            group.addView(button, RadioGroup.LayoutParams.MATCH_PARENT, RadioGroup.LayoutParams.WRAP_CONTENT)
            button.isChecked = name == selected
            button.setOnClickListener { onModel(name) }
        }
        showDetails(selected)
    }

    private fun onModel(name: String) {
        preferences.engine = preferences.engine.copy(model = name)
        showDetails(name)
    }

    private fun showDetails(name: String?) {
        findViewById<TextView>(R.id.model_details).text = try {
            name?.let { describe(models.info(it)) } ?: getString(R.string.model_missing_text)
        } catch (failure: ModelException) {
            resources.sentence(failure.problem)
        }
    }

    private fun describe(model: ModelInfo): String {
        val input = model.input.type.name.lowercase()
        val output = model.output.type.name.lowercase()
        return getString(R.string.model_details, model.inputWidth, model.inputHeight, input, model.classes, output)
    }

    private fun listProcessors() {
        findViewById<RadioGroup>(R.id.delegates).apply {
            check(if (preferences.engine.gpu) R.id.gpu else R.id.cpu)
            setOnCheckedChangeListener { _, id -> preferences.engine = preferences.engine.copy(gpu = id == R.id.gpu) }
        }
    }

    private fun slider(id: Int, range: IntRange, value: Int, changed: (Int) -> Unit) {
        val bar = findViewById<SeekBar>(id)
        bar.min = range.first
        bar.max = range.last
        bar.progress = value
        changed(bar.progress)
        bar.setOnSeekBarChangeListener(object : SeekBar.OnSeekBarChangeListener {
            override fun onProgressChanged(bar: SeekBar, value: Int, fromUser: Boolean) = changed(value)

            override fun onStartTrackingTouch(bar: SeekBar) = Unit

            override fun onStopTrackingTouch(bar: SeekBar) = Unit
        })
    }

    private fun onThreads(count: Int) {
        preferences.engine = preferences.engine.copy(threads = count)
        findViewById<TextView>(R.id.threads_label).text = resources.getQuantityString(R.plurals.threads, count, count)
    }

    private fun onThreshold(value: Int) {
        preferences.threshold = value
        findViewById<TextView>(R.id.threshold_label).text = getString(R.string.threshold, percent(value / 100f))
    }

    private companion object {
        /** Per cent; a higher threshold would hide almost everything. */
        const val MAX_THRESHOLD = 50
    }
}
