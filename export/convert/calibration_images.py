"""Reads the photos that calibrate the ranges of int8 activations."""

import os
from collections.abc import Callable

import numpy as np

import shufflenet_tf as st
from shufflenet_tf.data import Source, open_source, photos
from shufflenet_tf.data.decode import UndecodableError
from shufflenet_tf.data.pipeline import evaluation_images
from shufflenet_tf.errors import UserError


def read_calibration_images(
    spec: str, bundle: st.Bundle, count: int, opened: Callable[[str], Source] = open_source
) -> list[np.ndarray]:
    """Reads calibration images, drawn at random with a fixed seed.

    Args:
      spec: a folder with photos, which may have subfolders; or a dataset (folder:PATH, tfds:NAME, shapes), of which the
        training part is used.
      bundle: the model; gives the size and the preprocessing.
      count: number of images.
      opened: opens a dataset.

    Returns:
      uint8 [height, width, 3] each.

    Raises:
      UserError: the folder or dataset does not exist, or has too few images.
    """
    random = np.random.default_rng(0)
    if not os.path.isdir(spec):
        source = opened(spec)
        if source.train.size < count:
            raise UserError(_too_few(spec, source.train.size, count))
        dataset = evaluation_images(source.train.drawn(), bundle.preprocessing, bundle.size).take(count)
        return [image for image, _ in dataset.as_numpy_iterator()]
    images = []
    for path in random.permutation(np.array(photos.find(spec), object)):
        if len(images) == count:
            break
        try:
            images.append(photos.read(path, bundle.preprocessing, bundle.size))
        except UndecodableError:
            continue  # unreadable: take another one
    if len(images) < count:
        raise UserError(_too_few(spec, len(images), count))
    return images


def _too_few(spec: str, available: int, count: int) -> str:
    if not available:
        return f"There is no photo in {spec}: give a folder with about {count} photos like those that the model will see."
    return f"{spec} has {available} images, but {count} were requested: give --calibration_images={available}, or more photos."
