"""From encoded examples to batches of network input, for training and for evaluation."""

import math
from collections.abc import Callable

import tensorflow as tf

from shufflenet_tf.data import augment, mixing, service
from shufflenet_tf.data.decode import decode, decode_window
from shufflenet_tf.data.source import ALONE, Shard, Split
from shufflenet_tf.data.trivial_augment import trivial_augment
from shufflenet_tf.errors import UserError
from shufflenet_tf.preprocessing import Preprocessing
from shufflenet_tf.seeds import fold

_MOST_KEPT = 128 * 10**6  # bytes of decoded images


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
    shard: Shard = ALONE,
) -> tf.data.Dataset:
    """Returns an endless stream of training batches, one epoch flowing into the next.

    Row r of batch k is example k * batch_size + r of this stream. Each worker gets its rows, bit-equal, whatever the number
    of workers, and reads no more than these; see `Shard`. (Photos that vanish meanwhile move the others up.)

    Batch k is a function of `seed` and k alone (unless keras-cv's layer is used), so that a run that starts anew
    at step k continues exactly.

    Args:
      split: the examples, each seen once an epoch.
      preprocessing: of the network.
      augmentation: what happens to an image.
      size: (height, width) of the network's input, pixels.
      batch_size: images a batch, over all workers; a multiple of `shard.count`.
      classes: number of classes.
      seed: of order and augmentation.
      start_step: number of batches to leave out.
      sides: step, int64 -> (height, width) of its images, int32 [2]; None: always `size`.
      shard: the rows of each batch that are wanted.

    Returns:
      Dataset of (images float32 [n, height, width, 3], labels float32 [n, classes], one-hot before they are mixed; an example
      without a label, -1, has zeros), where n = batch_size / shard.count.

    Raises:
      UserError: MixUp or CutMix is wanted, and a worker has an odd number of images; or a tf.data service can't do this.
    """
    _check(split, augmentation, batch_size, sides is not None, shard)
    rows = batch_size // shard.count
    seed = fold(seed)
    read = _reader(preprocessing, augmentation, size, batch_size, seed, sides)
    finish = _finisher(preprocessing, augmentation, classes, seed, shard)
    ordered = _in_units if split.service else _shuffled
    examples = ordered(split, seed, start_step * batch_size, shard)
    batches = examples.map(read, num_parallel_calls=tf.data.AUTOTUNE).batch(rows, drop_remainder=True)

    def finish_batch(index, *batch):
        # A service's batches are no steps; but of all batches, one alone begins with this example.
        return finish(index[0] if split.service else index[0] // batch_size, batch)

    batches = batches.map(finish_batch, num_parallel_calls=tf.data.AUTOTUNE)
    if split.service:
        batches = service.distribute(batches, split.service)
    return batches.prefetch(tf.data.AUTOTUNE).with_options(_options())


def _options(tuned: bool = True) -> tf.data.Options:
    """Returns how a pipeline runs; `tuned`: TensorFlow adapts its parallelism all the time.

    Many images are worked on at once, so that dividing an operation between threads only costs time, a fifth of all.
    """
    options = tf.data.Options()
    options.threading.max_intra_op_parallelism = 1
    options.autotune.enabled = tuned
    return options


def _check(split: Split, augmentation: augment.Augmentation, batch_size: int, grows: bool, shard: Shard) -> None:
    """Raises what `training_batches` does; `grows`: whether images have other sizes first."""
    rows = batch_size // shard.count
    if shard.count > 1 and rows % 2 and (augmentation.mixup or augmentation.cutmix):
        raise UserError(
            f"MixUp and CutMix pair the images of a worker, and each has {rows} of {batch_size}, an odd number: "
            f"give a --batch_size that is a multiple of {2 * shard.count}."
        )
    if split.service and (grows or not augmentation.stateless):
        what = "--first_size" if grows else "--rand_augment"
        raise UserError(f"A tf.data service makes no batches with {what}: leave --data_service or {what} out.")


def _reader(
    preprocessing: Preprocessing,
    augmentation: augment.Augmentation,
    size: tuple[int, int],
    batch_size: int,
    seed: int,
    sides: Callable[[tf.Tensor], tf.Tensor] | None,
) -> Callable:
    """Returns what is done to one example: (index, example) -> (index, image, whether it is mirrored, label)."""
    randomize = augmentation.rand_augment > 0

    @tf.autograph.experimental.do_not_convert  # AutoGraph would take seconds
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
        return index, image, mirrored, example["label"]

    return read


def _finisher(
    preprocessing: Preprocessing, augmentation: augment.Augmentation, classes: int, seed: int, shard: Shard
) -> Callable:
    """Returns what is done to a batch: (step, what `_reader` gives, without the index) -> (images, labels)."""
    randomize = augment.rand_augment(augmentation)

    def finish(step, batch):
        images, mirrored, labels = batch
        images = tf.ensure_shape(randomize(images), images.shape) if randomize else images
        batch_seed = tf.stack([tf.constant(~seed, tf.int64), step])
        images = augment.jitter_and_normalize(images, mirrored, batch_seed, augmentation, preprocessing, shard)
        labels = tf.one_hot(labels, classes)
        erase_seed, mix_seed = tf.unstack(tf.random.split(batch_seed, 5)[3:])  # the first three are the colours'
        if augmentation.erase:
            images = mixing.erase(images, erase_seed, augmentation.erase, shard)
        if augmentation.mixup or augmentation.cutmix:
            images, labels = mixing.mix(images, labels, mix_seed, augmentation.mixup, augmentation.cutmix, shard)
        return images, labels

    return finish


def _shuffled(split: Split, seed: int, start: int, shard: Shard) -> tf.data.Dataset:
    """Returns (index, example) of a shard of all epochs from example `start` on, each epoch in an order of its own.

    The index counts the examples of all workers.
    """
    first_epoch, start_example = divmod(start, split.size)

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        wanted = None
        if start_example or shard.count > 1:
            wanted = _wanted(split, number, start, shard)
        # A prime apart, the epochs' seeds don't meet those of another run's next ones.
        return split.examples(seed * 1_000_003 + number, wanted)

    examples = tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(epoch).enumerate()
    return examples.map(lambda place, example: (start + place * shard.count + shard.index, example))


def _wanted(split: Split, epoch: tf.Tensor, start: int, shard: Shard) -> tf.Tensor:
    """Returns at which places of an epoch are examples of a shard from example `start` on, bool [size]."""
    before = epoch * split.size  # examples of earlier epochs
    place = tf.range(split.size)  # in 32 bits, as there may be millions
    first, residue = tf.maximum(start - before, 0), (shard.index - before) % shard.count
    return (place >= tf.cast(first, tf.int32)) & (place % shard.count == tf.cast(residue, tf.int32))


def _in_units(split: Split, seed: int, start: int, shard: Shard) -> tf.data.Dataset:
    """Returns what `_shuffled` does in an order that lets several processes take a part of each epoch."""

    def unit(number: tf.Tensor) -> tf.data.Dataset:
        epoch, part = number // service.UNITS, number % service.UNITS
        place = tf.range(split.size)
        of_unit = place // shard.count % service.UNITS == tf.cast(part, tf.int32)
        wanted = _wanted(split, epoch, start, shard) & of_unit
        indices = tf.data.Dataset.from_tensor_slices(epoch * split.size + tf.cast(tf.boolean_mask(place, wanted), tf.int64))
        return tf.data.Dataset.zip((indices, split.examples(seed * 1_000_003 + epoch, wanted)))

    return tf.data.Dataset.range(start // split.size * service.UNITS, tf.int64.max).flat_map(unit)


def numbered_evaluation_images(
    split: Split, preprocessing: Preprocessing, size: tuple[int, int], shard: Shard = ALONE
) -> tf.data.Dataset:
    """Returns (position int64, image uint8 [height, width, 3], label int64) of each example, resized and centre-cropped.

    Positions are those in file order, also where examples are missing by now. A shard has those of its positions.
    """

    @tf.autograph.experimental.do_not_convert
    def read(place, example):
        image = preprocessing.resize_and_crop(decode(example["image"], example["orientation"]), size)
        position = example.get("position", place * shard.count + shard.index)
        return position, tf.ensure_shape(image, (*size, 3)), example["label"]

    wanted = None if shard.count == 1 else tf.range(split.size) % shard.count == shard.index
    return split.examples(None, wanted).enumerate().map(read, num_parallel_calls=tf.data.AUTOTUNE)


def evaluation_images(split: Split, preprocessing: Preprocessing, size: tuple[int, int]) -> tf.data.Dataset:
    """Returns (image uint8 [height, width, 3], label int64) of each example in file order, resized and centre-cropped."""
    return numbered_evaluation_images(split, preprocessing, size).map(lambda position, image, label: (image, label))


def evaluation_batches(
    split: Split,
    preprocessing: Preprocessing,
    size: tuple[int, int],
    batch_size: int,
    classes: int,
    shard: Shard = ALONE,
    filled: bool = False,
    keep: bool = False,
) -> tf.data.Dataset:
    """Returns all examples once in file order, each of them by one of the workers.

    Args:
      split: the examples.
      preprocessing: of the network.
      size: (height, width) of the network's input, pixels.
      batch_size: images a batch, over all workers.
      classes: number of classes.
      shard: the worker's positions; see `Shard`.
      filled: whether all batches of an only worker have the same size too.
      keep: whether the decoded images of an only worker are kept in memory for the next time, if they take 128 MB at most.

    Returns:
      Dataset of (images float32 [n, height, width, 3], one-hot labels [n, classes]). Of several workers, each gets as many
      batches of the same size n, filled up with black images, and the weights [n] as a third element: 1, or 0 of a black one.
    """

    def finish(images, labels, *weights):
        return preprocessing.normalize(images), tf.one_hot(labels, classes), *weights

    images = numbered_evaluation_images(split, preprocessing, size, shard)
    if shard.count == 1 and not filled:
        if keep and split.size * math.prod(size) * 3 <= _MOST_KEPT:
            images = images.cache()
        batches = images.map(lambda _, image, label: (image, label)).batch(batch_size)
    else:
        rows = -(-batch_size // shard.count)
        filling = tf.data.Dataset.from_tensors((tf.zeros((*size, 3), tf.uint8), tf.constant(-1, tf.int64), 0.0)).repeat()
        counted = images.map(lambda _, image, label: (image, label, 1.0)).concatenate(filling)
        most = -(-split.size // shard.count)  # images of a worker
        batches = counted.batch(rows, drop_remainder=True).take(-(-most // rows))
    # A tuned iterator that is given up while it is tuned takes up to two seconds to end, and there is one each epoch.
    return (
        batches.map(finish, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE).with_options(_options(tuned=False))
    )
