"""Cross-layer equalization: factors of channels, moved between layers so that all channels of a scale fill its range.

A factor that a layer divides a channel by can be undone by whoever reads that channel, as long as all that lies between
commutes with positive factors: ReLU, pooling, moving channels, adding two channels of one factor. Weights have a scale
an output channel, so that dividing there costs nothing, and neither does undoing it in a depthwise convolution.
(Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019, section 4.1; there for
weights, here for activations, whose scale is one for all channels.)
"""

from collections.abc import Mapping

import numpy as np
from scipy.cluster.hierarchy import DisjointSet

from export.flatbuffer.graph import Graph, schema
from export.flatbuffer.model import Step
from export.flatbuffer.movement import data_inputs, move
from export.ptq.activation_ranges import ActivationStatistics
from export.ptq.graph_pair import WEIGHTED, GraphPair

LIMIT = 64.0  # largest factor; dead channels and almost dead ones would need any
_HOMOGENEOUS = {"PAD", "MAX_POOL_2D", "AVERAGE_POOL_2D", "MEAN", "RELU", "DEQUANTIZE"}
_POSITIVE = (schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU)


class ChannelClasses:
    """Which channels of a float graph must share one factor.

    Attributes:
      count: upper bound of the classes' numbers; class 0 has the factor 1.
      classes: tensor -> class of each of its channels, int [C]; tensors whose last axis is not that of whole channels lack.
    """

    def __init__(self, graph: Graph):
        self._graph = graph
        self._sharing = DisjointSet([0])
        names: dict[int, np.ndarray] = {t: self._frozen(t) for t in graph.inputs}
        for operator in graph.operators:
            for t in operator.inputs:
                if t >= 0 and int(t) not in names:
                    names[int(t)] = self._frozen(int(t))  # a constant
            names.update(zip(map(int, operator.outputs), self._through(operator, names), strict=True))
        for t in graph.outputs:
            self._freeze(names[t])
        self.count = len(self._sharing)
        self.classes = {t: row for t, value in names.items() if (row := self._row(value)) is not None}

    def _frozen(self, tensor: int) -> np.ndarray:
        return np.zeros(self._graph.shape(tensor), np.int64)

    def _through(self, operator: schema.OperatorT, names: Mapping[int, np.ndarray]) -> list[np.ndarray]:
        """Returns the names of the channels that each element of the outputs belongs to."""
        graph, kind = self._graph, self._graph.kind(operator)
        inputs, outputs = [int(t) for t in operator.inputs if t >= 0], [int(t) for t in operator.outputs]
        data = data_inputs(graph, operator)
        moved = None if data is None else move(graph, operator, [names[t] for t in data])
        if moved is not None:
            return moved
        if getattr(operator.builtinOptions, "fusedActivationFunction", 0) in _POSITIVE:
            x, shape = names[inputs[0]], graph.shape(outputs[0])
            row = self._row(x)
            if kind in WEIGHTED and row is not None and graph.constant(inputs[1]) is not None:
                new = np.arange(shape[-1]) + len(self._sharing)
                for name in new:
                    self._sharing.add(int(name))
                return [np.broadcast_to(new, shape)]
            if kind in _HOMOGENEOUS and row is not None and shape[-1] == len(row):
                return [np.broadcast_to(row, shape)]
            if kind == "ADD" and x.shape == names[inputs[1]].shape:
                self._join(x, names[inputs[1]])
                return [x]
        for t in inputs:
            self._freeze(names[t])
        return [self._frozen(t) for t in outputs]

    def _freeze(self, names: np.ndarray) -> None:
        self._join(names, np.zeros_like(names))

    def _join(self, a: np.ndarray, b: np.ndarray) -> None:
        for one, other in np.unique(np.stack([a.ravel(), b.ravel()], 1), axis=0):
            self._sharing.merge(int(one), int(other))

    def _row(self, names: np.ndarray) -> np.ndarray | None:
        """Returns the class of each channel, int [C]; None: not all places of the map have the same channels."""
        if names.ndim == 0 or names.size == 0:
            return None
        rows = names.reshape(-1, names.shape[-1])
        if not (rows == rows[0]).all():
            return None
        classes = np.array([self._sharing[int(name)] for name in rows[0]])
        return np.where(classes == self._sharing[0], 0, classes)


def equalize(
    pair: GraphPair, statistics: Mapping[int, ActivationStatistics], strength: float = 1.0
) -> tuple[dict[int, ActivationStatistics], Step]:
    """Evens out the channels of the float graph, in place: it computes the same.

    Args:
      pair: the graphs.
      statistics: of the float graph's activations.
      strength: 1: all channels have one range (but for `LIMIT`); between 0 and 1: weights of readers, whose input channels
        drift apart, are spared some of it.

    Returns:
      The statistics of the graph as it is now, but for activations on the way between moves; and what was done.
    """
    channels = ChannelClasses(pair.float_graph)
    classes, factors = channels.classes, np.zeros(channels.count)
    for group in pair.groups:
        tensors = [pair.float_tensor_of[t] for t in group if pair.float_tensor_of[t] in classes]
        top = max((statistics[t].peaks.max() for t in tensors), default=0.0)
        for t in tensors if top > 0 else ():
            np.maximum.at(factors, classes[t], statistics[t].peaks / top)
    factors = np.clip(factors, 1 / LIMIT, 1) ** strength
    factors[0] = 1
    for operator in pair.float_graph.operators:
        if pair.float_graph.kind(operator) in WEIGHTED:
            _divide(pair.float_graph, operator, classes, factors)
    equalized = {t: s.divided(factors[classes[t]]) for t, s in statistics.items() if t in classes}
    free = factors[np.unique(np.concatenate(list(classes.values())))]
    text = f"{(free < 1).sum():,} of {len(free):,} independent channels enlarged, the median one by {np.median(1 / free):.1f}"
    return equalized, Step("cross-layer equalization", True, text)


def _divide(graph: Graph, operator: schema.OperatorT, classes: Mapping[int, np.ndarray], factors: np.ndarray) -> None:
    """Has a layer undo the factors of its input channels, and divide its output channels by theirs."""
    x, w, b = (int(t) for t in (*operator.inputs, -1)[:3])
    of_inputs, of_outputs = (factors[classes[t]] for t in (x, int(operator.outputs[0])))
    weights = graph.constant(w).astype(np.float64)
    if graph.kind(operator) == "DEPTHWISE_CONV_2D":  # [1, kh, kw, channels]
        weights = weights * np.repeat(of_inputs, len(of_outputs) // len(of_inputs)) / of_outputs
    else:  # [outputs, (kh, kw,) inputs of a group]
        inputs = weights.shape[-1]
        of_group = of_inputs.reshape(-1, inputs).repeat(len(of_outputs) // (len(of_inputs) // inputs), axis=0)
        spread = (len(of_outputs), *[1] * (weights.ndim - 2))
        weights = weights * of_group.reshape(*spread, inputs) / of_outputs.reshape(*spread, 1)
    operator.inputs = [int(t) for t in operator.inputs]
    operator.inputs[1] = graph.add_constant(weights.astype(np.float32), graph.name(w), like=w)
    if b >= 0:
        operator.inputs[2] = graph.add_constant((graph.constant(b) / of_outputs).astype(np.float32), graph.name(b), like=b)
