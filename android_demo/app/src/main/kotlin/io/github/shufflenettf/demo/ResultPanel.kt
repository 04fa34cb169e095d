package io.github.shufflenettf.demo

import android.os.SystemClock
import android.view.View
import android.view.ViewGroup
import android.widget.ProgressBar
import android.widget.TextView
import io.github.shufflenettf.core.Result
import kotlin.math.roundToInt

/** Shows the most likely classes, their probabilities as bars, and the times. */
internal class ResultPanel(panel: View) {
    private val resources = panel.resources
    private val status = panel.findViewById<TextView>(R.id.status)
    private val times = panel.findViewById<TextView>(R.id.times)
    private val notice = panel.findViewById<TextView>(R.id.notice)
    private val rows = panel.findViewById<ViewGroup>(R.id.rows).let { rows -> List(rows.childCount) { Row(rows.getChildAt(it)) } }
    private var spokenClass = ""
    private var spokenAt = 0L

    init {
        // TalkBack reads the first row whenever its description changes; show() limits how often that happens.
        rows.first().view.accessibilityLiveRegion = View.ACCESSIBILITY_LIVE_REGION_POLITE
    }

    /** Shows a text instead of results. */
    fun show(text: String) {
        rows.forEach { it.view.visibility = View.GONE }
        times.visibility = View.GONE
        status.visibility = View.VISIBLE
        status.setIfNew(text)
        spokenClass = ""
    }

    /** Shows a result; a text above it if the model is not sure, or in place of it if no class reaches the user's threshold. */
    fun show(result: Result) {
        val model = result.model ?: return
        when {
            result.count == 0 -> show(resources.getString(R.string.unsure))
            result.sure -> status.visibility = View.GONE
            else -> {
                status.visibility = View.VISIBLE
                status.setIfNew(resources.getString(R.string.not_sure))
            }
        }
        rows.forEachIndexed { rank, row ->
            row.view.alpha = if (result.sure) 1f else NOT_SURE_ALPHA
            row.view.visibility = if (rank < result.count) View.VISIBLE else View.GONE
            if (rank < result.count) row.show(rank, resources.className(model, result.index(rank)), result.probability(rank))
        }
        showTimes(result)
    }

    private fun showTimes(result: Result) {
        val average = result.averages
        val text = if (result.still) {
            resources.getString(R.string.times, result.preparationMs, result.inferenceMs, result.totalMs)
        } else {
            resources.getString(
                R.string.times_live,
                average.preparationMs,
                average.inferenceMs,
                average.totalMs,
                average.framesPerSecond,
            )
        }
        times.visibility = View.VISIBLE
        times.setIfNew(text)
    }

    /** Shows sentences below the results; null hides them. */
    fun showNotice(text: String?) {
        notice.visibility = if (text == null) View.GONE else View.VISIBLE
        notice.setIfNew(text.orEmpty())
    }

    private inner class Row(val view: View) {
        private val label = view.findViewById<TextView>(R.id.label)
        private val percent = view.findViewById<TextView>(R.id.percent)
        private val bar = view.findViewById<ProgressBar>(R.id.bar)

        fun show(rank: Int, name: String, probability: Float) {
            label.setIfNew(name)
            percent.setIfNew(percent(probability))
            bar.progress = (probability * bar.max).roundToInt()
            if (rank > 0 || mayBeSpoken(name)) {
                view.contentDescription = resources.getString(R.string.result_spoken, name, percent.text)
            }
        }
    }

    /** Returns whether TalkBack may read [name]: it is new, and there was time to read the previous class. */
    private fun mayBeSpoken(name: String): Boolean {
        val now = SystemClock.uptimeMillis()
        if (name == spokenClass || (spokenClass.isNotEmpty() && now - spokenAt < SPOKEN_EVERY_MS)) return false
        spokenClass = name
        spokenAt = now
        return true
    }

    private companion object {
        const val SPOKEN_EVERY_MS = 2000L

        /** Pale, but readable on the panel. */
        const val NOT_SURE_ALPHA = 0.7f

        /** Sets a text only if it changed: setting it always triggers a layout. */
        fun TextView.setIfNew(text: String) {
            if (text.contentEquals(this.text)) return
            this.text = text
        }
    }
}
