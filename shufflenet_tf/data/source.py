"""What every source of images looks like to the rest of the program."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Split:
    """Encoded examples: dicts of scalars `image` (string, a file's content), `label` (int64), `orientation` (int32, EXIF 1-8).

    Attributes:
      size: number of examples; fewer come where photos vanish afterwards.
      examples: seed (an int or a scalar int64 tensor; None: file order) -> dataset of each example exactly once.
      files: the path of each example, in file order; empty where examples aren't files of their own.
    """

    size: int
    examples: Callable[[tf.Tensor | int | None], tf.data.Dataset]
    files: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Source:
    """A labelled image dataset.

    Attributes:
      name: for people.
      labels: of the classes, in order.
      train, test: the images to train on, and those for the figures that are reported at the end.
      spec: what `open_source` opened it by.
      validation: part of the training images, which `train` then lacks, to choose the best epoch on; None: none was wanted.
    """

    name: str
    labels: tuple[str, ...]
    train: Split
    test: Split
    spec: str = ""
    validation: Split | None = None
