"""The 1000 classes of ImageNet-1k, and keras.applications' two helpers for networks that were trained on it."""

import functools
import importlib.resources
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from shufflenet_tf.errors import UserError
from shufflenet_tf.preprocessing import Preprocessing

CLASSES = 1000


@functools.cache
def _classes() -> tuple[tuple[str, str], ...]:
    # One line per class, in the order of the outputs, which is that of the ids: WordNet's id, tab, a name. Names are WordNet's
    # in torchvision's spelling, except for names that two classes share; a Cardigan is a dog as well as a garment.
    text = importlib.resources.files("shufflenet_tf").joinpath("imagenet_classes.txt").read_text(encoding="utf-8")
    return tuple(tuple(line.split("\t")) for line in text.splitlines())


def synsets() -> tuple[str, ...]:
    """Returns WordNet's ids of the 1000 classes, such as "n01440764", in the order of the outputs."""
    return tuple(synset for synset, _ in _classes())


def labels() -> tuple[str, ...]:
    """Returns the English names of the 1000 classes, which are unique even if case is ignored."""
    return tuple(name for _, name in _classes())


def preprocess_input(
    x: np.ndarray | tf.Tensor, preprocessing: str | Preprocessing | Mapping[str, Any] | None = "torchvision"
) -> np.ndarray | tf.Tensor:
    """Turns pixels into a network's input; `Preprocessing.resize_and_crop` gives photos the right size.

    Args:
      x: RGB images [..., 3] with values 0-255 of any type.
      preprocessing: origin of the weights, "torchvision" (default), "tensorpack" or "megvii"; or a Preprocessing.

    Returns:
      float32 [..., 3]: an array for an array, a tensor for a tensor.

    Raises:
      UserError: the last axis doesn't have three channels, or the preprocessing is unknown.
    """
    x = x if tf.is_tensor(x) else np.asarray(x)
    if len(x.shape) == 0 or x.shape[-1] != 3:
        raise UserError(f"preprocess_input got an array of shape {list(x.shape)}: give RGB images, [..., 3].")
    result = Preprocessing.of(preprocessing).normalize(x)
    return result if tf.is_tensor(x) else result.numpy()


def decode_predictions(predictions: np.ndarray | tf.Tensor, top: int = 5) -> list[list[tuple[str, str, float]]]:
    """Names the likeliest classes of each image.

    Args:
      predictions: probabilities [N, 1000].
      top: number of classes per image, 1 to 1000.

    Returns:
      N lists of `top` triples (synset, name, probability), the likeliest first.

    Raises:
      UserError: the shape is wrong, or `top` is out of range.
    """
    predictions = np.asarray(predictions)
    if predictions.ndim != 2 or predictions.shape[1] != CLASSES:
        raise UserError(
            f"decode_predictions got an array of shape {list(predictions.shape)}: give probabilities [N, {CLASSES}]."
        )
    if not 1 <= top <= CLASSES:
        raise UserError(f"decode_predictions was asked for top={top}: give 1 to {CLASSES}.")
    return [[(*_classes()[index], float(row[index])) for index in likeliest(row, top)] for row in predictions]


def likeliest(probabilities: np.ndarray, top: int) -> np.ndarray:
    """Returns the indices of the `top` highest values of [classes], the highest first; equal ones by index."""
    # float64 holds all values exactly; the unsigned integers of a quantized model can't be negated.
    return np.argsort(-probabilities.astype(np.float64), kind="stable")[:top]
