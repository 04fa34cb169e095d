package io.github.shufflenettf.core

/** Order of the colours in a network's input. */
enum class ChannelOrder { RGB, BGR }

/**
 * From a picture of any size to the numbers that a network takes; the project's `shufflenet_tf.Preprocessing`.
 *
 * @property channelOrder of the network's input, where it isn't pixels.
 * @property scale factor on pixel values 0-255, before mean and standard deviation.
 * @property mean of red, green and blue, after scaling.
 * @property std of red, green and blue, after scaling.
 * @property resize pixels of the shorter side that a picture is resized to,
 * @property crop of which a square of this side is cut from the centre; for a network of another input size both scale along.
 * @property interpolation of the resizing.
 * @property antialias whether shrinking averages over all pixels, or takes the nearest few.
 * @throws IllegalArgumentException values outside of these.
 */
class Preprocessing(
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
        require(crop in 1..resize) { "crop must be at least 1 and at most resize" }
    }

    /** Returns what becomes of pixel values 0-255 of red (0), green (1) or blue (2), in single precision as in evaluation. */
    internal fun normalized(channel: Int): FloatArray {
        val factor = scale.toFloat() / std[channel].toFloat()
        val offset = -mean[channel].toFloat() / std[channel].toFloat()
        return FloatArray(256) { it * factor + offset }
    }

    internal companion object {
        /**
         * Reads preprocessing.json; what it doesn't name has its default.
         *
         * @throws IllegalArgumentException it's no JSON, or names or values aren't these.
         */
        fun parse(text: String): Preprocessing {
            val fields = Json.parse(text)
            require(fields is Map<*, *>) { "no JSON object" }
            val default = Preprocessing()
            val known = setOf("channel_order", "scale", "mean", "std", "resize", "crop", "interpolation", "antialias")
            val unknown = fields.keys.firstOrNull { it !in known }
            require(unknown == null) { "unknown $unknown" }
            fun number(value: Any?): Double = value as? Double ?: throw IllegalArgumentException("$value is no number")
            fun numbers(name: String, default: List<Double>): List<Double> = when (val value = fields[name]) {
                null -> default
                is List<*> -> value.map(::number)
                else -> throw IllegalArgumentException("$name is no list")
            }
            fun whole(name: String, default: Int): Int {
                val value = number(fields[name] ?: return default)
                require(value == Math.rint(value) && value in 1.0..1e6) { "$name is $value" }
                return value.toInt()
            }
            return Preprocessing(
                channelOrder = choice(fields["channel_order"], default.channelOrder),
                scale = number(fields["scale"] ?: default.scale),
                mean = numbers("mean", default.mean),
                std = numbers("std", default.std),
                resize = whole("resize", default.resize),
                crop = whole("crop", default.crop),
                interpolation = choice(fields["interpolation"], default.interpolation),
                antialias = (fields["antialias"] ?: default.antialias) as? Boolean
                    ?: throw IllegalArgumentException("antialias is neither true nor false"),
            )
        }

        private inline fun <reified T : Enum<T>> choice(value: Any?, default: T): T {
            if (value == null) return default
            return enumValues<T>().firstOrNull { it.name.lowercase() == value }
                ?: throw IllegalArgumentException("unknown $value")
        }
    }
}
