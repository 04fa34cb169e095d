package io.github.shufflenettf.demo

import android.content.Context
import android.graphics.Canvas
import android.graphics.Paint
import android.graphics.RectF
import android.util.AttributeSet
import android.view.View

/** Draws the border of the network's square input over the image. */
internal class CropView(context: Context, attributes: AttributeSet?) : View(context, attributes) {
    private val square = RectF()
    private val corner = resources.getDimension(R.dimen.corner)
    private val line = Paint(Paint.ANTI_ALIAS_FLAG).apply {
        style = Paint.Style.STROKE
        strokeWidth = resources.getDimension(R.dimen.frame_line)
        color = context.getColor(R.color.over_picture)
    }

    /** Shows a centred square with this side, pixels; 0 hides it. */
    fun show(side: Float) {
        if (side == square.width()) return
        square.set((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)
        invalidate()
    }

    override fun onDraw(canvas: Canvas) {
        if (!square.isEmpty) canvas.drawRoundRect(square, corner, corner, line)
    }
}
