"""From the bytes of an image file to upright RGB pixels: of the whole image, or of no more of it than is needed."""

from collections.abc import Callable

import tensorflow as tf

# (height, width) of the upright image, int32 scalars -> (top, left, height, width) of a window inside it, int32 scalars.
Window = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]]

# What libjpeg can divide both sides by while it decodes, at a fraction of the work.
_RATIOS = (1, 2, 4, 8)


def decode(encoded: tf.Tensor, orientation: tf.Tensor | int = 1) -> tf.Tensor:
    """Decodes a whole image, with libjpeg's accurate transform.

    Args:
      encoded: content of a JPEG, PNG, GIF (the first frame counts) or BMP file, string scalar.
      orientation: EXIF orientation 1 to 8, int32 scalar.

    Returns:
      uint8 [height, width, 3], upright.

    Raises:
      tf.errors.InvalidArgumentError: the content cannot be decoded.
    """
    image = tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: _decode_other(encoded),
    )
    return tf.ensure_shape(_if_upright(orientation, lambda: image, lambda: _turn(image, orientation)), [None, None, 3])


def decode_window(
    encoded: tf.Tensor, orientation: tf.Tensor | int, window: Window, target: tuple[int, int]
) -> tf.Tensor:
    """Decodes a window of an image that is to be resized to `target`, for training: fast rather than exact.

    Of a JPEG only the window is decoded, chroma is not interpolated, and a window of at least 2 (4, 8) times the target
    in both sides is halved (quartered, …) by libjpeg, so the result is never smaller than a target that the window covers.

    Args:
      encoded: content of a JPEG, PNG, GIF (the first frame counts) or BMP file, string scalar.
      orientation: EXIF orientation 1 to 8, int32 scalar.
      window: chooses the window, in the upright image's pixels; it must lie inside the image and not be empty.
      target: (height, width) in pixels that the result will be resized to.

    Returns:
      uint8 [h, w, 3], upright: the window's (height, width) divided by 1, 2, 4 or 8, rounded to the pixel.

    Raises:
      tf.errors.InvalidArgumentError: the content cannot be decoded, or the window leaves the image.
    """

    def upright() -> tf.Tensor:
        height, width, _ = tf.unstack(tf.io.extract_jpeg_shape(encoded))
        box = window(height, width)
        return _decode_jpeg_window(encoded, box, _ratio_index(box, target))

    def turned() -> tf.Tensor:
        height, width, _ = tf.unstack(tf.io.extract_jpeg_shape(encoded))
        transpose, _, _ = _steps(orientation)
        height, width = tf.where(transpose, width, height), tf.where(transpose, height, width)
        box = window(height, width)
        index = _ratio_index(box, target)
        return _turn(_decode_jpeg_window(encoded, _stored(box, height, width, orientation), index), orientation)

    def other() -> tf.Tensor:
        image = _decode_other(encoded)
        image = _if_upright(orientation, lambda: image, lambda: _turn(image, orientation))
        top, left, height, width = window(*tf.unstack(tf.shape(image)[:2]))
        return tf.image.crop_to_bounding_box(image, top, left, height, width)

    image = tf.cond(tf.io.is_jpeg(encoded), lambda: _if_upright(orientation, upright, turned), other)
    return tf.ensure_shape(image, [None, None, 3])


def _decode_other(encoded: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_image(encoded, channels=3, expand_animations=False)


def _decode_jpeg_window(encoded: tf.Tensor, box: tuple, ratio_index: tf.Tensor) -> tf.Tensor:
    """Decodes `box` = (top, left, height, width), in stored pixels, divided by the ratio."""

    def at(ratio: int) -> tf.Tensor:
        # TensorFlow crops *after* scaling. A scaled side is ceil(side / ratio) long, so that edges rounded to the nearest
        # pixel stay inside; and they stay apart, as a box that is scaled is at least `ratio` long.
        top, left, height, width = box
        if ratio > 1:
            bottom, right = ((end + ratio // 2) // ratio for end in (top + height, left + width))
            top, left = ((start + ratio // 2) // ratio for start in (top, left))
            height, width = bottom - top, right - left
        # The accurate transform costs as much as the fast one (SIMD); interpolating chroma costs a tenth of the decoding.
        return tf.image.decode_and_crop_jpeg(
            encoded,
            tf.stack([top, left, height, width]),
            channels=3,
            ratio=ratio,
            fancy_upscaling=False,
            dct_method="INTEGER_ACCURATE",
        )

    return tf.switch_case(ratio_index, [lambda ratio=ratio: at(ratio) for ratio in _RATIOS])


def _ratio_index(box: tuple, target: tuple[int, int]) -> tf.Tensor:
    """Index into _RATIOS of the largest ratio that leaves the window at least as large as the target."""
    _, _, height, width = box
    scale = tf.minimum(height // target[0], width // target[1])
    return sum(tf.cast(scale >= ratio, tf.int32) for ratio in _RATIOS[1:])


def _if_upright(orientation: tf.Tensor | int, upright: Callable, turned: Callable) -> tf.Tensor:
    """A condition that costs nothing where the orientation is a constant."""
    if (constant := tf.get_static_value(orientation)) is not None:
        return upright() if constant == 1 else turned()
    return tf.cond(tf.equal(orientation, 1), upright, turned)


def _steps(orientation: tf.Tensor | int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """What makes the stored image upright: (transpose, then flip the rows, then flip the columns), boolean scalars."""
    steps = tf.constant(
        [
            [False, False, False],  # 1: upright
            [False, False, True],  # 2: mirrored
            [False, True, True],  # 3: upside down
            [False, True, False],  # 4: upside down, mirrored
            [True, False, False],  # 5: transposed
            [True, False, True],  # 6: to be turned clockwise
            [True, True, True],  # 7: transposed along the other diagonal
            [True, True, False],  # 8: to be turned anticlockwise
        ]
    )
    return tuple(tf.unstack(steps[orientation - 1]))


def _turn(image: tf.Tensor, orientation: tf.Tensor | int) -> tf.Tensor:
    """Stored pixels [h, w, 3] to upright pixels, [h, w, 3] or [w, h, 3]."""
    transpose, flip_rows, flip_columns = _steps(orientation)
    image = tf.transpose(image, tf.where(transpose, [1, 0, 2], [0, 1, 2]))
    return tf.raw_ops.Reverse(tensor=image, dims=tf.stack([flip_rows, flip_columns, False]))


def _stored(box: tuple, height: tf.Tensor, width: tf.Tensor, orientation: tf.Tensor | int) -> tuple:
    """A box in upright pixels of an image of [height, width] to the same box in stored pixels: `_turn` backwards."""
    transpose, flip_rows, flip_columns = _steps(orientation)
    top, left, h, w = box
    top = tf.where(flip_rows, height - top - h, top)
    left = tf.where(flip_columns, width - left - w, left)
    return tuple(tf.unstack(tf.where(transpose, [left, top, w, h], [top, left, h, w])))
