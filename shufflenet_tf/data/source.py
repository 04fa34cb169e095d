"""The record of a dataset, which every kind of source returns; `open_source` in `data/__init__.py` opens one."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from shufflenet_tf.errors import UserError

_ALWAYS = ("image", "label", "orientation")  # what every source gives of an example


@dataclasses.dataclass(frozen=True)
class Shard:
    """The part of each global batch that a worker takes: its rows `index`, `index` + `count`, `index` + 2 `count`, ..."""

    index: int = 0
    count: int = 1

    def rows(self, values: tf.Tensor, axis: int = 0) -> tf.Tensor:
        """Returns this worker's part of what was drawn for a global batch, whose images are along `axis`."""
        return values if self.count == 1 else values[(slice(None),) * axis + (slice(self.index, None, self.count),)]


ALONE = Shard()  # the part of an only worker: all


@dataclasses.dataclass(frozen=True)
class Split:
    """Encoded examples: dicts of scalars `image` (string, a file's content), `label` (int64), `orientation` (int32, EXIF 1-8),
    and `position` (int64, in file order) where examples can be missing.

    Attributes:
      size: number of examples; fewer come where photos vanish afterwards.
      examples: (seed, wanted) -> dataset of each example exactly once, in an order that the seed decides (an int or a scalar
        int64 tensor; None: file order). `wanted`, bool [size], says at which places of this order examples are wanted; the
        others are left out, and where they are files of their own, not read. Without it, all are wanted.
      files: the path of each example, in file order; empty where examples aren't files of their own.
      service: address of the tf.data service that makes training batches of them; None: this process does. Its `examples` use
        nothing but TensorFlow's operators.
    """

    size: int
    examples: Callable[..., tf.data.Dataset]
    files: tuple[str, ...] = ()
    service: str | None = None

    def drawn(self, most: int | None = None) -> "Split":
        """Returns `most` examples (None: all), drawn at random with a fixed seed, in a fixed random order."""
        count = self.size if most is None else min(most, self.size)

        def examples(_, wanted: tf.Tensor | None = None) -> tf.data.Dataset:
            if wanted is None:
                wanted = None if count == self.size else tf.ones(count, tf.bool)
            return self.examples(0, None if wanted is None else tf.pad(wanted, [(0, self.size - count)]))

        return Split(count, examples)


def pick(examples: tf.data.Dataset, wanted: tf.Tensor | None) -> tf.data.Dataset:
    """Returns the examples at the places where `wanted`, bool [size], is true; None: all."""
    if wanted is None:
        return examples
    marked = tf.data.Dataset.zip((tf.data.Dataset.from_tensor_slices(wanted), examples))
    return marked.filter(lambda mark, _: mark).map(lambda _, example: example)


def class_counts(split: Split, classes: int) -> list[int]:
    """Returns the number of examples of each class."""
    zero = tf.zeros(classes, tf.int64)
    counts = split.examples(None).reduce(
        zero, lambda sums, example: sums + tf.one_hot(example["label"], classes, dtype=tf.int64)
    )
    return counts.numpy().tolist()


def _joined(labelled: Split, unlabelled: Split) -> Split:
    """Returns the examples of both, in one order; those of the second have the label -1."""
    if labelled.service:
        raise UserError("A tf.data service can't read --unlabelled photos: leave --data_service or --unlabelled out.")
    sides = tf.concat([tf.zeros(labelled.size, tf.int64), tf.ones(unlabelled.size, tf.int64)], 0)

    def examples(seed: tf.Tensor | int | None, wanted: tf.Tensor | None = None) -> tf.data.Dataset:
        order = sides
        if seed is not None:
            order = tf.random.experimental.stateless_shuffle(sides, tf.stack([tf.cast(seed, tf.int64), 1]))
        of_side = [None if wanted is None else tf.boolean_mask(wanted, order == side) for side in (0, 1)]
        order = order if wanted is None else tf.boolean_mask(order, wanted)
        with_label = labelled.examples(seed, of_side[0]).map(lambda example: {key: example[key] for key in _ALWAYS})
        without = unlabelled.examples(seed, of_side[1]).map(
            lambda example: {key: example[key] for key in _ALWAYS} | {"label": tf.constant(-1, tf.int64)}
        )
        return tf.data.Dataset.choose_from_datasets(
            [with_label, without], tf.data.Dataset.from_tensor_slices(order), stop_on_empty_dataset=False
        )

    return Split(labelled.size + unlabelled.size, examples, labelled.files + unlabelled.files)


@dataclasses.dataclass(frozen=True)
class Source:
    """A labelled image dataset.

    Attributes:
      name: for people.
      labels: of the classes, in order.
      train, test: the images to train on, and those for the figures that are reported at the end.
      spec, keep_copies: what `open_source` opened it by.
      unlabelled: photos that only a teacher's answers are learnt from; None: there are none.
      validation: part of the training images, which `train` then lacks, to choose the best epoch on; None: none was wanted.
      none: images of none of the classes, whose labels mean nothing; None: there are none.
    """

    name: str
    labels: tuple[str, ...]
    train: Split
    test: Split
    spec: str = ""
    keep_copies: bool = False
    validation: Split | None = None
    none: Split | None = None
    unlabelled: Split | None = None

    @property
    def all_training(self) -> Split:
        """The images to train on, with those that have no label."""
        return self.train if self.unlabelled is None else _joined(self.train, self.unlabelled)
