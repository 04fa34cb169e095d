"""Compares a network with the original that its weights come from: the network and the preprocessing separately."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from shufflenet_tf.data.decode import decode
from shufflenet_tf.errors import UserError

_LAYERS = {"logits": "linear", "maxpool": "pool1", "conv_last": "conv5"}
PIXELS = "image_uint8_rgb_nhwc"


@dataclasses.dataclass(frozen=True)
class Difference:
    """The difference between two arrays that should be equal.

    Attributes:
      part: "modelling" (the network, given the original's input), "preprocessing" or "both".
      what: name of the compared arrays.
      largest: largest absolute difference.
      scale: largest absolute value of the original.
    """

    part: str
    what: str
    largest: float
    scale: float

    def __str__(self) -> str:
        relative = f"{self.largest / self.scale:9.1e} of the largest" if self.scale else ""
        return f"  {self.part:14} {self.what:28} {self.largest:9.2e}  {relative}"


def compare(
    model: tf.keras.Model,
    reference: Mapping[str, np.ndarray],
    inputs: Mapping[str, np.ndarray],
    photos: pathlib.Path | None = None,
) -> list[Difference]:
    """Compares `model`, which has the weights, with the results of the original framework.

    Args:
      model: a model of this project.
      reference: `logits` [N, classes], and outputs of inner layers [1, C, H, W] under their names (`stage2`, `conv5`, …);
        names that the model doesn't have are ignored.
      inputs: the original's input, float32 [N, 3, H, W], under a name that contains "float32"; the pixels that it was
        computed from, `image_uint8_rgb_nhwc`; and `files`, the photos' names.
      photos: folder of these photos, to compare the resizing too.

    Raises:
      UserError: an array is missing or has another shape.
    """
    fed, pixels = _fed(model, inputs)
    if "logits" not in reference:
        raise UserError(f"The reference has no 'logits', only {', '.join(reference) or 'nothing'}: save them as [N, classes].")
    count = min(len(fed), len(reference["logits"]))
    layers = {name: layer for name in reference if (layer := _layer(model, name))}
    outputs = tf.keras.Model(model.input, {name: layer.output for name, layer in layers.items()})
    results = outputs(fed[:count], training=False)
    rows = [_difference("modelling", name, results[name][: len(reference[name])], reference[name]) for name in layers]
    contract = model.preprocessing
    rows.append(_difference("preprocessing", "scale and channel order", contract.normalize(pixels), fed))
    if photos is not None:
        files = [photos / os.path.basename(str(name)) for name in inputs["files"]]
        size = model.input_shape[1:3]
        ours = np.stack([contract.resize_and_crop(decode(tf.io.read_file(os.fspath(file))), size) for file in files])
        rows.append(_difference("preprocessing", "resize and crop, 0-255", ours.astype(np.float32), pixels.astype(np.float32)))
        logits = outputs(contract.normalize(ours[:count]), training=False)["logits"]
        rows.append(_difference("both", "logits from the photo files", logits, reference["logits"][:count]))
    return rows


def _fed(model: tf.keras.Model, inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the original's input [N, H, W, 3] and the pixels that it was computed from."""
    name = next((name for name in inputs if "float32" in name), None)
    if name is None or PIXELS not in inputs:
        raise UserError(f"The inputs are {', '.join(inputs) or 'nothing'}: give a float32 array and {PIXELS!r}.")
    fed = inputs[name].transpose(0, 2, 3, 1) if inputs[name].ndim == 4 and inputs[name].shape[1] == 3 else inputs[name]
    if fed.shape != inputs[PIXELS].shape or fed.shape[1:] != model.input_shape[1:]:
        raise UserError(
            f"The inputs have shapes {fed.shape} and {inputs[PIXELS].shape}: give images of shape {model.input_shape[1:]}."
        )
    return fed, inputs[PIXELS]


def _layer(model: tf.keras.Model, name: str) -> tf.keras.layers.Layer | None:
    """Returns the layer of `model` whose output is called `name` in the original frameworks."""
    path = _LAYERS.get(name, name)
    unit = re.match(r"(stage\d)(_block\d+)?", path)
    names = [layer.name for layer in model.layers]
    if unit:
        block = unit[2] or f"_block{sum(layer.startswith(f'{unit[1]}.block') for layer in names) - 1}"
        path = f"{unit[1]}{block.replace('_', '.')}"
    return model.get_layer(path) if path in names else None


def _difference(part: str, what: str, ours: tf.Tensor | np.ndarray, theirs: np.ndarray) -> Difference:
    ours = np.asarray(ours)
    theirs = theirs.transpose(0, 2, 3, 1) if theirs.ndim == 4 and theirs.shape != ours.shape else theirs
    if ours.shape != theirs.shape:
        raise UserError(f"The reference's {what} has shape {theirs.shape}, but {ours.shape} is expected: give this network's.")
    return Difference(part, what, float(np.abs(ours - theirs).max()), float(np.abs(theirs).max()))
