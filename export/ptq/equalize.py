"""Cross-layer equalization: factors of channels, moved between layers so that all channels of a scale fill its range.

A factor that a layer divides a channel by can be undone by whoever reads that channel, as long as all that lies between
commutes with positive factors: ReLU, pooling, moving channels, adding two channels of one factor. Weights have a scale
an output channel, so that dividing there costs nothing, and neither does undoing it in a depthwise convolution.
(Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019, section 4.1; there for
weights, here for activations, whose scale is one for all channels.)
"""

from collections.abc import Mapping

import numpy as np

from export.flatbuffer.graph import Graph, schema
from export.flatbuffer.movement import data_inputs, move
from export.ptq.activation_ranges import Activation
from export.ptq.graph_pair import WEIGHTED, Pair

LIMIT = 64.0  # largest factor; dead channels and almost dead ones would need any
_HOMOGENEOUS = {"PAD", "MAX_POOL_2D", "AVERAGE_POOL_2D", "MEAN", "RELU", "DEQUANTIZE"}
_POSITIVE = (schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU)


class Channels:
    """Which channels of a float graph have to have one factor.

    Attributes:
      count: of classes; class 0 has the factor 1.
      classes: tensor -> class of each of its channels, int [C]; tensors whose last axis is not that of whole channels lack.
    """

    def __init__(self, graph: Graph):
        self._graph = graph
        self._parent = [0]
        names: dict[int, np.ndarray] = {t: self._frozen(t) for t in graph.inputs}
        for operator in graph.operators:
            for t in operator.inputs:
                if t >= 0 and int(t) not in names:
                    names[int(t)] = self._frozen(int(t))  # a constant
            names.update(zip(map(int, operator.outputs), self._through(operator, names), strict=True))
        for t in graph.outputs:
            self._freeze(names[t])
        self.count = len(self._parent)
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
                first = len(self._parent)
                self._parent.extend(range(first, first + shape[-1]))
                return [np.broadcast_to(np.arange(first, first + shape[-1]), shape)]
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
            one, other = sorted((self._find(int(one)), self._find(int(other))))
            self._parent[other] = one

    def _find(self, name: int) -> int:
        while self._parent[name] != name:
            name = self._parent[name]
        return name

    def _row(self, names: np.ndarray) -> np.ndarray | None:
        if names.ndim == 0 or names.size == 0:
            return None
        rows = names.reshape(-1, names.shape[-1])
        return np.array([self._find(int(n)) for n in rows[0]]) if (rows == rows[0]).all() else None


def equalize(pair: Pair, seen: Mapping[int, Activation], strength: float = 1.0) -> tuple[dict[int, Activation], str]:
    """Evens out the channels of the float graph, in place: it computes the same.

    Args:
      pair: the graphs.
      seen: activations of the float graph.
      strength: 1: all channels have one range (but for `LIMIT`); between 0 and 1: weights of readers, whose input channels
        drift apart, are spared some of it.

    Returns:
      What the activations are now, but for those on the way between moves, and what was done.
    """
    channels = Channels(pair.real)
    factors = np.zeros(channels.count)
    for group in pair.groups:
        tensors = [pair.real_of[t] for t in group if pair.real_of[t] in channels.classes]
        top = max((seen[t].peaks.max() for t in tensors), default=0.0)
        for t in tensors if top > 0 else ():
            np.maximum.at(factors, channels.classes[t], seen[t].peaks / top)
    factors = np.clip(factors, 1 / LIMIT, 1) ** strength
    factors[0] = 1
    for operator in pair.real.operators:
        if pair.real.kind(operator) in WEIGHTED:
            _divide(pair.real, operator, channels, factors)
    even = {t: a.divided(factors[channels.classes[t]]) for t, a in seen.items() if t in channels.classes}
    free = factors[np.unique(np.concatenate(list(channels.classes.values())))]
    return (
        even,
        f"{(free < 1).sum():,} of {len(free):,} independent channels enlarged, the median one by {np.median(1 / free):.1f}",
    )


def _divide(graph: Graph, operator: schema.OperatorT, channels: Channels, factors: np.ndarray) -> None:
    """Has a layer undo the factors of what it reads, and divide its outputs by theirs."""
    x, w, b = (int(t) for t in (*operator.inputs, -1)[:3])
    read, made = (factors[channels.classes[t]] for t in (x, int(operator.outputs[0])))
    weights = graph.constant(w).astype(np.float64)
    if graph.kind(operator) == "DEPTHWISE_CONV_2D":  # [1, kh, kw, channels]
        weights = weights * np.repeat(read, len(made) // len(read)) / made
    else:  # [outputs, (kh, kw,) inputs of a group]
        inputs = weights.shape[-1]
        of_output = read.reshape(-1, inputs).repeat(len(made) // (len(read) // inputs), axis=0)
        spread = (len(made), *[1] * (weights.ndim - 2))
        weights = weights * of_output.reshape(*spread, inputs) / made.reshape(*spread, 1)
    operator.inputs = [int(t) for t in operator.inputs]
    operator.inputs[1] = graph.add_constant(weights.astype(np.float32), graph.name(w), like=w)
    if b >= 0:
        operator.inputs[2] = graph.add_constant((graph.constant(b) / made).astype(np.float32), graph.name(b), like=b)
