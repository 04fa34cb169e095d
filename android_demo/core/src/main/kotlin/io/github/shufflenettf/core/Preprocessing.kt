package io.github.shufflenettf.core

import kotlinx.serialization.SerialName
import kotlinx.serialization.Serializable
import kotlinx.serialization.json.Json

/** Channel order of a network's input. */
@Serializable
enum class ChannelOrder {
    @SerialName("rgb")
    RGB,

    @SerialName("bgr")
    BGR,
}

/**
 * Defines how an image of any size becomes a network's input; the same as `shufflenet_tf.Preprocessing` in Python.
 *
 * @property channelOrder of the network's input, if it is not pixels.
 * @property scale factor for pixel values 0-255, applied before mean and standard deviation.
 * @property mean of red, green and blue, after scaling.
 * @property std of red, green and blue, after scaling.
 * @property resize length of the shorter side after resizing, pixels.
 * @property crop side of the square that is cropped from the centre, pixels; for another input size both scale in proportion.
 * @property interpolation used for resizing.
 * @property antialias whether downscaling averages all source pixels, or only the nearest few.
 * @throws IllegalArgumentException a value is out of range.
 */
@Serializable
class Preprocessing(
    @SerialName("channel_order")
    val channelOrder: ChannelOrder = ChannelOrder.RGB,
    val scale: Double = 1 / 255.0,
    val mean: List<Double> = listOf(0.485, 0.456, 0.406),
    val std: List<Double> = listOf(0.229, 0.224, 0.225),
    val resize: Int = 256,
    val crop: Int = 224,
    val interpolation: Interpolation = Interpolation.BILINEAR,
    val antialias: Boolean = true,
) {
    init {
        require(mean.size == 3 && std.size == 3) { "mean and std must have 3 values" }
        require(std.all { it > 0 } && scale > 0) { "std and scale must be positive" }
        require(crop in 1..resize && resize <= MAX_RESIZE) { "crop must be 1 to resize, and resize at most $MAX_RESIZE" }
    }

    /** Returns the normalized values of pixels 0-255 in channel red (0), green (1) or blue (2), in single precision as in evaluation. */
    internal fun normalized(channel: Int): FloatArray {
        val factor = scale.toFloat() / std[channel].toFloat()
        val offset = -mean[channel].toFloat() / std[channel].toFloat()
        return FloatArray(256) { it * factor + offset }
    }

    internal companion object {
        private const val MAX_RESIZE = 1_000_000

        /**
         * Reads preprocessing.json; a missing field has its default.
         *
         * @throws IllegalArgumentException the text is not JSON, or has an unknown name or a value outside its range.
         */
        fun parse(text: String): Preprocessing = Json.decodeFromString(serializer(), text)
    }
}
