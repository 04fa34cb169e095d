"""Finds where every channel comes from: the analysis behind the elimination of channel movement.

A *root* is a tensor that something computes (not just moves), and a channel's identity is (root, index). Reshapes,
transposes, splits, slices, gathers and concatenations are followed by carrying them out on arrays of identities, so any
pattern of them is understood that ends in whole channels. Operators that treat channels one by one (depthwise
convolutions, pooling, activations) commute with moving them: their result is a root in the same order as their input's.
"""

import dataclasses
import math

import numpy as np

from export.flatbuffer.graph import Graph
from export.flatbuffer.movement import data_inputs, move

_ROOT, _POSITION = 44, 22  # bits below: an identity is root << 44 | position << 22 | channel
_LIMIT = 1 << 22

# Constants among their inputs have one entry a channel, or one for all.
_CHANNELWISE = (
    {"DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN", "SUM", "REDUCE_MAX", "PAD", "PADV2", "RESIZE_BILINEAR"}
    | {"RESIZE_NEAREST_NEIGHBOR", "QUANTIZE", "DEQUANTIZE", "CAST", "PRELU", "ADD", "SUB", "MUL", "DIV", "MINIMUM", "MAXIMUM"}
    | {"RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "HARD_SWISH", "LOGISTIC", "TANH", "ELU", "GELU"}
    | {"ABS", "NEG", "SQRT", "RSQRT", "SQUARE", "EXP"}
)
_BINARY = {"ADD", "SUB", "MUL", "DIV", "MINIMUM", "MAXIMUM"}


@dataclasses.dataclass
class Root:
    """A computed tensor. Channels are numbered as in the original graph, unless it follows `group`'s first root."""

    index: int
    tensor: int
    operator: int | None
    channels: int
    group: int


@dataclasses.dataclass
class Group:
    """Roots that share one channel order.

    Attributes:
      free: whether that order may be chosen.
      derived: whether it is that of what the (single) root's operator reads.
    """

    roots: list[int]
    free: bool = False
    derived: bool = False


@dataclasses.dataclass
class Read:
    """What an operator reads at one of its inputs.

    Attributes:
      operator: index, or None for a graph output.
      sources: [C, 2] of (root, channel), in the original order; None where the tensor has no whole channels.
      how: "any" order (weights follow), "derived" (the result takes the order), "whole" (a root as it is), "ordered".
    """

    operator: int | None
    position: int
    tensor: int
    sources: np.ndarray | None
    how: str


@dataclasses.dataclass
class Channels:
    """The result of `analyse`.

    Attributes:
      root_of: operator -> the root that it makes.
      moving: indices of the operators that only move.
    """

    roots: list[Root]
    groups: dict[int, Group]
    reads: list[Read]
    root_of: dict[int, int]
    moving: set[int]


class _Analysis:
    def __init__(self, graph: Graph, ordered: set[int]):
        self.graph = graph
        self.ordered = ordered  # operators that are not to take part: they read the original order
        self.names: dict[int, np.ndarray] = {}  # of tensors that were moved: an identity an element
        self.sources: dict[int, np.ndarray | None] = {}
        self.result = Channels([], {}, [], {}, set())

    def run(self) -> Channels:
        for i, operator in enumerate(self.graph.operators):
            data = data_inputs(self.graph, operator)
            if data is not None and i not in self.ordered:
                moved = self._move(operator, data)
                if moved is not None:
                    self.result.moving.add(i)
                    self.names.update(zip((int(t) for t in operator.outputs), moved, strict=True))
                    continue
            self._compute(i, operator)
        for position, tensor in enumerate(self.graph.outputs):
            self._read(None, position, tensor, "ordered")
        return self.result

    def _move(self, operator, data: list[int]) -> list[np.ndarray] | None:
        arrays = [self._names_of(t) for t in data]
        return None if any(a is None for a in arrays) else move(self.graph, operator, arrays)

    def _names_of(self, tensor: int) -> np.ndarray | None:
        if tensor not in self.names:
            shape = self.graph.shape(tensor)
            sources = self._sources_of(tensor)
            if sources is None or not shape or math.prod(shape[:-1]) >= _LIMIT:
                return None
            positions = np.arange(math.prod(shape[:-1]), dtype=np.int64) << _POSITION
            names = (sources[:, 0] << _ROOT | sources[:, 1])[None, :] + positions[:, None]
            self.names[tensor] = names.reshape(shape)
        return self.names[tensor]

    def _sources_of(self, tensor: int) -> np.ndarray | None:
        """Returns the (root, channel) of each channel along the last axis, or None where channels aren't whole."""
        if tensor not in self.sources:
            self.sources[tensor] = self._decode(tensor) if tensor in self.names else self._add_root(tensor, None)
        return self.sources[tensor]

    def _decode(self, tensor: int) -> np.ndarray | None:
        names = self.names[tensor]
        if names.ndim == 0 or names.size == 0:
            return None
        names = names.reshape(-1, names.shape[-1])
        first = names[0]
        positions = np.arange(len(names), dtype=np.int64) << _POSITION
        if (first >> _POSITION & (_LIMIT - 1)).any() or not np.array_equal(names, first[None, :] + positions[:, None]):
            return None
        sources = np.stack([first >> _ROOT, first & (_LIMIT - 1)], axis=1)
        roots = [self.result.roots[r] for r in np.unique(sources[:, 0])]
        # One spatial shape, so that pieces can be concatenated; a matrix may stand for a 1x1 map.
        shapes = {self.graph.shape(root.tensor)[:-1] for root in roots}
        if len(shapes) > 1 or math.prod(next(iter(shapes))) != len(names):
            return None
        if next(iter(shapes)) != self.graph.shape(tensor)[:-1] and len(names) > 1:
            return None
        return sources

    def _add_root(self, tensor: int, operator: int | None, group: int | None = None, **of_group) -> np.ndarray | None:
        shape = self.graph.shape(tensor)
        if not shape or shape[-1] >= _LIMIT:
            return None
        index = len(self.result.roots)
        if group is None:
            group = index
            self.result.groups[group] = Group([], **of_group)
        self.result.roots.append(Root(index, tensor, operator, shape[-1], group))
        self.result.groups[group].roots.append(index)
        if operator is not None:
            self.result.root_of[operator] = index
        return np.stack([np.full(shape[-1], index, np.int64), np.arange(shape[-1], dtype=np.int64)], axis=1)

    def _read(self, operator: int | None, position: int, tensor: int, how: str) -> np.ndarray | None:
        sources = self._sources_of(tensor)
        if sources is not None and how != "whole" and len(np.unique(sources, axis=0)) < len(sources):
            how = "ordered"  # a channel that is read twice
        self.result.reads.append(Read(operator, position, tensor, sources, how))
        return sources

    def _compute(self, i: int, operator) -> None:
        if i not in self.ordered:
            kind = self.graph.kind(operator)
            if kind in ("CONV_2D", "FULLY_CONNECTED") and self._is_dense(operator, kind):
                if self._read(i, 0, int(operator.inputs[0]), "any") is None:
                    self.result.reads[-1].how = "ordered"
                tensor = int(operator.outputs[0])
                self.sources[tensor] = self._add_root(tensor, i, free=True)
                return
            if kind in _CHANNELWISE and len(operator.outputs) == 1 and self._channelwise(i, operator, kind):
                return
        for position, t in enumerate(() if operator.inputs is None else operator.inputs):
            if t >= 0 and self.graph.constant(int(t)) is None:
                self._read(i, position, int(t), "ordered")
        for t in operator.outputs:
            self.sources[int(t)] = self._add_root(int(t), None)

    def _is_dense(self, operator, kind: str) -> bool:
        """Whether each output channel reads every input channel with a constant weight, so that both orders are free."""
        graph, (x, weights, *bias) = self.graph, (int(t) for t in operator.inputs)
        if len(operator.outputs) != 1 or graph.constant(weights) is None or len(bias) > 1:
            return False
        if bias and bias[0] >= 0 and graph.constant(bias[0]) is None:
            return False
        shape, w, out = graph.shape(x), graph.shape(weights), graph.shape(int(operator.outputs[0]))
        if not shape or not out or shape[-1] != w[-1] or out[-1] != w[0]:
            return False
        quantization = graph.quantization(weights)
        if quantization is not None and len(quantization.scale) > 1 and quantization.dimension != 0:
            return False
        if kind == "FULLY_CONNECTED":
            return len(w) == 2 and operator.builtinOptions.weightsFormat == 0
        return len(w) == 4

    def _channelwise(self, i: int, operator, kind: str) -> bool:
        """Enters an operator that treats channels one by one; returns False where it does not, after all."""
        x = self._only_data(operator, kind)
        if x is None:
            return False
        if kind in _BINARY and len(x) == 2:
            return self._joined(i, operator, x)
        (position,) = x
        sources = self._sources_of(int(operator.inputs[position]))
        if sources is None:
            return False
        tensor, output = int(operator.inputs[position]), int(operator.outputs[0])
        root = self.result.roots[sources[0, 0]]
        if self._is_whole(sources):
            self._read(i, position, tensor, "whole")
            self._add_root(output, i, group=root.group)
            self.sources[output] = np.stack([np.full(len(sources), len(self.result.roots) - 1), sources[:, 1]], axis=1)
            return True
        self._read(i, position, tensor, "derived")
        derived = self.result.reads[-1].how == "derived"
        self.sources[output] = self._add_root(output, i, derived=derived)
        return True

    def _is_whole(self, sources: np.ndarray) -> bool:
        root = self.result.roots[sources[0, 0]]
        return (sources[:, 0] == root.index).all() and np.array_equal(np.sort(sources[:, 1]), np.arange(root.channels))

    def _only_data(self, operator, kind: str) -> list[int] | None:
        """Returns the positions of the computed inputs if all the others are as a channel-wise operator has them."""
        graph = self.graph
        inputs = [int(t) for t in operator.inputs]
        shapes = [graph.shape(t) if t >= 0 else None for t in inputs]
        output = graph.shape(int(operator.outputs[0]))
        positions = [p for p, t in enumerate(inputs) if t >= 0 and graph.constant(t) is None]
        if not positions or not output or any(shapes[p] is None or not shapes[p] for p in positions):
            return None
        c = output[-1]
        if kind in _BINARY:
            fitting = all(s is not None and (not s or s[-1] in (1, c)) for s in shapes)
            return positions if fitting and all(shapes[p][-1] == c for p in positions) else None
        if positions != [0] or shapes[0][-1] != c:
            return None
        if kind == "DEPTHWISE_CONV_2D":
            weights = graph.constant(inputs[1])
            quantization = graph.quantization(inputs[1])
            along = quantization is None or len(quantization.scale) == 1 or quantization.dimension == 3
            return positions if weights is not None and weights.shape[-1] == c and along else None
        if kind == "PRELU":
            return positions if shapes[1] and shapes[1][-1] in (1, c) else None
        if kind in ("PAD", "PADV2"):
            padding = graph.constant(inputs[1])
            return positions if padding is not None and not padding[-1].any() else None
        if kind in ("MEAN", "SUM", "REDUCE_MAX"):
            axes, rank = graph.constant(inputs[1]), len(shapes[0])
            return positions if axes is not None and not (axes.ravel() % rank == rank - 1).any() else None
        return positions

    def _joined(self, i: int, operator, positions: list[int]) -> bool:
        """Enters a sum (or the like) of two tensors that are each one root, in the same order."""
        tensors = [int(operator.inputs[p]) for p in positions]
        sources = [self._sources_of(t) for t in tensors]
        if any(s is None or not self._is_whole(s) for s in sources) or not np.array_equal(sources[0][:, 1], sources[1][:, 1]):
            return False
        groups = [self.result.roots[s[0, 0]].group for s in sources]
        if any(self.result.groups[g].derived for g in groups):
            return False
        for position, tensor in zip(positions, tensors, strict=True):
            self._read(i, position, tensor, "whole")
        self._merge(*groups)
        output = int(operator.outputs[0])
        self._add_root(output, i, group=groups[0])
        self.sources[output] = np.stack([np.full(len(sources[0]), len(self.result.roots) - 1), sources[0][:, 1]], axis=1)
        return True

    def _merge(self, one: int, other: int) -> None:
        if one == other:
            return
        groups = self.result.groups
        removed = groups.pop(other)
        for root in removed.roots:
            self.result.roots[root].group = one
        groups[one].roots += removed.roots
        groups[one].free &= removed.free


def analyse(graph: Graph, ordered: set[int]) -> Channels:
    """Returns who makes each channel and who reads it.

    Args:
      ordered: operators that are left alone: they read and write channels in the original order.
    """
    return _Analysis(graph, ordered).run()
