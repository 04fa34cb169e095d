"""Quantized tensors of a network: which of them share a range, and where the ranges start.

A tensor that an operator only moves or picks values of keeps its range, or int8 would be rescaled on the way. So the inputs
of a concatenation share one; and as each unit of ShuffleNet V2 passes half of its input on into the next unit's
concatenation, so does a whole stage.
"""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf

from shufflenet_tf.errors import UserError
from shufflenet_tf.models.layers import ChannelShuffle, ChannelSplit, HardSigmoid

layers = tf.keras.layers
_KEEPING = (
    ChannelShuffle,
    ChannelSplit,
    layers.AveragePooling2D,
    layers.Concatenate,
    layers.Dropout,
    layers.Flatten,
    layers.MaxPooling2D,
    layers.Reshape,
    layers.ZeroPadding2D,
)
_NO_NUMBERS = "The layer {} {} that are no numbers: the model is damaged, or its training diverged."
_FIXED = {HardSigmoid: (0.0, 1.0)}


@dataclasses.dataclass(frozen=True)
class Range:
    """What the 256 steps of a tensor span.

    Attributes:
      group: name of the range; tensors of one group share it.
      low, high: at the start; low <= 0 <= high.
      learns: whether training may move them.
    """

    group: str
    low: float
    high: float
    learns: bool = True


def groups(model: tf.keras.Model) -> dict[str, str]:
    """Returns the range's name of each layer of a `folding.folded` model whose output is rounded, in order.

    A convolution or addition before a ReLU is one operator with it, and only the result is rounded.
    """
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for layer in model.layers:
        parent[layer.name] = layer.name
        if _is_identity(layer) or isinstance(layer, _KEEPING):
            for source in _sources(layer):
                parent[root(source.name)] = root(layer.name)
    # Named after the first layer that is rounded.
    names: dict[str, str] = {}
    return {layer.name: names.setdefault(root(layer.name), layer.name) for layer in model.layers if _is_rounded(layer)}


def _is_rounded(layer: tf.keras.layers.Layer) -> bool:
    if isinstance(layer, layers.AveragePooling2D):
        return True  # keeps its range, but means lie between the steps
    if isinstance(layer, (*_KEEPING, layers.InputLayer)) or _is_identity(layer) or layer.name == "probabilities":
        return False
    return not any(_is_relu(reader) for reader in _readers(layer))


def _is_identity(layer: tf.keras.layers.Layer) -> bool:
    return isinstance(layer, layers.Activation) and layer.activation is tf.keras.activations.linear


def _is_relu(layer: tf.keras.layers.Layer) -> bool:
    return isinstance(layer, layers.Activation) and layer.activation is tf.keras.activations.relu


def _sources(layer: tf.keras.layers.Layer) -> list[tf.keras.layers.Layer]:
    return tf.nest.flatten([node.inbound_layers for node in layer.inbound_nodes])


def _readers(layer: tf.keras.layers.Layer) -> Iterable[tf.keras.layers.Layer]:
    """The layers that read this one's output, those behind an identity too."""
    for node in layer.outbound_nodes:
        reader = node.outbound_layer
        if _is_identity(reader):
            yield from _readers(reader)
        else:
            yield reader


def rounding_layer(model: tf.keras.Model, ranges: Mapping[str, Range], tensor: str) -> str | None:
    """Returns the layer of `ranges` that makes a tensor of a converted graph, or None.

    Args:
      model: of `folding.folded`.
      ranges: of `calibrate`.
      tensor: its name, which lists the operators that were fused into it, the last one first: "network/unit/layer/Relu;…".
    """
    known = {layer.name: layer for layer in model.layers}
    for path in tensor.split(";"):
        name = next((part for part in reversed(path.split("/")) if part in known), None)
        while name is not None and name not in ranges:
            name = _sources(known[name])[0].name if _is_identity(known[name]) else None
        if name is not None:
            return name
    return None


def calibrate(model: tf.keras.Model, batches: Iterable[np.ndarray]) -> Mapping[str, Range]:
    """Returns the range of each layer whose output is rounded: from the smallest to the largest value on some photos.

    Args:
      model: of `folding.folded`.
      batches: uint8 [N, H, W, 3].

    Raises:
      UserError: there are no photos, a layer's values are not finite, or all of them are zero.
    """
    for layer in model.layers:
        if not all(np.isfinite(array).all() for array in layer.get_weights()):
            raise UserError(_NO_NUMBERS.format(layer.name, "has weights"))
    grouped = groups(model)
    probe = tf.keras.Model(model.input, [model.get_layer(name).output for name in grouped])
    extremes = tf.function(lambda pixels: [(tf.reduce_min(x), tf.reduce_max(x)) for x in probe(pixels, training=False)])
    low, high = np.zeros(len(grouped)), np.zeros(len(grouped))
    count = 0
    for pixels in batches:
        batch = np.array(extremes(tf.cast(pixels, tf.float32)))
        for name, values in zip(grouped, batch, strict=True):
            if not np.isfinite(values).all():
                raise UserError(_NO_NUMBERS.format(name, "gives values"))
        low, high = np.minimum(low, batch[:, 0]), np.maximum(high, batch[:, 1])
        count += len(pixels)
    if not count:
        raise UserError("There are no photos to take ranges from: give a dataset that has some.")
    ends: dict[str, tuple[float, float]] = {}
    for group, a, b in zip(grouped.values(), low, high, strict=True):
        old = ends.get(group, (0.0, 0.0))
        ends[group] = min(old[0], float(a)), max(old[1], float(b))
    for group, (a, b) in ends.items():
        if a == b:
            raise UserError(
                f"The layer {group} gives nothing but zeros on {count} photos, so that it has no range: "
                "its channels are dead; give other photos, or a model whose training went well."
            )
    ranges = {}
    for name, group in grouped.items():
        fixed = _FIXED.get(type(model.get_layer(name)))
        ranges[name] = Range(group, *fixed, learns=False) if fixed else Range(group, *ends[group])
    return ranges
