package io.github.shufflenettf.demo

import android.content.Intent
import android.net.Uri
import android.os.Build

/** Returns the image that another app shares, if any. */
internal fun Intent.sharedPicture(): Uri? = when {
    action != Intent.ACTION_SEND -> null
    Build.VERSION.SDK_INT >= Build.VERSION_CODES.TIRAMISU -> getParcelableExtra(Intent.EXTRA_STREAM, Uri::class.java)
    else -> {
        @Suppress("DEPRECATION") // before Android 13 there is no other
        getParcelableExtra(Intent.EXTRA_STREAM)
    }
}
