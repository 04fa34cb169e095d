"""A float graph and the int8 graph that the converter made of the same network, operator by operator."""

import dataclasses

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.optimize.graph import Graph, Quantization
from shufflenet_tf.errors import UserError

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_EDGES = ("QUANTIZE", "DEQUANTIZE")
# Operators whose int8 kernels need the quantization of their input at their output, or that move values as they are.
_SAME_SCALE = (
    {"PAD", "MAX_POOL_2D", "AVERAGE_POOL_2D", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "SPLIT", "SPLIT_V", "SLICE"}
    | {"STRIDED_SLICE", "GATHER", "CONCATENATION", "RELU"}
)


@dataclasses.dataclass(frozen=True)
class Step:
    """One operator, in both graphs."""

    kind: str
    real: schema.OperatorT
    rounded: schema.OperatorT


class Pair:
    def __init__(self, real: Graph, rounded: Graph):
        self.real, self.rounded = real, rounded
        self.steps = [Step(real.kind(a), a, b) for a, b in self._matched()]
        self.tensors = self._tensors()
        self.groups = self._groups()

    def _matched(self):
        sides = [[o for o in g.operators if g.kind(o) not in _EDGES] for g in (self.real, self.rounded)]
        kinds = [[g.kind(o) for o in side] for g, side in zip((self.real, self.rounded), sides, strict=True)]
        if kinds[0] != kinds[1]:
            raise UserError("not the same conversion")
        return list(zip(*sides, strict=True))

    def _tensors(self) -> dict[int, int]:
        tensors = {}
        for step in self.steps:
            for a, b in zip((*step.real.inputs, *step.real.outputs), (*step.rounded.inputs, *step.rounded.outputs), strict=True):
                tensors[int(b)] = int(a)
        return tensors

    def _groups(self) -> dict[int, int]:
        """Tensor of the int8 graph -> a representative of those that share its scale."""
        parent: dict[int, int] = {}

        def find(t):
            parent.setdefault(t, t)
            while parent[t] != t:
                t = parent[t]
            return t

        for step in self.steps:
            tensors = [int(t) for t in (*step.rounded.inputs, *step.rounded.outputs) if t >= 0 and self.activation(int(t))]
            for t in tensors:
                find(t)
            if step.kind in _SAME_SCALE:
                for t in tensors[1:]:
                    parent[find(t)] = find(tensors[0])
        return {t: find(t) for t in parent}

    def activation(self, t: int) -> bool:
        q = self.rounded.quantization(t)
        return q is not None and self.rounded.type(t) == schema.TensorType.INT8
