"""The record of a dataset, which every kind of source returns; `open_source` in `data/__init__.py` opens one."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Split:
    """Encoded examples: dicts of scalars `image` (string, a file's content), `label` (int64), `orientation` (int32, EXIF 1-8),
    and `position` (int64, in file order) where examples can be missing.

    Attributes:
      size: number of examples; fewer come where photos vanish afterwards.
      examples: seed (an int or a scalar int64 tensor; None: file order) -> dataset of each example exactly once.
      files: the path of each example, in file order; empty where examples aren't files of their own.
    """

    size: int
    examples: Callable[[tf.Tensor | int | None], tf.data.Dataset]
    files: tuple[str, ...] = ()


def class_counts(split: Split, classes: int) -> list[int]:
    """Returns the number of examples of each class."""
    zero = tf.zeros(classes, tf.int64)
    counts = split.examples(None).reduce(
        zero, lambda sums, example: sums + tf.one_hot(example["label"], classes, dtype=tf.int64)
    )
    return counts.numpy().tolist()


def _joined(labelled: Split, unlabelled: Split) -> Split:
    """Returns the examples of both, in one order; those of the second have the label -1."""
    sides = tf.concat([tf.zeros(labelled.size, tf.int64), tf.ones(unlabelled.size, tf.int64)], 0)

    def examples(seed: tf.Tensor | int | None) -> tf.data.Dataset:
        order = sides
        if seed is not None:
            order = tf.random.experimental.stateless_shuffle(sides, tf.stack([tf.cast(seed, tf.int64), 1]))
        without = unlabelled.examples(seed).map(lambda example: {**example, "label": tf.constant(-1, tf.int64)})
        return tf.data.Dataset.choose_from_datasets(
            [labelled.examples(seed), without], tf.data.Dataset.from_tensor_slices(order), stop_on_empty_dataset=False
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
