"""Images for quantization-aware training: raw pixels of labelled datasets, or of any photos."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from shufflenet_tf.data import Source, Split, folder, open_source
from shufflenet_tf.data import photos as photo_files
from shufflenet_tf.data.pipeline import evaluation_images
from shufflenet_tf.errors import UserError
from shufflenet_tf.preprocessing import Preprocessing

TEST_FRACTION = 0.2


def open_photos(spec: str, data_dir: str | None = None, seed: int = 0) -> Source:
    """Opens a dataset, which need not have labels.

    Args:
      spec: a folder with photos, in whatever folders within it, of which a fifth is kept for the test; or a dataset:
        folder:PATH, tfds:NAME, shapes.
      data_dir: where TensorFlow Datasets are prepared.
      seed: of a folder's division in train and test.

    Returns:
      The dataset; of a plain folder, one without labels.

    Raises:
      UserError: there is no such folder or dataset, or it has fewer than two photos.
    """
    if not os.path.isdir(spec):
        return open_source(spec, data_dir=data_dir, seed=seed)
    files = [os.fspath(path) for path in photo_files.find(spec)]
    usable = list(folder._check_files(files, False, print).values())
    if len(usable) < 2:
        count = f"{len(usable)} photo{'' if len(usable) == 1 else 's'} that can be used"
        raise UserError(f"{spec} has {count}: give a folder with a few hundred of the kind that the model will see.")
    sides = folder._divide({"photos": usable}, pathlib.Path(spec), seed, TEST_FRACTION)
    name = pathlib.Path(spec).resolve().name
    return Source(name, (), folder._split(sides["train"]), folder._split(sides["test"]), spec)


def in_pixels(contract: Preprocessing) -> Preprocessing:
    """Returns the contract that cuts photos in the same way and leaves their pixels as they are."""
    return dataclasses.replace(contract, channel_order="rgb", scale=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def pixel_batches(
    split: Split, contract: Preprocessing, size: tuple[int, int], batch_size: int, count: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields (uint8 [N, H, W, 3], class indices [N]) as in evaluation.

    Args:
      split: the photos.
      contract: how they are cut.
      size: height and width in pixels.
      batch_size: N, but for the last batch.
      count: how many photos, drawn at random but always the same; 0: all, in order.
    """
    drawn = Split(split.size, lambda _: split.examples(0)) if count else split
    images = evaluation_images(drawn, contract, size).take(count or split.size)
    yield from images.batch(batch_size).prefetch(tf.data.AUTOTUNE).as_numpy_iterator()
