package io.github.shufflenettf.demo

import android.app.Activity
import android.graphics.Bitmap
import android.graphics.Canvas
import android.os.Looper
import org.robolectric.Shadows.shadowOf
import java.io.File

/** Takes screenshots of the real layouts, if the property `pictures` names a folder for them. */
internal object Pictures {
    fun draw(activity: Activity, name: String) {
        val folder = System.getProperty("pictures") ?: return
        shadowOf(Looper.getMainLooper()).idle()
        val view = activity.window.decorView
        view.jumpDrawablesToCurrentState() // at the end of what is moving
        val bitmap = Bitmap.createBitmap(view.width, view.height, Bitmap.Config.ARGB_8888)
        view.draw(Canvas(bitmap))
        File(folder, "$name.png").outputStream().use { bitmap.compress(Bitmap.CompressFormat.PNG, 100, it) }
    }
}
