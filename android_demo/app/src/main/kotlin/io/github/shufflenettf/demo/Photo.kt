package io.github.shufflenettf.demo

import android.content.ContentResolver
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.Matrix
import android.media.ExifInterface
import android.net.Uri
import io.github.shufflenettf.core.Plane
import io.github.shufflenettf.core.RgbaFrame
import java.io.FileNotFoundException
import java.io.IOException
import java.io.InputStream
import java.nio.ByteBuffer

/** Loads photos of other apps and rotates them upright. */
internal object Photo {
    /** More pixels help no network and may not fit in the memory of small phones. */
    private const val MAX_PIXELS = 16_000_000L

    /**
     * Loads a photo and applies its EXIF orientation.
     *
     * @throws IOException it no longer exists, access is denied, or the phone can't decode it.
     */
    fun load(resolver: ContentResolver, uri: Uri): Bitmap = try {
        val options = BitmapFactory.Options().apply { inJustDecodeBounds = true }
        resolver.open(uri).use { BitmapFactory.decodeStream(it, null, options) }
        val pixels = options.outWidth.toLong() * options.outHeight
        options.inSampleSize = 1
        while (pixels / options.inSampleSize / options.inSampleSize > MAX_PIXELS) options.inSampleSize *= 2
        options.inJustDecodeBounds = false
        val bitmap = resolver.open(uri).use { BitmapFactory.decodeStream(it, null, options) } ?: throw IOException("not an image")
        upright(bitmap, resolver.open(uri).use(::orientation))
    } catch (failure: RuntimeException) { // the other app denies access, or fails
        throw IOException(failure)
    }

    /** Converts a bitmap to a frame: sRGB, ignoring transparency, as evaluation reads files. */
    fun frame(bitmap: Bitmap): RgbaFrame {
        val buffer = ByteBuffer.allocateDirect(bitmap.width * bitmap.height * 4)
        val row = IntArray(bitmap.width)
        for (y in 0 until bitmap.height) {
            bitmap.getPixels(row, 0, bitmap.width, 0, y, bitmap.width, 1)
            for (argb in row) buffer.putInt(argb shl 8 or (argb ushr 24)) // big-endian: red first
        }
        return RgbaFrame(bitmap.width, bitmap.height, Plane(buffer.apply { rewind() }, bitmap.width * 4, 4))
    }

    private fun ContentResolver.open(uri: Uri): InputStream = openInputStream(uri) ?: throw FileNotFoundException("$uri")

    private fun orientation(photo: InputStream): Int = try {
        ExifInterface(photo).getAttributeInt(ExifInterface.TAG_ORIENTATION, ExifInterface.ORIENTATION_NORMAL)
    } catch (noExif: IOException) {
        ExifInterface.ORIENTATION_NORMAL
    }

    /** Rotates and mirrors without interpolation: no pixel value changes. */
    private fun upright(bitmap: Bitmap, orientation: Int): Bitmap {
        val matrix = Matrix()
        when (orientation) {
            ExifInterface.ORIENTATION_FLIP_HORIZONTAL -> matrix.setScale(-1f, 1f)
            ExifInterface.ORIENTATION_ROTATE_180 -> matrix.setRotate(180f)
            ExifInterface.ORIENTATION_FLIP_VERTICAL -> matrix.setScale(1f, -1f)
            ExifInterface.ORIENTATION_TRANSPOSE -> matrix.apply { setRotate(90f) }.postScale(-1f, 1f)
            ExifInterface.ORIENTATION_ROTATE_90 -> matrix.setRotate(90f)
            ExifInterface.ORIENTATION_TRANSVERSE -> matrix.apply { setRotate(270f) }.postScale(-1f, 1f)
            ExifInterface.ORIENTATION_ROTATE_270 -> matrix.setRotate(270f)
            else -> return bitmap
        }
        return Bitmap.createBitmap(bitmap, 0, 0, bitmap.width, bitmap.height, matrix, false)
    }
}
