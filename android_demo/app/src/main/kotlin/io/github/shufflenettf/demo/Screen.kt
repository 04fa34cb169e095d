package io.github.shufflenettf.demo

import android.app.Activity
import android.graphics.Matrix
import android.os.Build
import android.util.Size
import android.view.TextureView
import android.view.View
import android.view.WindowInsets
import android.widget.Button
import android.widget.ImageButton
import android.widget.ImageView
import android.widget.TextView

/** The views of the main screen; shows the session's state on them. */
internal class Screen(private val activity: Activity, private val session: Session) {
    val preview: TextureView = activity.findViewById(R.id.preview)
    val picture: View = activity.findViewById(R.id.tap)
    val live: ImageButton = activity.findViewById(R.id.live)
    val photo: ImageButton = activity.findViewById(R.id.photo)
    val settings: ImageButton = activity.findViewById(R.id.settings)
    private val still = activity.findViewById<ImageView>(R.id.still)
    private val crop = activity.findViewById<CropView>(R.id.crop)
    private val paused = activity.findViewById<View>(R.id.paused)
    private val modelName = activity.findViewById<TextView>(R.id.model_name)
    private val card = activity.findViewById<View>(R.id.card)
    private val panelView = activity.findViewById<View>(R.id.panel)
    private val panel = ResultPanel(panelView)
    private var camera: Camera? = null
    private var display = 0

    init {
        val overlay = activity.findViewById<View>(R.id.overlay)
        overlay.setOnApplyWindowInsetsListener { view, insets ->
            // Android 15 and newer draw the app behind the system bars; older versions have already inset it.
            if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.R) {
                val bars = insets.getInsets(WindowInsets.Type.systemBars() or WindowInsets.Type.displayCutout())
                view.setPadding(bars.left, bars.top, bars.right, bars.bottom)
            }
            insets
        }
        picture.addOnLayoutChangeListener { _, _, _, _, _, _, _, _, _ -> layPicture() }
    }

    /** Lays out the preview of [camera], null for none, on a display rotated by [display] degrees. */
    fun lay(camera: Camera?, display: Int) {
        this.camera = camera
        this.display = display
        layPicture()
    }

    private fun layPicture() {
        val width = picture.width.toFloat()
        val height = picture.height.toFloat()
        val camera = camera
        preview.setTransform(
            camera?.let { PreviewGeometry.transform(width, height, it.previewSize, it.sensor, display) } ?: Matrix(),
        )
        val still = session.still
        val shown = when {
            still != null -> PreviewGeometry.shownShortSide(width, height, Size(still.width, still.height), 0)
            camera == null || session.mode == Mode.PHOTO -> 0f
            else -> {
                val turn = PreviewGeometry.frameRotation(camera.sensor, display, camera.front)
                PreviewGeometry.shownShortSide(width, height, camera.frameSize, turn)
            }
        }
        crop.show(session.model?.preprocessing?.let { shown * it.crop / it.resize } ?: 0f)
    }

    /** Shows the session's state, with an error card instead of results if there is one. */
    fun show(error: ErrorCard?) {
        showPicture()
        modelName.text = session.model?.name
        modelName.visibility = if (session.model == null) View.GONE else View.VISIBLE
        showCard(error)
        panelView.visibility = if (error == null) View.VISIBLE else View.GONE
        val resources = activity.resources
        when {
            session.hasResult -> panel.show(session.result)
            session.mode == Mode.PHOTO -> panel.show(resources.getString(R.string.working))
            else -> panel.show(resources.getString(R.string.starting))
        }
        val notices = session.model?.notices.orEmpty().map(resources::sentence) +
            listOfNotNull(if (session.onCpuInstead) resources.getString(R.string.gpu_fallback) else null)
        panel.showNotice(notices.joinToString("\n").ifEmpty { null })
    }

    private fun showPicture() {
        still.setImageBitmap(session.still)
        still.visibility = if (session.still == null && session.mode != Mode.PHOTO) View.GONE else View.VISIBLE
        paused.visibility = if (session.mode == Mode.PAUSED) View.VISIBLE else View.GONE
        live.visibility = if (session.mode == Mode.PHOTO) View.VISIBLE else View.GONE
        picture.isClickable = session.mode != Mode.PHOTO
        picture.contentDescription = activity.getString(
            when (session.mode) {
                Mode.LIVE -> R.string.picture_live
                Mode.PAUSED -> R.string.picture_paused
                Mode.PHOTO -> R.string.picture_photo
            },
        )
        layPicture()
    }

    private fun showCard(error: ErrorCard?) {
        card.visibility = if (error == null) View.GONE else View.VISIBLE
        if (error == null) return
        card.findViewById<TextView>(R.id.card_title).setText(error.title)
        card.findViewById<TextView>(R.id.card_text).text = error.text
        card.findViewById<Button>(R.id.card_first).show(error.first)
        card.findViewById<Button>(R.id.card_second).show(error.second)
    }

    private fun Button.show(action: CardAction?) {
        visibility = if (action == null) View.GONE else View.VISIBLE
        if (action == null) return
        setText(action.label)
        setOnClickListener { action.run() }
    }
}
