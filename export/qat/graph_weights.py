"""Weights and scales of an int8 graph: into the network that trains, and out of it again into a graph, to the last bit."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer.graph import Graph
from export.measure.layer_noise import short_name
from export.ptq.graph_pair import SAME_SCALE, WEIGHTED
from export.ptq.layer_tuning import write_layer
from export.qat.learned_ranges import Range, rounding_layer
from shufflenet_tf.errors import UserError
from shufflenet_tf.models.layers import HardSigmoid

TOP = 127  # of a weight in int8
_LOWEST, _HIGHEST = -128, 127  # of an activation
_WITHIN = 0.4  # steps from a whole number that a weight starts at, at most: at half of one it would be rounded either way


@dataclasses.dataclass(frozen=True)
class LayerWeights:
    """The weights of a convolution or fully connected layer.

    Attributes:
      kernel: in Keras's layout.
      bias: [channels].
      limits: the weight that 127 stands for, of each output channel.
    """

    kernel: np.ndarray
    bias: np.ndarray
    limits: np.ndarray


@dataclasses.dataclass(frozen=True)
class Start:
    """What a network in int8 begins with.

    Attributes:
      ranges: of each layer whose output is rounded.
      layers: of each that has weights.
    """

    ranges: Mapping[str, Range]
    layers: Mapping[str, LayerWeights]


def start_from_float(model: tf.keras.Model, ranges: Mapping[str, Range]) -> Start:
    """Returns the weights of a `folding.folded` model, with ranges of `learned_ranges.calibrate`; they span -127 to 127."""
    weights = {}
    for layer in model.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            channels = -2 if isinstance(layer, tf.keras.layers.DepthwiseConv2D) else -1
            largest = np.abs(np.moveaxis(kernel, channels, -1)).reshape(-1, len(bias)).max(0)
            # A channel without weights gets a range too, as its bias is in steps of it.
            weights[layer.name] = LayerWeights(kernel, bias, np.maximum(largest, max(1e-4 * largest.max(), 1e-8)))
    return Start(ranges, weights)


def start_from_graph(int8_model: bytes, float_model: bytes, model: tf.keras.Model, ranges: Mapping[str, Range]) -> Start:
    """Returns the weights of an int8 graph, as close to the float graph's as keeps their rounding.

    So a weight that lies near the middle between two int8 values stays near it, and training can flip its rounding.

    Args:
      int8_model: .tflite file of the converter, improved by `ptq.quantize`.
      float_model: that it's the int8 version of, layer by layer.
      model: the same network of `folding.folded`.
      ranges: of `learned_ranges.calibrate`, for tensors that the graph doesn't have.

    Raises:
      UserError: the graph is another network's.
    """
    graph, ends, weights, real = Graph(int8_model), {}, {}, _kernels(float_model)
    for operator in graph.operators:
        kind, output = graph.kind(operator), int(operator.outputs[0])
        layer = None if kind in SAME_SCALE else rounding_layer(model, ranges, graph.name(output))
        if layer and ranges[layer].learns and graph.type(output) == schema.TensorType.INT8:
            q, group = graph.quantization(output), ranges[layer].group
            low, high = ((end - q.zero_point[0]) * q.scale[0] for end in (_LOWEST, _HIGHEST))
            old = ends.get(group, (0.0, 0.0))
            ends[group] = min(low, old[0]), max(high, old[1])
        if kind in WEIGHTED:
            _, w, b = map(int, operator.inputs)
            scale = np.array(graph.quantization(w).scale)
            bias = graph.constant(b) * np.array(graph.quantization(b).scale)
            if layer and isinstance(model.get_layer(layer), HardSigmoid):
                bias = bias - 3  # the converter has put the first operation of min(max(x + 3, 0), 6) / 6 there
            name, whole = short_name(graph.name(output)), _from_graph(graph.constant(w), kind).astype(np.float64)
            spread = scale[:, None] if kind == "DEPTHWISE_CONV_2D" else scale
            kernel = np.clip(real[name] / spread, whole - _WITHIN, whole + _WITHIN)
            weights[name] = LayerWeights(kernel * spread, bias, scale * TOP)
    for layer in model.layers:
        if layer.weights and (layer.name not in weights or weights[layer.name].kernel.shape != layer.get_weights()[0].shape):
            raise UserError(f"{layer.name} isn't in the int8 graph to start with: give a conversion of this network.")
    started = {
        name: dataclasses.replace(r, low=ends[r.group][0], high=ends[r.group][1]) if r.group in ends else r
        for name, r in ranges.items()
    }
    return Start(started, weights)


def _kernels(float_model: bytes) -> dict[str, np.ndarray]:
    """Returns the kernel of each layer of a .tflite file, in Keras's layout."""
    graph, kernels = Graph(float_model), {}
    for operator in graph.operators:
        if (kind := graph.kind(operator)) in WEIGHTED:
            kernel = graph.constant(int(operator.inputs[1]))
            kernels[short_name(graph.name(int(operator.outputs[0])))] = _from_graph(kernel, kind)
    return kernels


def into_graph(content: bytes, layers: Mapping[str, LayerWeights]) -> bytes:
    """Returns an int8 .tflite file with the weights and scales of these layers in place of the converter's.

    Args:
      content: of the converter; see `fake_quantization.to_tflite`.
      layers: all that have weights.
    """
    graph = Graph(content)
    for operator in list(graph.operators):
        kind = graph.kind(operator)
        if kind in WEIGHTED:
            layer = layers[short_name(graph.name(int(operator.outputs[0])))]
            scale = layer.limits.astype(np.float64) / TOP
            steps = layer.kernel / (scale[:, None] if kind == "DEPTHWISE_CONV_2D" else scale)
            whole = np.clip(np.round(steps), -TOP, TOP).astype(np.int8)
            write_layer(graph, operator, _to_graph(whole, kind), scale, layer.bias)
    return graph.pack()


def _from_graph(kernel: np.ndarray, kind: str) -> np.ndarray:
    """From [1, kh, kw, channels] to [kh, kw, channels, 1]; from [outputs, (kh, kw,) inputs] to [(kh, kw,) inputs, outputs]."""
    return kernel[0][..., None] if kind == "DEPTHWISE_CONV_2D" else np.moveaxis(kernel, 0, -1)


def _to_graph(kernel: np.ndarray, kind: str) -> np.ndarray:
    return kernel[..., 0][None] if kind == "DEPTHWISE_CONV_2D" else np.ascontiguousarray(np.moveaxis(kernel, -1, 0))
