"""The augmentations of training: which there are, and the papers' own. Of others, only RandAugment is keras-cv's.

The papers' colour jitter (brightness, contrast, saturation and lighting in random order, none of them clipped) is a chain
of affine maps of the three colours, and so is normalisation. A batch therefore needs one 3x3 matrix and one offset an
image, applied in one pass.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from shufflenet_tf import options
from shufflenet_tf.data.source import ALONE, Shard
from shufflenet_tf.options import option
from shufflenet_tf.preprocessing import Preprocessing

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: grey of R, G, B
# Principal components of ImageNet's colours in RGB, 0-255 (Krizhevsky et al. 2012), as standard deviation and direction.
_PCA_STD = (55.46, 4.794, 1.148)
_PCA_DIRECTIONS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What happens to a training image.

    `aspect` is the range of a crop's width / height, before it is resized. With MixUp and CutMix, each batch gets one of them.

    Raises:
      UserError: a value out of range.
    """

    min_area: float = option(0.08, "Smallest part of an image that a crop takes; 1: no random crop.", 0.01, 1)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    jitter: float = option(
        0.4, "Strength of random brightness, contrast and saturation: factors from 1 - this to 1 + this.", 0, 1
    )
    lighting: float = option(0.1, "Strength of the random shift along ImageNet's main colours.", 0, 1)
    flip: bool = option(True, "Mirror every second image.")
    rand_augment: float = option(0.0, "Magnitude of keras-cv's RandAugment; 0: none.", 0, 10)
    trivial_augment: bool = option(False, "TrivialAugment: one random operation of random strength for each image.")
    erase: float = option(0.0, "Probability that a rectangle of an image is erased.", 0, 1)
    mixup: float = option(0.0, "Alpha of MixUp; 0: none.", 0, 10)
    cutmix: float = option(0.0, "Alpha of CutMix; 0: none.", 0, 10)

    def __post_init__(self):
        options.check(self)

    @property
    def stateless(self) -> bool:
        """Whether every image is a function of the seed alone; keras-cv's RandAugment keeps a generator of its own."""
        return not self.rand_augment


def shape_of(images: tf.Tensor) -> list[int | tf.Tensor]:
    """Returns the sides of a tensor, as numbers where they are known before it is."""
    known, actual = images.shape, tf.shape(images)
    return [actual[i] if side is None else side for i, side in enumerate(known)]


def random_window(
    seed: tf.Tensor, augmentation: Augmentation
) -> Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]]:
    """Returns the choice of a random-area crop: (height, width) -> (top, left, height, width), all in pixels.

    Args:
      seed: int64 [2].
      augmentation: its `min_area` and `aspect`.
    """

    def window(height, width):
        begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
            tf.stack([height, width, 3]),
            tf.zeros((1, 0, 4)),
            seed,
            min_object_covered=0.0,
            aspect_ratio_range=augmentation.aspect,
            area_range=(augmentation.min_area, 1.0),
            max_attempts=10,
            use_image_if_no_bounding_boxes=True,
        )
        return begin[0], begin[1], size[0], size[1]

    return window


