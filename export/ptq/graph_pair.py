"""A float graph and the int8 graph that the converter made of the same network, operator by operator.

The activations may be in int16 too: then "int8" below is about the weights only.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from scipy.cluster.hierarchy import DisjointSet

from export.flatbuffer import validation
from export.flatbuffer.graph import Graph, Quantization
from shufflenet_tf.errors import UserError

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
LEVELS = 255  # steps between the lowest and the highest int8
_CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
# Operators that move or select values as they are, so that their outputs have the quantization of their inputs.
_SAME_SCALE_NAMES = """
    PAD MAX_POOL_2D AVERAGE_POOL_2D RESHAPE SQUEEZE EXPAND_DIMS TRANSPOSE SPLIT SPLIT_V SLICE STRIDED_SLICE GATHER CONCATENATION
    """
SAME_SCALE = frozenset(_SAME_SCALE_NAMES.split())
_FIXED_OUTPUT = {"SOFTMAX", "LOGISTIC", "TANH", "L2_NORMALIZATION"}  # the kernels prescribe the scale
_MISMATCH = (
    "These two graphs are not of one conversion: give the float32 and the int8 file that the converter made of one model."
)


@dataclasses.dataclass(frozen=True)
class OperatorPair:
    """One operator: its kind, and itself in the float and in the int8 graph."""

    kind: str
    float_op: schema.OperatorT
    int8_op: schema.OperatorT


class GraphPair:
    """The two graphs, to be changed in place.

    Args:
      float_model, int8_model: .tflite files of one conversion, neither of them optimized.

    Attributes:
      float_graph, int8_graph: the graphs.
      operators: those that both graphs have, in order of execution.
      float_tensor_of: activation of the int8 graph -> the same activation of the float graph.
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
        self.float_graph, self.int8_graph = graphs = Graph(float_model), Graph(int8_model)
        weighted = (o for o in self.int8_graph.operators if self.int8_graph.kind(o) in WEIGHTED)
        types = {self.int8_graph.type(int(o.outputs[0])) for o in weighted}
        self.type = np.int16 if types == {schema.TensorType.INT16} else np.int8
        self._type = schema.TensorType.INT16 if self.type == np.int16 else schema.TensorType.INT8
        operators = [[o for o in graph.operators if graph.kind(o) not in _CONVERSIONS] for graph in graphs]
        kinds = [[graph.kind(o) for o in side] for graph, side in zip(graphs, operators, strict=True)]
        if kinds[0] != kinds[1]:
            raise UserError(_MISMATCH)
        self._remove_rescaling()
        self.operators = [OperatorPair(*pair) for pair in zip(kinds[0], *operators, strict=True)]
        self.float_tensor_of = self._match_tensors()
        self._computed = {int(t) for operator in self.operators for t in operator.int8_op.outputs}
        self.groups = self._scale_groups()
        inputs = [t for o in self.operators for t in self.int8_graph.computed_inputs(o.int8_op) if t not in self._computed]
        if len(set(inputs)) != 1 or inputs[0] not in self.float_tensor_of:
            raise UserError(_MISMATCH)
        self._check_integers()
        self.image = self.float_tensor_of[inputs[0]], inputs[0]

    def _check_integers(self) -> None:
        for operator in self.operators:
            if operator.kind in WEIGHTED:
                x, w, y = (int(t) for t in (*operator.int8_op.inputs[:2], operator.int8_op.outputs[0]))
                types = [self.int8_graph.type(t) for t in (x, w, y)]
                if types != [self._type, schema.TensorType.INT8, self._type]:
                    name = self.int8_graph.name(y)
                    raise UserError(f"{name} is not in int8: give an int8 graph that is so throughout.")

    def _remove_rescaling(self) -> None:
        """Takes away operators between two tensors of integers that only change the scale: the two get the same one."""
        graph, replaced, kept = self.int8_graph, {}, []
        for operator in graph.operators:
            x, *_ = (int(t) for t in operator.inputs)
            y = int(operator.outputs[0])
            operator.inputs = [replaced.get(int(t), int(t)) for t in operator.inputs]
            if graph.kind(operator) == "QUANTIZE" and graph.type(x) == graph.type(y) == self._type:
                replaced[y] = int(operator.inputs[0])
            else:
                kept.append(operator)
        graph.operators = kept

    def _match_tensors(self) -> dict[int, int]:
        float_tensor_of: dict[int, int] = {}
        for operator in self.operators:
            float_tensors = [*self.float_graph.computed_inputs(operator.float_op), *map(int, operator.float_op.outputs)]
            int8_tensors = [*self.int8_graph.computed_inputs(operator.int8_op), *map(int, operator.int8_op.outputs)]
            if len(float_tensors) != len(int8_tensors):
                raise UserError(_MISMATCH)
            for a, b in zip(float_tensors, int8_tensors, strict=True):
                if self.float_graph.shape(a) != self.int8_graph.shape(b) or float_tensor_of.setdefault(b, a) != a:
                    raise UserError(_MISMATCH)
        return float_tensor_of

    def _scale_groups(self) -> list[list[int]]:
        graph = self.int8_graph
        sharing = DisjointSet(self.float_tensor_of)
        fixed = {t for t in self.float_tensor_of if graph.type(t) != self._type or t not in self._computed}
        for operator in self.operators:
            outputs = [int(t) for t in operator.int8_op.outputs]
            tensors = [*graph.computed_inputs(operator.int8_op), *outputs]
            if operator.kind in _FIXED_OUTPUT:
                fixed.update(outputs)
            has_one_scale = len({graph.quantization(t) for t in tensors}) == 1
            if operator.kind in SAME_SCALE or (operator.kind == "RELU" and has_one_scale):
                for t in tensors[1:]:
                    sharing.merge(tensors[0], t)
                constants = (int(t) for t in operator.int8_op.inputs if int(t) not in tensors)
                if any(graph.quantization(t) for t in constants):  # which have a scale already
                    fixed.add(tensors[0])
        groups: dict[int, list[int]] = {}
        for t in sharing:
            groups.setdefault(sharing[t], []).append(t)
        return [group for group in groups.values() if not fixed.intersection(group)]

    def dequantize(self, tensor: int, values: np.ndarray) -> np.ndarray:
        """Returns the real numbers that the values of an activation of the int8 graph stand for."""
        q = self.int8_graph.quantization(tensor)
        return (values.astype(np.float32) - q.zero_point[0]) * np.float32(q.scale[0])

    def pixels(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns images, uint8 [N, H, W, 3], as the float and the int8 graph see them behind their edges."""
        q = self.int8_graph.quantization(self.image[1])
        ends = np.iinfo(self.type)
        quantized = np.clip(np.round(images / np.float32(q.scale[0])) + q.zero_point[0], ends.min, ends.max)
        return images.astype(np.float32), quantized.astype(self.type)

    def set_scale(self, tensors: Sequence[int], scale: float, zero_point: int) -> None:
        """Has activations of the int8 graph share a scale."""
        for tensor in tensors:
            self.int8_graph.set_quantization(tensor, Quantization((scale,), (zero_point,)))
