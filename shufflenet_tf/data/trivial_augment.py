"""TrivialAugment (Müller and Hutter 2021, "wide" space): one random operation of random strength for each image.

The operations and their ranges are torchvision's TrivialAugmentWide. Each image is a function of its seed.
"""

import math

import tensorflow as tf

_GREY = (0.299, 0.587, 0.114)
_OPERATIONS = 14
_FILL = 0.0  # torchvision's: black


def trivial_augment(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Applies one of fourteen operations to an image.

    Args:
      image: float32 [H, W, 3], 0-255, RGB.
      seed: int64 [2].

    Returns:
      float32 [H, W, 3], 0-255.
    """
    kind_seed, strength_seed = tf.unstack(tf.random.split(seed, 2))
    kind = tf.random.stateless_uniform((), kind_seed, 0, _OPERATIONS, tf.int32)
    strength, sign = tf.unstack(tf.random.stateless_uniform((2,), strength_seed))
    signed = tf.where(sign < 0.5, -strength, strength)
    branches = [
        lambda: image,
        lambda: _project(image, [1.0, 0.99 * signed, 0.0, 0.0, 1.0, 0.0]),  # shear along x
        lambda: _project(image, [1.0, 0.0, 0.0, 0.99 * signed, 1.0, 0.0]),
        lambda: _project(image, [1.0, 0.0, _moved(image, 1) * signed, 0.0, 1.0, 0.0]),
        lambda: _project(image, [1.0, 0.0, 0.0, 0.0, 1.0, _moved(image, 0) * signed]),
        lambda: _rotate(image, 135 * signed),
        lambda: _blend(tf.zeros_like(image), image, 1 + 0.99 * signed),  # brightness
        lambda: _blend(_grey(image), image, 1 + 0.99 * signed),  # saturation
        lambda: _blend(tf.fill(tf.shape(image), tf.reduce_mean(_grey(image))), image, 1 + 0.99 * signed),  # contrast
        lambda: _blend(_smooth(image), image, 1 + 0.99 * signed),  # sharpness
        lambda: _posterize(image, strength),
        lambda: tf.where(image >= 255 * (1 - strength), 255 - image, image),  # solarize
        lambda: _autocontrast(image),
        lambda: _equalize(image),
    ]
    return tf.reshape(tf.switch_case(kind, branches), tf.shape(image))


def _blend(other: tf.Tensor, image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(other + factor * (image - other), 0, 255)


def _grey(image: tf.Tensor) -> tf.Tensor:
    return tf.broadcast_to(tf.reduce_sum(image * _GREY, -1, keepdims=True), tf.shape(image))


def _smooth(image: tf.Tensor) -> tf.Tensor:
    """A blurred image; its border is the image's own."""
    kernel = tf.constant([[1, 1, 1], [1, 5, 1], [1, 1, 1]], tf.float32)[..., None, None] / 13
    kernel = tf.tile(kernel, (1, 1, 3, 1))
    inner = tf.nn.depthwise_conv2d(image[None], kernel, (1, 1, 1, 1), "VALID")[0]
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    mask = tf.pad(tf.ones((height - 2, width - 2, 1), tf.bool), [(1, 1), (1, 1), (0, 0)])
    return tf.where(mask, tf.pad(inner, [(1, 1), (1, 1), (0, 0)]), image)


def _posterize(image: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    step = 2 ** tf.round(6 * strength)  # of 8 bits, 8 to 2 are left
    return tf.floor(image / step) * step


def _autocontrast(image: tf.Tensor) -> tf.Tensor:
    low, high = tf.reduce_min(image, (0, 1)), tf.reduce_max(image, (0, 1))
    scale = tf.where(high > low, 255 / tf.maximum(high - low, 1e-3), 1.0)
    return tf.where(high > low, (image - low) * scale, image)


def _equalize(image: tf.Tensor) -> tf.Tensor:
    """Each colour's histogram made flat."""
    levels = tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.int32)
    pixels = tf.cast(tf.shape(image)[0] * tf.shape(image)[1], tf.float32)

    def channel(values):
        counts = tf.cast(tf.math.bincount(tf.reshape(values, [-1]), minlength=256, maxlength=256), tf.float32)
        below = tf.cumsum(counts, exclusive=True)
        first = tf.reduce_min(tf.where(counts > 0, counts + below, pixels))  # pixels of the darkest level
        flat = tf.round((tf.cumsum(counts) - first) * 255 / tf.maximum(pixels - first, 1))
        return tf.gather(tf.where(pixels > first, flat, tf.range(256, dtype=tf.float32)), values)

    return tf.stack([channel(levels[..., i]) for i in range(3)], -1)


def _moved(image: tf.Tensor, axis: int) -> tf.Tensor:
    """The farthest that an image is moved, in pixels: torchvision's 32 at 224 px."""
    return tf.cast(tf.shape(image)[axis], tf.float32) * (32 / 224)


def _rotate(image: tf.Tensor, degrees: tf.Tensor) -> tf.Tensor:
    angle = degrees * math.pi / 180
    cos, sin = tf.cos(angle), tf.sin(angle)
    y, x = (tf.cast(tf.shape(image)[i] - 1, tf.float32) / 2 for i in (0, 1))
    return _project(image, [cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y])


def _project(image: tf.Tensor, transform: list) -> tf.Tensor:
    """Takes the pixel (x, y) of the result from (a x + b y + c, d x + e y + f); black where that is outside."""
    row = tf.stack([tf.convert_to_tensor(v, tf.float32) for v in (*transform, 0.0, 0.0)])
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=row[None],
        output_shape=tf.shape(image)[:2],
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
        fill_value=_FILL,
    )[0]