def mirror(image: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mirrors every second image left to right, and with it, for speed, the order of its colours.

    Reversing rows of bytes is one pass where moving pixels of three bytes is not (0.1 ms against 2.3 ms at 224 px); the
    order of colours is put right by the matrix of `jitter_and_normalize`.

    Args:
      image: float32 [H, W, 3].
      seed: int64 [2].

    Returns:
      The image, and whether it is mirrored, bool [].
    """
    height, width, channels = shape_of(image)
    mirrored = tf.random.stateless_uniform((), seed) < 0.5
    rows = tf.reshape(image, (height, width * channels))
    rows = tf.cond(mirrored, lambda: tf.reverse(rows, [1]), lambda: rows)
    return tf.reshape(rows, (height, width, channels)), mirrored


def jitter_and_normalize(
    images: tf.Tensor,
    mirrored: tf.Tensor,
    seed: tf.Tensor,
    augmentation: Augmentation,
    preprocessing: Preprocessing,
    shard: Shard = ALONE,
) -> tf.Tensor:
    """Applies colour jitter, lighting and normalisation to a batch.

    Args:
      images: float32 [N, H, W, 3] of values 0-255, RGB, but BGR where `mirrored`.
      mirrored: bool [N], see `mirror`.
      seed: int64 [2].
      augmentation: its `jitter` and `lighting`.
      preprocessing: of the network that is trained.
      shard: which rows of the global batch these are.

    Returns:
      The network's input, float32 [N, H, W, 3].
    """
    n, height, width, _ = shape_of(images)
    # Several pixels at once, as a product with 3x3 matrices leaves most of a vector register empty: half of the time.
    group = next(size for size in (8, 4, 2, 1) if (isinstance(width, int) and width % size == 0) or size == 1)
    pixels = tf.reshape(images, (n, height * width // group, 3 * group))
    matrix, offset = tf.eye(3, batch_shape=[n]), tf.zeros((n, 3))
    if augmentation.jitter or augmentation.lighting:
        # As a product, the mean takes half of the time of `reduce_mean`.
        share = tf.fill((n, 1, height * width // group), 1 / tf.cast(height * width, tf.float32))
        means = tf.reduce_sum(tf.reshape(tf.matmul(share, pixels), (n, group, 3)), 1)
        means = tf.where(mirrored[:, None], means[:, ::-1], means)
        matrix, offset = _colour_map(means, seed, augmentation, shard)
    factor, shift = preprocessing.affine()
    matrix, offset = factor[:, None] * matrix, factor * offset + shift
    if preprocessing.channel_order == "bgr":
        matrix, offset = matrix[:, ::-1], offset[:, ::-1]
    matrix = tf.where(mirrored[:, None, None], matrix[:, :, ::-1], matrix)
    blocks = tf.reshape(tf.einsum("gh,nij->ngjhi", tf.eye(group), matrix), (n, 3 * group, 3 * group))
    pixels = tf.matmul(pixels, blocks)  # (N, H*W / group, 3 * group) x (N, 3 * group, 3 * group)
    # Added row by row: TensorFlow is slow at broadcasting over three channels.
    rows = tf.reshape(pixels, (n, height, width * 3)) + tf.tile(offset, (1, width))[:, None]
    return tf.reshape(rows, (n, height, width, 3))


def _colour_map(means: tf.Tensor, seed: tf.Tensor, augmentation: Augmentation, shard: Shard) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns one affine map of colours an image, [N, 3, 3] and [N, 3], given the images' mean colours [N, 3]."""
    n = tf.shape(means)[0]
    order_seed, factor_seed, light_seed = tf.unstack(tf.random.split(seed, 3))
    low, high = 1 - augmentation.jitter, 1 + augmentation.jitter
    drawn = n * shard.count  # for the global batch
    factors = shard.rows(tf.random.stateless_uniform((3, drawn, 1), factor_seed, low, high), axis=1)
    brightness, contrast, saturation = tf.unstack(factors)
    luma = tf.constant(_LUMA)
    identity = tf.eye(3, batch_shape=[n])
    grey = tf.broadcast_to(luma, (n, 3, 3))  # every row gives the grey of the colour
    saturate = saturation[..., None] * identity + (1 - saturation[..., None]) * grey
    noise = shard.rows(tf.random.stateless_normal((drawn, 3), light_seed, stddev=augmentation.lighting))
    light = tf.matmul(noise * _PCA_STD, tf.constant(_PCA_DIRECTIONS), transpose_b=True)
    factors = tf.stack([brightness[..., None] * identity, contrast[..., None] * identity, saturate, identity], 1)

    order = tf.argsort(shard.rows(tf.random.stateless_uniform((drawn, 4), order_seed)))
    matrix, offset = identity, tf.zeros((n, 3))
    for step in range(4):
        chosen = tf.one_hot(order[:, step], 4)  # (N, 4): brightness, contrast, saturation, lighting
        # Contrast pulls towards the mean grey that the image has at this point of the chain.
        mean_now = tf.linalg.matvec(matrix, means) + offset
        towards = (1 - contrast) * tf.reduce_sum(mean_now * luma, -1, keepdims=True)
        factor = tf.einsum("nk,nkij->nij", chosen, factors)
        matrix = factor @ matrix
        offset = tf.linalg.matvec(factor, offset) + chosen[:, 1:2] * towards + chosen[:, 3:] * light
    return matrix, offset


def rand_augment(augmentation: Augmentation) -> Callable[[tf.Tensor], tf.Tensor] | None:
    """Returns keras-cv's RandAugment of a batch of RGB images 0-255, or None where it's not wanted."""
    if not augmentation.rand_augment:
        return None
    import keras_cv

    layer = keras_cv.layers.RandAugment((0, 255), magnitude=augmentation.rand_augment / 10, augmentations_per_image=2)
    return lambda images: layer(tf.cast(images, tf.float32), training=True)
