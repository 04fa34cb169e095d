"""A float graph and the int8 graph that the converter made of the same network, operator by operator.

The activations may be in int16 too: then "int8" below is about the weights only.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer import validation
from export.flatbuffer.graph import Graph, Quantization
from export.ptq.operator_runner import data_inputs
from shufflenet_tf.errors import UserError

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
LEVELS = 255  # steps between the lowest and the highest int8
_ROUNDING = ("QUANTIZE", "DEQUANTIZE")
# What moves or selects values as they are, so that the result has the quantization of what it's made of.
_SAME_SCALE = {
    "PAD",
    "MAX_POOL_2D",
    "AVERAGE_POOL_2D",
    "RESHAPE",
    "SQUEEZE",
    "EXPAND_DIMS",
    "TRANSPOSE",
    "SPLIT",
    "SPLIT_V",
    "SLICE",
} | {"STRIDED_SLICE", "GATHER", "CONCATENATION"}
_FIXED_OUTPUT = {"SOFTMAX", "LOGISTIC", "TANH", "L2_NORMALIZATION"}  # the kernels prescribe the scale
_MISMATCH = (
    "These two graphs are not of one conversion: give the float32 and the int8 file that the converter made of one model."
)


@dataclasses.dataclass(frozen=True)
class Step:
    """One operator: its kind, and itself in the float and in the int8 graph."""

    kind: str
    real: schema.OperatorT
    rounded: schema.OperatorT


class Pair:
    """The two graphs, to be changed in place.

    Args:
      float_model, int8_model: .tflite files of one conversion, neither of them optimized.

    Attributes:
      real, rounded: the float and the int8 graph.
      steps: the operators that both have, in order of execution.
      real_of: activation of the int8 graph -> the one of the float graph that it stands for.
      groups: activations of the int8 graph that have to share one scale, where that may be chosen.
      image: (tensor of the float graph, tensor of the int8 graph) behind the edge, where pixels come in.
      type: of activations, np.int8 or np.int16.

    Raises:
      UserError: the files are damaged, not of one conversion, or a layer of the second is not in integers.
    """

    def __init__(self, float_model: bytes, int8_model: bytes):
        try:
            validation.parse(float_model), validation.parse(int8_model)
        except validation.InvalidModel as reason:
            raise UserError(f"A graph to be quantized can't be used ({reason}): give whole .tflite files.") from None
        self.real, self.rounded = Graph(float_model), Graph(int8_model)
        held = {self.rounded.type(int(o.outputs[0])) for o in self.rounded.operators if self.rounded.kind(o) in WEIGHTED}
        self.type = np.int16 if held == {schema.TensorType.INT16} else np.int8
        self._type = schema.TensorType.INT16 if self.type == np.int16 else schema.TensorType.INT8
        graphs = (self.real, self.rounded)
        sides = [[o for o in graph.operators if graph.kind(o) not in _ROUNDING] for graph in graphs]
        kinds = [[graph.kind(o) for o in side] for graph, side in zip(graphs, sides, strict=True)]
        if kinds[0] != kinds[1]:
            raise UserError(_MISMATCH)
        self._remove_rescaling()
        self.steps = [Step(*step) for step in zip(kinds[0], *sides, strict=True)]
        self.real_of = self._correspondence()
        self.groups = self._scale_groups()
        made = {int(t) for step in self.steps for t in step.rounded.outputs}
        images = [t for step in self.steps for t in data_inputs(self.rounded, step.rounded) if t not in made]
        if len(set(images)) != 1 or images[0] not in self.real_of:
            raise UserError(_MISMATCH)
        self._check_integers()
        self.image = self.real_of[images[0]], images[0]

    def _check_integers(self) -> None:
        for step in self.steps:
            if step.kind in WEIGHTED:
                x, w, y = (int(t) for t in (*step.rounded.inputs[:2], step.rounded.outputs[0]))
                types = [self.rounded.type(t) for t in (x, w, y)]
                if types != [self._type, schema.TensorType.INT8, self._type]:
                    name = self.rounded.name(y)
                    raise UserError(f"{name} is not in int8: give an int8 graph that is so throughout.")

    def _remove_rescaling(self) -> None:
        """Takes away operators between two tensors of integers that only change the scale: the two get the same one."""
        graph, same, kept = self.rounded, {}, []
        for operator in graph.operators:
            x, *_ = (int(t) for t in operator.inputs)
            y = int(operator.outputs[0])
            operator.inputs = [same.get(int(t), int(t)) for t in operator.inputs]
            if graph.kind(operator) == "QUANTIZE" and graph.type(x) == graph.type(y) == self._type:
                same[y] = int(operator.inputs[0])
            else:
                kept.append(operator)
        graph.operators = kept

    def _correspondence(self) -> dict[int, int]:
        pairs: dict[int, int] = {}
        for step in self.steps:
            ours, theirs = (data_inputs(g, o) for g, o in ((self.real, step.real), (self.rounded, step.rounded)))
            ours, theirs = [*ours, *map(int, step.real.outputs)], [*theirs, *map(int, step.rounded.outputs)]
            if len(ours) != len(theirs):
                raise UserError(_MISMATCH)
            for a, b in zip(ours, theirs, strict=True):
                if self.real.shape(a) != self.rounded.shape(b) or pairs.setdefault(b, a) != a:
                    raise UserError(_MISMATCH)
        return pairs

    def _scale_groups(self) -> list[list[int]]:
        parent = {t: t for t in self.real_of}

        def find(t: int) -> int:
            while parent[t] != t:
                t = parent[t]
            return t

        fixed = {t for t in self.real_of if self.rounded.type(t) != self._type}
        made = {int(t) for step in self.steps for t in step.rounded.outputs}
        fixed |= parent.keys() - made
        for step in self.steps:
            outputs = [int(t) for t in step.rounded.outputs]
            tensors = [*data_inputs(self.rounded, step.rounded), *outputs]
            if step.kind in _FIXED_OUTPUT:
                fixed.update(outputs)
            alike = len({self.rounded.quantization(t) for t in tensors}) == 1
            if step.kind in _SAME_SCALE or (step.kind == "RELU" and alike):
                for t in tensors[1:]:
                    parent[find(t)] = find(tensors[0])
                read = (self.rounded.quantization(int(t)) for t in step.rounded.inputs if int(t) not in tensors)
                if any(read):  # a constant among them has a scale of its own already
                    fixed.add(tensors[0])
        groups: dict[int, list[int]] = {}
        for t in parent:
            groups.setdefault(find(t), []).append(t)
        return [group for group in groups.values() if not fixed.intersection(group)]

    def values(self, tensor: int, stored: np.ndarray) -> np.ndarray:
        """Returns as real numbers what an activation of the int8 graph holds."""
        q = self.rounded.quantization(tensor)
        return (stored.astype(np.float32) - q.zero_point[0]) * np.float32(q.scale[0])

    def pixels(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns images, uint8 [N, H, W, 3], as the two graphs see them behind their edges."""
        q = self.rounded.quantization(self.image[1])
        ends = np.iinfo(self.type)
        stored = np.clip(np.round(images / np.float32(q.scale[0])) + q.zero_point[0], ends.min, ends.max)
        return images.astype(np.float32), stored.astype(self.type)

    def set_scale(self, tensors: Sequence[int], scale: float, zero_point: int) -> None:
        """Has activations of the int8 graph share a scale."""
        for tensor in tensors:
            quantize(self.rounded, tensor, Quantization((scale,), (zero_point,)))


def quantize(graph: Graph, tensor: int, quantization: Quantization) -> None:
    """Sets the quantization of a tensor."""
    held = graph.subgraph.tensors[tensor].quantization
    held.scale, held.zeroPoint = np.array(quantization.scale, np.float32), np.array(quantization.zero_point, np.int64)
    held.quantizedDimension, held.min, held.max = quantization.dimension, None, None
