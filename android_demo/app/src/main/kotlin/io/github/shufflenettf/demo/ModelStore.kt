package io.github.shufflenettf.demo

import android.content.res.AssetManager
import io.github.shufflenettf.core.ModelException
import io.github.shufflenettf.core.ModelInfo
import io.github.shufflenettf.core.ModelMessage
import java.io.FileInputStream
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel

/** Reads the .tflite files in the app's assets. */
internal class ModelStore(private val assets: AssetManager) {
    /** File names, sorted. */
    val names: List<String> = assets.list("").orEmpty().filter { it.endsWith(".tflite") }.sorted()

    /** Returns [name] if there is such a file, or else the first file; null: there is none. */
    fun choose(name: String): String? = if (name in names) name else names.firstOrNull()

    /**
     * Maps a file into memory, or reads it if the package stores it compressed.
     *
     * @throws ModelException it can't be read.
     */
    fun open(name: String): ByteBuffer = try {
        map(name).order(ByteOrder.nativeOrder())
    } catch (unreadable: IOException) {
        throw ModelException(ModelMessage(ModelMessage.Key.DAMAGED, listOf(name)), unreadable)
    }

    private fun map(name: String): ByteBuffer = try {
        assets.openFd(name).use { file ->
            FileInputStream(file.fileDescriptor).use {
                it.channel.map(FileChannel.MapMode.READ_ONLY, file.startOffset, file.declaredLength)
            }
        }
    } catch (compressed: IOException) {
        val bytes = assets.open(name).use { it.readBytes() }
        ByteBuffer.allocateDirect(bytes.size).put(bytes).apply { rewind() }
    }

    /**
     * Reads a file's metadata.
     *
     * @throws ModelException the app can't use it.
     */
    fun info(name: String): ModelInfo = ModelInfo.read(name, open(name))
}
