"""Where a network looks: which parts of an image speak for a class.

The map of a class is Grad-CAM's (Selvaraju et al. 2017) with the gradient taken at each place instead of its mean (HiResCAM,
Draelos and Carin 2020). Behind a global average pool and one dense layer, both are the class activation map: the sum over
channels of map times weight of the class. The gradient at each place also serves networks without such a pool, and maps
further down.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from shufflenet_tf.errors import UserError
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.tflite_classifier import LiteClassifier

MIN_CELLS = 4  # on the shorter side of a map: fewer would say no more than left or right


def heat_maps(model: ImageClassifier | LiteClassifier, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Returns which places of images speak for a class: float32 [N, h, w], 0 (nothing, or against it) to 1 (most).

    The map is the network's last one, or, if that has fewer than 4 cells on a side, the last of a smaller stride that has.

    Args:
      model: a network with a classifier.
      images: uint8 RGB [N, height, width, 3], as the network sees them.
      classes: int [N], the class that is asked about, image by image.

    Raises:
      UserError: the model is a .tflite file, which has no gradients, or has no classifier.
    """
    check(model)
    if not len(images):
        return np.zeros((0, 1, 1), np.float32)
    split = tf.keras.Model(model.input, [_map(model, images.shape[1:3]), model.logits])
    inputs = tf.convert_to_tensor(model.preprocessing.normalize(images))
    with tf.GradientTape() as tape:
        tape.watch(inputs)  # of frozen weights alone nothing would be recorded
        maps, logits = split(inputs, training=False)
        asked = tf.reduce_sum(tf.gather(logits, classes, batch_dims=1))
    heat = tf.nn.relu(tf.reduce_sum(maps * tape.gradient(asked, maps), axis=-1)).numpy().astype(np.float32)
    return heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), np.finfo(np.float32).tiny)


def check(model: ImageClassifier | LiteClassifier) -> None:
    """Raises a UserError if `heat_maps` can't explain a model."""
    if isinstance(model, LiteClassifier):
        raise UserError(
            "A .tflite file can't say where it looks, because it has no gradients: give the model.keras it came from."
        )
    if model.logits is None:
        raise UserError(f"{model.name} has no classifier, so that it looks for nothing: give a whole model.")


def _map(model: ImageClassifier, size: tuple[int, int]) -> Any:
    """The symbolic map to explain by: the last one, or the last of a smaller stride that is fine enough."""
    maps = [*sorted(model.stages.items(), key=lambda item: int(item[0].removeprefix("stride"))), ("last", model.last_map)]
    sides = [min(tensor.shape[1:3]) if None not in tensor.shape[1:3] else _side(name, size) for name, tensor in maps]
    fine = [tensor for (_, tensor), side in zip(maps, sides, strict=True) if side >= MIN_CELLS]
    return fine[-1] if fine else maps[0][1]


def _side(name: str, size: tuple[int, int]) -> int:
    """About how many cells the shorter side of a map has where the network takes images of any size."""
    return min(size) // int(name.removeprefix("stride") if name != "last" else 32)
