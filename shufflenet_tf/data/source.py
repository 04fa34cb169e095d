"""The record of a dataset, which every kind of source returns; `open_source` in `data/__init__.py` opens one."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Split:
    """Encoded examples: dicts of scalars `image` (string, a file's content), `label` (int64), `orientation` (int32, EXIF 1-8).

    Attributes:
      size: number of examples; fewer come where photos vanish afterwards.
      examples: seed (an int or a scalar int64 tensor; None: file order) -> dataset of each example exactly once.
    """

    size: int
    examples: Callable[[tf.Tensor | int | None], tf.data.Dataset]


@dataclasses.dataclass(frozen=True)
class Source:
    """A labelled image dataset with a split to train on and one to test on; `spec` is what `open_source` opened it by."""

    name: str
    labels: tuple[str, ...]
    train: Split
    test: Split
    spec: str = ""
