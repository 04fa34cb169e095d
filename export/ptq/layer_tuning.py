"""Derives int8 weights and biases layer by layer, each on the activations that the int8 graph computes before it."""

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

# Of a bias, by type of activations: the largest value that kernels take, and its type.
_BIASES = {schema.TensorType.INT8: (2**31 - 1, np.int32), schema.TensorType.INT16: (2**39 - 1, np.int64)}
_BIAS_BITS = 29  # of a bias before it's corrected
_FINEST = 2.0**-30  # ratio of scales that delegates still take


@dataclasses.dataclass(frozen=True)
class Tuning:
    """The steps to take for each layer.

    Attributes:
      narrow: whether ranges are cut where the next operator makes values zero.
      refit: whether weights are adapted to the quantized inputs.
      compensate: whether weights are rounded so that their errors cancel on the images, instead of each to the nearest.
      correct: whether biases are corrected, so that each channel has the float graph's mean.
    """

    narrow: bool = False
    refit: bool = False
    compensate: bool = False
    correct: bool = False


PLAIN = Tuning()


def tune(pair: GraphPair, images: np.ndarray, tuning: Tuning, threads: int = 1) -> list[Step]:
    """Derives the int8 weights and biases anew from the float graph's, in place.

    Args:
      pair: the graphs; the scales of activations are final.
      images: uint8 [N, H, W, 3].
      tuning: the steps to take.
      threads: of each interpreter.

    Returns:
      What was done.
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
        # With fewer samples than that, errors would cancel on these images only.
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
    """Returns weights in int8, their scales [channels], and the bias [channels] as real numbers.

    Args:
      pair, operator, matrix: the layer.
      covariances: of the layer's inputs in the int8 graph, [G, K, K]; None: weights are rounded to the nearest.
      means: of its inputs in the float and in the int8 graph, [G, K] each; None: biases are not corrected.
    """
    weights, bias = matrix.weights, matrix.bias
    tensors = operator.int8_op.inputs[0], operator.int8_op.outputs[0]
    x, y = (pair.int8_graph.quantization(int(t)).scale[0] for t in tensors)
    # Channels that are as good as dead: their bias has to fit into 32 bits, and the kernels into their arithmetic.
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
    """Writes weights and biases of a layer into an integer graph.

    Args:
      graph, operator: the layer, whose input has its final scale.
      kernel: int8, in the shape and order of the graph's constant.
      scale: of each output channel, [channels].
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
