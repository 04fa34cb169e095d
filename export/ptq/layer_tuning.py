"""Layers one after the other, each tuned on what the int8 graph before it really computes."""

import dataclasses

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer.graph import Graph, Quantization
from export.ptq import weight_rounding
from export.ptq.activations import walk
from export.ptq.graph_pair import WEIGHTED, Pair, Step, quantize
from export.ptq.layer_matrix import Layer
from export.ptq.narrow_ranges import Narrowing

# Of a bias, by type of activations: the largest value that kernels take, and its type.
_BIASES = {schema.TensorType.INT8: (2**31 - 1, np.int32), schema.TensorType.INT16: (2**39 - 1, np.int64)}
_BIAS_BITS = 29  # of a bias before it's corrected
_FINEST = 2.0**-30  # ratio of scales that delegates still take


@dataclasses.dataclass(frozen=True)
class Tuning:
    """What is done to each layer.

    Attributes:
      narrow: whether ranges lose the part that the next operator makes zero.
      refit: whether weights are adapted to inputs with quantization errors.
      compensate: whether weights are rounded so that errors cancel on the images, and not each to the nearest.
      correct: whether biases make each channel's mean what it is in the float graph.
    """

    narrow: bool = False
    refit: bool = False
    compensate: bool = False
    correct: bool = False


PLAIN = Tuning()


def tune(pair: Pair, images: np.ndarray, tuning: Tuning, threads: int = 1) -> list[tuple[str, str]]:
    """Derives the int8 weights and biases anew from the float graph's, in place.

    Args:
      pair: the graphs, with the scales of activations as they are to be.
      images: uint8 [N, H, W, 3].
      tuning: what is done.
      threads: of each interpreter.

    Returns:
      What was done: (step, sentence).
    """
    layers = [step for step in pair.steps if step.kind in WEIGHTED]
    if tuning == PLAIN:
        for step in layers:
            write(pair.rounded, step.rounded, *_weights(pair, step, Layer(pair.real, step)))
        return []
    random, narrowing, refitted, compensated = np.random.default_rng(0), Narrowing(pair), 0, 0
    for step, real, rounded in walk(pair, images, threads):
        if step.kind not in WEIGHTED:
            continue
        if tuning.narrow:
            narrowing.narrow(step, real)
        layer, given = Layer(pair.real, step), int(step.rounded.inputs[0])
        where = layer.places(len(images), random)
        wanted = layer.inputs(real.values[layer.input], where)
        q = pair.rounded.quantization(given)
        read = layer.inputs(rounded.values[given], where, q.zero_point[0]) * np.float32(q.scale[0])
        # With fewer places than that, errors would cancel on these images only.
        covariances = (
            weight_rounding.covariance(read) if weight_rounding.enough(read) and (tuning.refit or tuning.compensate) else None
        )
        if tuning.refit and covariances is not None:
            layer.weights, layer.bias = weight_rounding.refitted(layer.weights, layer.bias, wanted, read, covariances)
            refitted += 1
        compensated += tuning.compensate and covariances is not None
        means = (weight_rounding.mean(wanted), weight_rounding.mean(read)) if tuning.correct else None
        numbers = _weights(pair, step, layer, covariances if tuning.compensate else None, means)
        write(pair.rounded, step.rounded, *numbers)
    gains = narrowing.gains
    done = [
        (tuning.narrow, "narrower ranges", f"{len(gains)} activations, {np.mean(gains or [0]):.1f} dB on average"),
        (tuning.refit, "weights adapted to quantized inputs", f"{refitted} layers"),
        (tuning.compensate, "rounding with compensation", f"{compensated} layers"),
        (tuning.correct, "bias correction", f"{len(layers)} layers"),
    ]
    return [(name, what) for taken, name, what in done if taken]


def _weights(
    pair: Pair,
    step: Step,
    layer: Layer,
    covariances: np.ndarray | None = None,
    means: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns weights in int8, their scales [channels], and the bias [channels] as real numbers.

    Args:
      pair, step, layer: what it's about.
      covariances: of what the layer reads in the int8 graph, [G, K, K]; None: weights are rounded to the nearest.
      means: of what it reads in the float and in the int8 graph, [G, K] each; None: biases are not corrected.
    """
    weights, bias = layer.weights, layer.bias
    x, y = (pair.rounded.quantization(int(t)).scale[0] for t in (step.rounded.inputs[0], step.rounded.outputs[0]))
    # Channels that are as good as dead: their bias has to fit into 32 bits, and the kernels into their arithmetic.
    smallest = np.maximum(np.abs(bias) / (x * 2.0**_BIAS_BITS), y / x * _FINEST)
    scale = weight_rounding.scales(weights, smallest)
    whole = (
        weight_rounding.nearest(weights, scale)
        if covariances is None
        else weight_rounding.compensated(weights, scale, covariances)
    )
    if means is not None:
        wanted, given = (mean[..., None] for mean in means)  # [G, K, 1]
        bias = bias + (weights @ wanted - (whole * scale[..., None]) @ given)[..., 0]
    return layer.kernel(whole).astype(np.int8), scale.ravel(), bias.ravel()


def write(graph: Graph, operator: schema.OperatorT, kernel: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> None:
    """Gives a layer of an integer graph other numbers.

    Args:
      graph, operator: the layer, its input having the scale that it is to have.
      kernel: int8, in the shape and order of the graph's constant.
      scale: of each output channel, [channels].
      bias: real numbers, [channels].
    """
    x, w, b = (int(t) for t in (*operator.inputs, -1)[:3])
    axis = 3 if graph.kind(operator) == "DEPTHWISE_CONV_2D" else 0
    zeros = (0,) * len(scale)
    new = graph.add_constant(kernel, graph.name(w), like=w)
    quantize(graph, new, Quantization(tuple(scale), zeros, axis))
    steps = scale.astype(np.float32) * np.float32(graph.quantization(x).scale[0])
    largest, type_ = _BIASES[graph.type(x)]
    stored = np.clip(np.round(bias / steps.astype(np.float64)), -largest, largest)
    name = graph.name(b) if b >= 0 else f"{graph.name(w)}/bias"
    added = graph.add_constant(stored.astype(type_), name)
    quantize(graph, added, Quantization(tuple(steps), zeros))
    operator.inputs = [x, new, added]
