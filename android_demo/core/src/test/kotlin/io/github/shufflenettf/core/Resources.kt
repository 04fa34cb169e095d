package io.github.shufflenettf.core

import java.io.File
import java.nio.ByteBuffer
import java.util.zip.ZipInputStream

/** Files that Python wrote for these tests. */
internal object Resources {
    // mvn -Dgolden=FOLDER: golden_frames.zip and models from another folder.
    private val folder: File? = System.getProperty("golden")?.let(::File)

    /** The files of golden_frames.zip by name; its index is `index.json`. */
    val golden: Map<String, ByteArray> by lazy {
        val archive = folder?.resolve("golden_frames.zip")?.readBytes() ?: bytes("golden_frames.zip")
        ZipInputStream(archive.inputStream()).use { zip ->
            generateSequence { zip.nextEntry }.associate { it.name to zip.readBytes() }
        }
    }

    /** Returns a model of [golden]. */
    fun goldenModel(name: String): ModelInfo =
        folder?.let { ModelInfo.read(name, ByteBuffer.wrap(it.resolve(name).readBytes())) } ?: model(name)

    fun bytes(name: String): ByteArray = checkNotNull(javaClass.getResourceAsStream("/$name")) { "no $name" }.readBytes()

    fun model(name: String): ModelInfo = ModelInfo.read(name, ByteBuffer.wrap(bytes("models/$name")))
}

/** Returns the same samples as `samples` in `export/camera/golden_frames.py`. */
internal fun samples(width: Int, height: Int, seed: Int): ByteArray = ByteArray(width * height) { i ->
    val x = i % width
    val y = i / width
    val noise = ((x * 7919L + y * 104729L + seed * 1299709L) * 2654435761L and 0xffffffffL) shr 24
    ((x * (3L + seed) + y * (5L - seed)) / 4 + noise / 4).toByte()
}

/** Returns an RGBA frame without padding; [planes] are R, G, B, A. */
internal fun rgba(width: Int, height: Int, planes: List<ByteArray>): RgbaFrame {
    val bytes = ByteArray(4 * width * height) { planes[it % 4][it / 4] }
    return RgbaFrame(width, height, Plane(ByteBuffer.wrap(bytes), 4 * width, 4))
}
