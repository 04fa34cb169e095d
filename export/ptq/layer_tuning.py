"""Derives int8 weights and biases layer by layer, given the activations that the int8 graph computes before each layer."""

import dataclasses

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer.graph import Graph, Quantization
from export.flatbuffer.model import Step
from export.ptq import weight_rounding
from export.ptq.execution import run_side_by_side
from export.ptq.graph_pair import WEIGHTED, GraphPair, OperatorPair
from export.ptq.layer_matrix import LayerMatrix
from export.ptq.narrow_ranges import Narrowing

# Per type of activations: the largest bias that kernels take, and its type.
_BIASES = {schema.TensorType.INT8: (2**31 - 1, np.int32), schema.TensorType.INT16: (2**39 - 1, np.int64)}
_BIAS_BITS = 29  # bits of a bias before correction
_FINEST = 2.0**-30  # smallest ratio of scales that delegates take


@dataclasses.dataclass(frozen=True)
class Tuning:
    """The enabled steps for each layer.

    Attributes:
      narrow: whether to narrow ranges where the next operator sets values to zero.
      refit: whether to adapt weights to the quantized inputs.
      compensate: whether to round weights so that their errors cancel on the images, instead of to the nearest.
      correct: whether to correct biases so that each channel has the float graph's mean.
    """

    narrow: bool = False
    refit: bool = False
    compensate: bool = False
    correct: bool = False


PLAIN = Tuning()


def tune(pair: GraphPair, images: np.ndarray, tuning: Tuning, threads: int = 1) -> list[Step]:
    """Derives the int8 weights and biases from the float graph's, in place.

    Args:
      pair: the graphs; the activation scales are final, except where `tuning.narrow` changes them.
      images: uint8 [N, H, W, 3].
      tuning: the enabled steps.
      threads: threads of each interpreter.

    Returns:
      The steps.
    """
    layers = [operator for operator in pair.operators if operator.kind in WEIGHTED]
    if tuning == PLAIN:
        for layer in layers:
            write_layer(pair.int8_graph, layer.int8_op, *_quantized(pair, layer, LayerMatrix(pair.float_graph, layer)))
        return []
    random, narrowing, refitted, compensated = np.random.default_rng(0), Narrowing(pair), 0, 0
    for operator, float_run, int8_run in run_side_by_side(pair, images, threads):
        if operator.kind not in WEIGHTED:
            continue
        if tuning.narrow:
            narrowing.narrow(operator, float_run)
        matrix, int8_input = LayerMatrix(pair.float_graph, operator), int(operator.int8_op.inputs[0])
        positions = matrix.sample_positions(len(images), random)
        float_inputs = matrix.inputs(float_run.values[matrix.input], positions)
        q = pair.int8_graph.quantization(int8_input)
        int8_inputs = matrix.inputs(int8_run.values[int8_input], positions, q.zero_point[0]) * np.float32(q.scale[0])
        covariances = None
        # With fewer samples, errors would cancel only on these images.
        if weight_rounding.has_enough_samples(int8_inputs) and (tuning.refit or tuning.compensate):
            covariances = weight_rounding.covariance(int8_inputs)
        if tuning.refit and covariances is not None:
            numbers = matrix.weights, matrix.bias, float_inputs, int8_inputs, covariances
            matrix.weights, matrix.bias = weight_rounding.refit(*numbers)
            refitted += 1
        compensated += tuning.compensate and covariances is not None
        means = (weight_rounding.mean(float_inputs), weight_rounding.mean(int8_inputs)) if tuning.correct else None
        quantized = _quantized(pair, operator, matrix, covariances if tuning.compensate else None, means)
        write_layer(pair.int8_graph, operator.int8_op, *quantized)
    gains = narrowing.gains
    steps = [
        (tuning.narrow, "narrower ranges", f"{len(gains)} activations, {np.mean(gains or [0]):.1f} dB on average"),
        (tuning.refit, "weights adapted to quantized inputs", f"{refitted} layers"),
        (tuning.compensate, "rounding with compensation", f"{compensated} layers"),
        (tuning.correct, "bias correction", f"{len(layers)} layers"),
    ]
    return [Step(name, True, text) for is_part, name, text in steps if is_part]


def _quantized(
    pair: GraphPair,
    operator: OperatorPair,
    matrix: LayerMatrix,
    covariances: np.ndarray | None = None,
    means: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns int8 weights, their scales [channels], and the bias [channels] as real numbers.

    Args:
      pair, operator, matrix: the layer.
      covariances: covariances of the layer's inputs in the int8 graph, [G, K, K]; None: weights are rounded to the nearest.
      means: means of its inputs in the float and in the int8 graph, [G, K] each; None: biases are not corrected.
    """
    weights, bias = matrix.weights, matrix.bias
    tensors = operator.int8_op.inputs[0], operator.int8_op.outputs[0]
    x, y = (pair.int8_graph.quantization(int(t)).scale[0] for t in tensors)
    # For nearly dead channels: their bias must fit into 32 bits, and the ratio of scales into the kernels' arithmetic.
    smallest = np.maximum(np.abs(bias) / (x * 2.0**_BIAS_BITS), y / x * _FINEST)
    scale = weight_rounding.scales(weights, smallest)
    if covariances is None:
        rounded = weight_rounding.round_to_nearest(weights, scale)
    else:
        rounded = weight_rounding.round_with_compensation(weights, scale, covariances)
    if means is not None:
        float_mean, int8_mean = (mean[..., None] for mean in means)  # [G, K, 1]
        bias = bias + (weights @ float_mean - (rounded * scale[..., None]) @ int8_mean)[..., 0]
    return matrix.kernel(rounded).astype(np.int8), scale.ravel(), bias.ravel()


def write_layer(graph: Graph, operator: schema.OperatorT, kernel: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> None:
    """Writes the weights and biases of a layer into an integer graph.

    Args:
      graph, operator: the layer; the scale of its input is final.
      kernel: int8, in the shape and order of the graph's constant.
      scale: scale of each output channel, [channels].
      bias: real numbers, [channels].
    """
    x, w, b = (int(t) for t in (*operator.inputs, -1)[:3])
    axis = 3 if graph.kind(operator) == "DEPTHWISE_CONV_2D" else 0
    zeros = (0,) * len(scale)
    new = graph.add_constant(kernel, graph.name(w), like=w)
    graph.set_quantization(new, Quantization(tuple(scale), zeros, axis))
    steps = scale.astype(np.float32) * np.float32(graph.quantization(x).scale[0])
    largest, type_ = _BIASES[graph.type(x)]
    rounded = np.clip(np.round(bias / steps.astype(np.float64)), -largest, largest)
    name = graph.name(b) if b >= 0 else f"{graph.name(w)}/bias"
    added = graph.add_constant(rounded.astype(type_), name)
    graph.set_quantization(added, Quantization(tuple(steps), zeros))
    operator.inputs = [x, new, added]
