package io.github.shufflenettf.demo

import android.content.res.AssetManager
import io.github.shufflenettf.core.ModelInfo
import java.io.FileInputStream
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel

/** The .tflite files in the app's assets. */
internal class ModelStore(private val assets: AssetManager) {
    /** File names, sorted. */
    val names: List<String> = assets.list("").orEmpty().filter { it.endsWith(".tflite") }.sorted()

    /** Returns the file that is called [name], or else the first one; null if there is none at all. */
    fun choose(name: String): String? = if (name in names) name else names.firstOrNull()

    /**
     * Maps a file into memory, or reads it if it's compressed in the package.
     *
     * @throws IOException it can't be read.
     */
    fun open(name: String): ByteBuffer = try {
        assets.openFd(name).use { file ->
            FileInputStream(file.fileDescriptor).use {
                it.channel.map(FileChannel.MapMode.READ_ONLY, file.startOffset, file.declaredLength)
            }
        }
    } catch (compressed: IOException) {
        val bytes = assets.open(name).use { it.readBytes() }
        ByteBuffer.allocateDirect(bytes.size).put(bytes).apply { rewind() }
    }.order(ByteOrder.nativeOrder())

    /**
     * Returns what a file says about itself.
     *
     * @throws io.github.shufflenettf.core.ModelException the app can't use it.
     * @throws IOException it can't be read.
     */
    fun info(name: String): ModelInfo = ModelInfo.read(name, open(name))
}
