"""Images for quantization-aware training: raw pixels from labelled datasets or any photos."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from shufflenet_tf.data import Source, Split, division, open_source
from shufflenet_tf.data import photos as photo_files
from shufflenet_tf.data.checked_photos import check_photos, split_of
from shufflenet_tf.data.pipeline import evaluation_images
from shufflenet_tf.errors import UserError
from shufflenet_tf.preprocessing import Preprocessing

TEST_FRACTION = 0.2


def open_photos(spec: str, data_dir: str | None = None, seed: int = 0, **divided: bool) -> Source:
    """Opens a dataset; labels are optional.

    Args:
      spec: a folder with photos, which may have subfolders; a fifth of the photos is kept for testing; or a dataset:
        folder:PATH, tfds:NAME, shapes.
      data_dir: folder of the prepared TensorFlow Datasets.
      seed: seed of the split of a folder into training and test photos.
      **divided: options of `open_source`, see `loading.training_division`.

    Returns:
      The dataset; without labels if `spec` is a plain folder.

    Raises:
      UserError: the folder or dataset does not exist, or has fewer than two photos.
    """
    if not os.path.isdir(spec):
        return open_source(spec, data_dir=data_dir, seed=seed, **divided)
    files = [os.fspath(path) for path in photo_files.find(spec)]
    usable = list(check_photos(files, False, print).values())
    if len(usable) < 2:
        count = f"{len(usable)} usable photo{'' if len(usable) == 1 else 's'}"
        raise UserError(f"{spec} has {count}: give a folder with a few hundred like those that the model will see.")
    train, test = division.divide({"photos": usable}, pathlib.Path(spec), f"{seed}", TEST_FRACTION)
    name = pathlib.Path(spec).resolve().name
    return Source(name, (), split_of(train, False, print), split_of(test, False, print), spec)


def in_pixels(contract: Preprocessing) -> Preprocessing:
    """Returns a preprocessing contract with the same resizing and cropping that leaves pixel values unchanged."""
    return dataclasses.replace(contract, channel_order="rgb", scale=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def pixel_batches(
    split: Split, contract: Preprocessing, size: tuple[int, int], batch_size: int, count: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields (uint8 [N, H, W, 3], class indices [N]) as in evaluation.

    Args:
      split: the photos.
      contract: preprocessing; defines resizing and cropping.
      size: height and width in pixels.
      batch_size: N, except for the last batch.
      count: number of photos, drawn at random with a fixed seed; 0: all, in order.
    """
    drawn = split.drawn() if count else split
    images = evaluation_images(drawn, contract, size).take(count or split.size)
    yield from images.batch(batch_size).prefetch(tf.data.AUTOTUNE).as_numpy_iterator()
