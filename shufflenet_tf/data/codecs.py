"""TensorFlow's decoders, used so that a file gives the same RGB pixels in a program, in a dataset and in a SavedModel."""

import functools

import tensorflow as tf

# Maximum in memory: libjpeg reduces a larger JPEG while it decodes it; Pillow reduces other files, or they are refused.
MAX_DECODED_PIXELS = 1 << 26
# Factors by which libjpeg can divide both sides while it decodes, at a fraction of the work.
_RATIOS = (1, 2, 4, 8)
_REMEDY = "Convert it to JPEG or PNG."


def decode_stored(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a JPEG, PNG or plain BMP file to uint8 [height, width, 3], as it is stored, on a white background.

    Raises:
      tf.errors.InvalidArgumentError: the content can't be decoded, or not in the same way as Pillow.
    """
    head = tf.strings.substr(encoded, 0, 4)
    kinds = tf.stack(
        [
            tf.io.is_jpeg(encoded),
            tf.equal(head, b"\x89PNG"),
            tf.equal(tf.strings.substr(head, 0, 2), b"BM"),
            True,
        ]
    )
    kind = tf.argmax(tf.cast(kinds, tf.int32), output_type=tf.int32)
    return tf.switch_case(kind, [functools.partial(decoder, encoded) for decoder in (_jpeg, _png, _bmp, _other)])


def decode_jpeg_box(encoded: tf.Tensor, box: tf.Tensor, target: tuple[int, int] | tf.Tensor) -> tf.Tensor:
    """Decodes `box`, int32 [top, left, height, width], divided by the largest ratio that keeps it at least `target`.

    All sizes are in stored pixels.
    """

    def decode_at(ratio: int) -> tf.Tensor:
        scaled = box
        if ratio > 1:
            # TensorFlow crops *after* scaling. A scaled side is ceil(side / ratio) long, so edges that are rounded to the
            # nearest pixel stay inside. They also stay apart, because a box that is scaled is at least `ratio` long.
            start, size = tf.split(box, 2)
            end = (start + size + ratio // 2) // ratio
            start = (start + ratio // 2) // ratio
            scaled = tf.concat([start, end - start], axis=0)
        # The accurate transform costs as much as the fast one (SIMD); interpolating chroma would cost a tenth of the time.
        return tf.image.decode_and_crop_jpeg(
            encoded, scaled, channels=3, ratio=ratio, fancy_upscaling=False, dct_method="INTEGER_ACCURATE"
        )

    index = tf.raw_ops.Bucketize(input=tf.reduce_min(box[2:] // target), boundaries=_RATIOS[1:])
    return tf.switch_case(index, [functools.partial(decode_at, ratio) for ratio in _RATIOS])


def _jpeg(encoded: tf.Tensor) -> tf.Tensor:
    def decode_at(ratio: int) -> tf.Tensor:
        return tf.io.decode_jpeg(encoded, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")

    shape = tf.io.extract_jpeg_shape(encoded, output_type=tf.int32)
    pixels = tf.cast(shape[0], tf.float32) * tf.cast(shape[1], tf.float32)
    bounds = [float(MAX_DECODED_PIXELS * ratio * ratio + 1) for ratio in _RATIOS[:-1]]
    index = tf.raw_ops.Bucketize(input=pixels, boundaries=bounds)
    return tf.switch_case(index, [functools.partial(decode_at, ratio) for ratio in _RATIOS])


def _png(encoded: tf.Tensor) -> tf.Tensor:
    header = tf.cast(tf.io.decode_raw(tf.strings.substr(encoded, 16, 10), tf.uint8), tf.int32)
    width, height = (tf.reduce_sum(tf.cast(header[a : a + 4], tf.float32) * [2.0**24, 2.0**16, 2.0**8, 1.0]) for a in (0, 4))
    size = f"A PNG has more than {MAX_DECODED_PIXELS:,} pixels. Reduce it, or convert it to JPEG."
    with tf.control_dependencies([tf.debugging.Assert(width * height <= MAX_DECODED_PIXELS, [size])]):
        header = tf.identity(header)

    def deep() -> tf.Tensor:  # 16 bits per channel
        values = tf.cast(tf.io.decode_png(encoded, channels=4, dtype=tf.uint16), tf.int32)
        # Grey is scaled from 65535 to 255; of other kinds, Pillow takes the higher byte.
        return tf.cast(tf.where(tf.equal(header[9], 0), (values + 128) // 257, values // 256), tf.uint8)

    image = tf.cond(tf.equal(header[8], 16), deep, lambda: tf.io.decode_png(encoded, channels=4))
    # With less than 8 bits per channel, TensorFlow's alpha of an opaque pixel has only that many bits set.
    filled = tf.cast(tf.bitwise.left_shift(1, tf.minimum(header[8], 8)) - 1, tf.uint8)
    is_opaque = tf.reduce_all(tf.equal(image[..., 3], filled)) | tf.reduce_all(tf.equal(image[..., 3], 255))
    return tf.cond(is_opaque, lambda: image[..., :3], lambda: _on_white(image))


def _bmp(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes an uncompressed BMP of 24 or 32 bits per pixel; in others, TensorFlow would take indices for colours."""
    header = tf.cast(tf.io.decode_raw(tf.strings.substr(encoded, 14, 20), tf.uint8), tf.int32)
    bits = header[14]
    is_plain = (header[0] >= 40) & (tf.equal(bits, 24) | tf.equal(bits, 32)) & tf.reduce_all(tf.equal(header[15:], 0))
    with tf.control_dependencies([tf.debugging.Assert(is_plain, [f"This kind of BMP is not supported. {_REMEDY}"])]):
        return tf.io.decode_bmp(tf.identity(encoded))[..., :3]


def _other(encoded: tf.Tensor) -> tf.Tensor:
    # TensorFlow's WebP decoder overruns its memory on animated files, and its GIF decoder uses another background.
    sentence = f"Unknown image file format. One of JPEG, PNG, BMP is required. {_REMEDY}"
    with tf.control_dependencies([tf.debugging.Assert(tf.equal(encoded, "") & False, [sentence])]):
        return tf.zeros((1, 1, 3), tf.uint8)


def _on_white(image: tf.Tensor) -> tf.Tensor:
    """Blends RGBA pixels, uint8 [h, w, 4], with a white background, rounding like Pillow."""
    values = tf.cast(image, tf.int32)
    total = (values[..., :3] * values[..., 3:] + 255 * (255 - values[..., 3:])) * 128 + 0x4000
    return tf.cast((total // 256 + total) // 256 // 128, tf.uint8)
