"""What is done to a whole batch of network input: random erasing, and MixUp or CutMix of each image with another one.

Everything is a function of the seed, so that `--deterministic` holds and an interrupted run goes on exactly. It is drawn for
the global batch, so that a shard of it gets what it would get in the whole batch.
"""

import math

import tensorflow as tf

from shufflenet_tf.data.source import ALONE, Shard

_ERASED_AREA, _ERASED_ASPECT = (0.02, 0.33), (0.3, 3.3)  # Zhong et al. 2017 ("Random Erasing Data Augmentation"), torchvision


def erase(images: tf.Tensor, seed: tf.Tensor, probability: float, shard: Shard = ALONE) -> tf.Tensor:
    """Sets a rectangle of some images to zero, which is the mean colour.

    Args:
      images: normalised, float32 [N, H, W, 3].
      seed: int64 [2].
      probability: of each image.
      shard: which rows of the global batch these are.
    """
    draws = shard.rows(tf.random.stateless_uniform((5, _global(images, shard)), seed), axis=1)
    area = _between(draws[0], *_ERASED_AREA)
    aspect = tf.exp(_between(draws[1], *map(math.log, _ERASED_ASPECT)))
    rows, columns = _boxes(images, tf.sqrt(area * aspect), tf.sqrt(area / aspect), draws[2], draws[3])
    chosen = (draws[4] < probability)[:, None]
    return _with_boxes(images, tf.zeros_like(images), rows & chosen, columns)


def mix(
    images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, mixup: float, cutmix: float, shard: Shard = ALONE
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mixes each image and its label with the one half a batch away; of an odd batch, with the one before it.

    A batch gets MixUp (Zhang et al. 2018: a weighted sum) or CutMix (Yun et al. 2019: a rectangle of the other image), by
    chance where both are wanted.

    Args:
      images: float32 [N, H, W, 3].
      labels: float32 [N, C].
      seed: int64 [2].
      mixup, cutmix: alpha of the beta distribution that the share of the other image comes from; 0: not this one.
      shard: which rows of the global batch these are; the image half a batch away is in the same shard, as N must be even of
        several workers.
    """
    choice_seed, share_seed, place_seed = tf.unstack(tf.random.split(seed, 3))
    if not (mixup and cutmix):
        return (_mixup if mixup else _cutmix)(images, labels, share_seed, place_seed, mixup or cutmix, shard)
    return tf.cond(
        tf.random.stateless_uniform((), choice_seed) < 0.5,
        lambda: _mixup(images, labels, share_seed, place_seed, mixup, shard),
        lambda: _cutmix(images, labels, share_seed, place_seed, cutmix, shard),
    )


def _mixup(images, labels, share_seed, place_seed, alpha, shard):
    share = _beta(images, share_seed, alpha, shard)
    mixed = images + share[:, None, None, None] * (_others(images) - images)
    return mixed, labels + share[:, None] * (_others(labels) - labels)


def _cutmix(images, labels, share_seed, place_seed, alpha, shard):
    side = tf.sqrt(_beta(images, share_seed, alpha, shard))
    places = shard.rows(tf.random.stateless_uniform((2, _global(images, shard)), place_seed), axis=1)
    rows, columns = _boxes(images, side, side, *tf.unstack(places))
    # Boxes may hang over the edge, so the share is counted.
    share = tf.reduce_mean(tf.cast(rows[:, :, None] & columns[:, None], tf.float32), (1, 2))[:, None]
    return _with_boxes(images, _others(images), rows, columns), labels + share * (_others(labels) - labels)


def _others(values: tf.Tensor) -> tf.Tensor:
    """Returns the partner of each row: half of the rows away, where there is a half."""
    n = values.shape[0] if values.shape[0] is not None else tf.shape(values)[0]
    return tf.roll(values, tf.where(n % 2 == 0, n // 2, 1), 0)


def _global(images: tf.Tensor, shard: Shard) -> tf.Tensor:
    """Returns the number of images of the global batch."""
    return tf.shape(images)[0] * shard.count


def _beta(images: tf.Tensor, seed: tf.Tensor, alpha: float, shard: Shard) -> tf.Tensor:
    """Draws [N] numbers from the distribution beta(alpha, alpha)."""
    draws = shard.rows(tf.random.stateless_gamma((2, _global(images, shard)), seed, alpha), axis=1)
    return draws[0] / tf.maximum(draws[0] + draws[1], 1e-20)  # of a tiny alpha both can be zero


def _boxes(images: tf.Tensor, height: tf.Tensor, width: tf.Tensor, y: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns which rows, bool [N, H], and columns, bool [N, W], boxes of these sizes and centres, [N], as shares, cover."""
    shape = tf.shape(images)
    rows = (tf.range(shape[1], dtype=tf.float32) + 0.5) / tf.cast(shape[1], tf.float32)
    columns = (tf.range(shape[2], dtype=tf.float32) + 0.5) / tf.cast(shape[2], tf.float32)
    in_rows = tf.abs(rows[None] - y[:, None]) <= height[:, None] / 2
    return in_rows, tf.abs(columns[None] - x[:, None]) <= width[:, None] / 2


def _with_boxes(images: tf.Tensor, others: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Returns `images` [N, H, W, C] with the pixels of `others` in boxes, one an image; see `_boxes`."""
    # With a row's pixels and colours as one side: TensorFlow is slow at broadcasting over three colours.
    inside = rows[:, :, None] & tf.repeat(columns, images.shape[-1], axis=1)[:, None]
    mixed = tf.where(inside, tf.reshape(others, tf.shape(inside)), tf.reshape(images, tf.shape(inside)))
    return tf.ensure_shape(tf.reshape(mixed, tf.shape(images)), images.shape)


def _between(draw: tf.Tensor, low: float, high: float) -> tf.Tensor:
    return low + draw * (high - low)
