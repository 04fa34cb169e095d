"""From encoded examples to batches of network input, for training and for evaluation."""

from collections.abc import Callable

import tensorflow as tf

from shufflenet_tf.data import augment, mixing
from shufflenet_tf.data.decode import decode, decode_window
from shufflenet_tf.data.source import Split
from shufflenet_tf.data.trivial_augment import trivial_augment
from shufflenet_tf.preprocessing import Preprocessing
from shufflenet_tf.seeds import fold


def training_batches(
    split: Split,
    preprocessing: Preprocessing,
    augmentation: augment.Augmentation,
    size: tuple[int, int],
    batch_size: int,
    classes: int,
    seed: int,
    start_step: int = 0,
    sides: Callable[[tf.Tensor], tf.Tensor] | None = None,
) -> tf.data.Dataset:
    """Returns an endless stream of training batches, one epoch flowing into the next.

    Batch k is a function of `seed` and k alone (unless keras-cv's layer is used), so that a run that starts anew
    at step k continues exactly.

    Args:
      split: the examples, each seen once an epoch.
      preprocessing: of the network.
      augmentation: what happens to an image.
      size: (height, width) of the network's input, pixels.
      batch_size: images a batch.
      classes: number of classes.
      seed: of order and augmentation.
      start_step: number of batches to leave out.
      sides: step, int64 -> (height, width) of its images, int32 [2]; None: always `size`.

    Returns:
      Dataset of (images float32 [batch_size, height, width, 3], labels float32 [batch_size, classes], one-hot before they are
      mixed; an example without a label, -1, has zeros).
    """
    seed = fold(seed)
    read = _reader(preprocessing, augmentation, size, batch_size, seed, sides)
    finish = _finisher(preprocessing, augmentation, classes, seed)
    examples = _shuffled(split, seed, start_step * batch_size)
    batches = examples.map(read, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size, drop_remainder=True)
    batches = batches.enumerate(start_step).map(finish, num_parallel_calls=tf.data.AUTOTUNE)
    return batches.prefetch(tf.data.AUTOTUNE)


def _reader(
    preprocessing: Preprocessing,
    augmentation: augment.Augmentation,
    size: tuple[int, int],
    batch_size: int,
    seed: int,
    sides: Callable[[tf.Tensor], tf.Tensor] | None,
) -> Callable:
    """Returns what is done to one example: (index, example) -> (image, whether it is mirrored, label)."""
    randomize = augmentation.rand_augment > 0

    def read(index, example):
        example_seed = tf.stack([tf.constant(seed, tf.int64), index])
        now = sides(index // batch_size) if sides else size
        if augmentation.min_area == 1:
            image = preprocessing.resize_and_crop(decode(example["image"], example["orientation"]), size)
        else:
            window = augment.random_window(example_seed, augmentation)
            image = decode_window(example["image"], example["orientation"], window, now)
        image = tf.image.resize(image, now) if sides or augmentation.min_area < 1 else image
        shape = (None, None, 3) if sides else (*size, 3)
        image, mirrored = tf.cast(tf.ensure_shape(image, shape), tf.float32), tf.constant(False)
        if augmentation.trivial_augment:
            image = tf.ensure_shape(trivial_augment(image, tf.random.split(example_seed, 2)[1]), shape)
        if augmentation.flip and randomize:
            image = tf.image.stateless_random_flip_left_right(image, example_seed)
        elif augmentation.flip:
            image, mirrored = augment.mirror(image, example_seed)
        return image, mirrored, example["label"]

    return read


def _finisher(preprocessing: Preprocessing, augmentation: augment.Augmentation, classes: int, seed: int) -> Callable:
    """Returns what is done to a batch: (step, what `_reader` gives) -> (images, labels)."""
    randomize = augment.rand_augment(augmentation)

    def finish(step, batch):
        images, mirrored, labels = batch
        images = tf.ensure_shape(randomize(images), images.shape) if randomize else images
        batch_seed = tf.stack([tf.constant(~seed, tf.int64), step])
        images = augment.jitter_and_normalize(images, mirrored, batch_seed, augmentation, preprocessing)
        labels = tf.one_hot(labels, classes)
        erase_seed, mix_seed = tf.unstack(tf.random.split(batch_seed, 5)[3:])  # the first three are the colours'
        if augmentation.erase:
            images = mixing.erase(images, erase_seed, augmentation.erase)
        if augmentation.mixup or augmentation.cutmix:
            images, labels = mixing.mix(images, labels, mix_seed, augmentation.mixup, augmentation.cutmix)
        return images, labels

    return finish


def _shuffled(split: Split, seed: int, start: int) -> tf.data.Dataset:
    """Returns (index, example) of all epochs from example `start` on, each epoch in an order of its own."""
    start_epoch, start_example = divmod(start, split.size)
    epochs = tf.data.Dataset.range(start_epoch, tf.int64.max)
    # A prime apart, the epochs' seeds don't meet those of another run's next ones.
    examples = epochs.flat_map(lambda epoch: split.examples(seed * 1_000_003 + epoch)).skip(start_example)
    return examples.enumerate(start)


def numbered_evaluation_images(split: Split, preprocessing: Preprocessing, size: tuple[int, int]) -> tf.data.Dataset:
    """Returns (position int64, image uint8 [height, width, 3], label int64) of each example, resized and centre-cropped.

    Positions are those in file order, also where examples are missing by now.
    """

    def read(index, example):
        image = preprocessing.resize_and_crop(decode(example["image"], example["orientation"]), size)
        return example.get("position", index), tf.ensure_shape(image, (*size, 3)), example["label"]

    return split.examples(None).enumerate().map(read, num_parallel_calls=tf.data.AUTOTUNE)


def evaluation_images(split: Split, preprocessing: Preprocessing, size: tuple[int, int]) -> tf.data.Dataset:
    """Returns (image uint8 [height, width, 3], label int64) of each example in file order, resized and centre-cropped."""
    return numbered_evaluation_images(split, preprocessing, size).map(lambda position, image, label: (image, label))


def evaluation_batches(
    split: Split, preprocessing: Preprocessing, size: tuple[int, int], batch_size: int, classes: int
) -> tf.data.Dataset:
    """Returns all examples once in file order: (images float32 [n, height, width, 3], one-hot labels [n, classes])."""
    batches = evaluation_images(split, preprocessing, size).batch(batch_size)
    return batches.map(
        lambda images, labels: (preprocessing.normalize(images), tf.one_hot(labels, classes)),
        num_parallel_calls=tf.data.AUTOTUNE,
    ).prefetch(tf.data.AUTOTUNE)
