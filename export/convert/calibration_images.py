"""The photos that the ranges of int8's activations are taken from."""

import os

import numpy as np

import shufflenet_tf as st
from shufflenet_tf.data import Split, open_source, photos
from shufflenet_tf.data.decode import UndecodableError
from shufflenet_tf.data.pipeline import evaluation_images
from shufflenet_tf.errors import UserError


def read_calibration_images(spec: str, bundle: st.Bundle, count: int, data_dir: str | None = None) -> list[np.ndarray]:
    """Reads images to calibrate with, drawn at random but always the same.

    Args:
      spec: a folder with photos, in whatever folders within it; or a dataset, whose training part is used: folder:PATH,
        tfds:NAME, shapes.
      bundle: the model, for its size and preprocessing.
      count: how many.
      data_dir: where TensorFlow Datasets are prepared.

    Returns:
      uint8 [height, width, 3] each.

    Raises:
      UserError: there is no such folder or dataset, or it has fewer images.
    """
    random = np.random.default_rng(0)
    if not os.path.isdir(spec):
        source = open_source(spec, data_dir=data_dir)
        if source.train.size < count:
            raise UserError(_too_few(spec, source.train.size, count))
        drawn = Split(source.train.size, lambda _: source.train.examples(0))
        dataset = evaluation_images(drawn, bundle.preprocessing, bundle.size).take(count)
        return [image for image, _ in dataset.as_numpy_iterator()]
    images = []
    for path in random.permutation(np.array(photos.find(spec), object)):
        if len(images) == count:
            break
        try:
            images.append(photos.read(path, bundle.preprocessing, bundle.size))
        except UndecodableError:
            continue  # another one serves as well
    if len(images) < count:
        raise UserError(_too_few(spec, len(images), count))
    return images


def _too_few(spec: str, available: int, count: int) -> str:
    if not available:
        return f"There is no photo in {spec}: give a folder with some {count} of the kind that the model will see."
    return f"{spec} has {available} images and {count} are asked for: give --calibration_images={available}, or more photos."
