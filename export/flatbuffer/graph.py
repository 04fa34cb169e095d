"""The graph of a .tflite model for reading and editing: operators by name, constants as arrays."""

import copy
import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer import prune
from export.flatbuffer.packed import pack, parse

_KINDS = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
CODES = {name: code for code, name in _KINDS.items()}
_DTYPES = {
    schema.TensorType.FLOAT32: np.dtype("<f4"),
    schema.TensorType.FLOAT16: np.dtype("<f2"),
    schema.TensorType.INT8: np.dtype("i1"),
    schema.TensorType.UINT8: np.dtype("u1"),
    schema.TensorType.INT16: np.dtype("<i2"),
    schema.TensorType.INT32: np.dtype("<i4"),
    schema.TensorType.INT64: np.dtype("<i8"),
    schema.TensorType.BOOL: np.dtype("?"),
}
_TYPES = {dtype: type_ for type_, dtype in _DTYPES.items()}
LOWEST = {schema.TensorType.INT8: -128, schema.TensorType.UINT8: 0}  # lowest value of each quantized type
# Operators whose version 1 supports floats only.
_INT8_VERSION = {"SLICE": 2, "CONCATENATION": 2, "DEQUANTIZE": 2, "AVERAGE_POOL_2D": 2, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3}


@dataclasses.dataclass(frozen=True)
class Quantization:
    """Scales and zero points of a tensor: one of each, or one per slice along `dimension`."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    dimension: int = 0

    def take(self, indices: Sequence[int]) -> "Quantization":
        """Returns the quantization of the slices `indices`; per-tensor quantization is returned unchanged."""
        if len(self.scale) == 1:
            return self
        zero_point = self.zero_point if len(self.zero_point) == 1 else tuple(self.zero_point[i] for i in indices)
        return dataclasses.replace(self, scale=tuple(self.scale[i] for i in indices), zero_point=zero_point)


class Graph:
    """The main subgraph of a model; `pack` returns the bytes of the changed model.

    Args:
      data: a .tflite file that `validation.parse` has accepted, or what that returned.
    """

    def __init__(self, data: bytes | schema.ModelT):
        self.model = data if isinstance(data, schema.ModelT) else parse(data)
        self.subgraph = self.model.subgraphs[0]
        self._constants: dict[int, np.ndarray | None] = {}
        self._prologue: list[schema.OperatorT] = []
        # Weights stored in half precision: the output tensor of DEQUANTIZE -> the stored tensor.
        self._half = {
            int(o.outputs[0]): int(o.inputs[0])
            for o in self.operators
            if self.kind(o) == "DEQUANTIZE" and self.type(int(o.inputs[0])) == schema.TensorType.FLOAT16
        }

    def copy(self) -> "Graph":
        """Returns a copy that can be changed independently; both share the values of constants, which don't change."""
        shared = [buffer.data for buffer in self.model.buffers] + list(self._constants.values())
        return copy.deepcopy(self, {id(values): values for values in shared if values is not None})

    def become(self, other: "Graph") -> None:
        """Replaces this graph's content with another graph's."""
        vars(self).update(vars(other))

    @property
    def operators(self) -> list[schema.OperatorT]:
        return self.subgraph.operators

    @operators.setter
    def operators(self, operators: list[schema.OperatorT]) -> None:
        self.subgraph.operators = operators

    @property
    def inputs(self) -> list[int]:
        return [int(i) for i in self.subgraph.inputs]

    @property
    def outputs(self) -> list[int]:
        return [int(i) for i in self.subgraph.outputs]

    def kind(self, operator: schema.OperatorT) -> str:
        """Returns the operator's name in the schema, such as "CONV_2D"."""
        code = self.model.operatorCodes[operator.opcodeIndex]
        return _KINDS.get(max(code.builtinCode, code.deprecatedBuiltinCode), "UNKNOWN")

    def counts(self) -> dict[str, int]:
        """Returns how many operators of each kind there are, in order of appearance."""
        counts: dict[str, int] = {}
        for operator in self.operators:
            counts[self.kind(operator)] = counts.get(self.kind(operator), 0) + 1
        return counts

    def shape(self, tensor: int) -> tuple[int, ...] | None:
        """Returns the static shape, or None if a side is unknown."""
        t = self.subgraph.tensors[tensor]
        shape = () if t.shape is None else tuple(int(side) for side in t.shape)
        signature = shape if t.shapeSignature is None else tuple(t.shapeSignature)
        return None if min((*shape, *signature), default=1) < 1 else shape

    def type(self, tensor: int) -> int:
        return self.subgraph.tensors[tensor].type

    def bytes_per_element(self, tensor: int) -> int:
        dtype = _DTYPES.get(self.type(tensor))
        return dtype.itemsize if dtype else 4

    def name(self, tensor: int) -> str:
        name = self.subgraph.tensors[tensor].name
        return name.decode("utf-8", "replace") if isinstance(name, bytes) else name or ""

    def quantization(self, tensor: int) -> Quantization | None:
        q = self.subgraph.tensors[tensor].quantization
        if q is None or q.scale is None or len(q.scale) == 0:
            return None
        zero_point = (0,) if q.zeroPoint is None or len(q.zeroPoint) == 0 else tuple(int(z) for z in q.zeroPoint)
        return Quantization(tuple(float(s) for s in q.scale), zero_point, q.quantizedDimension)

    def set_quantization(self, tensor: int, quantization: Quantization) -> None:
        """Sets the quantization of a tensor that is already quantized."""
        q = self.subgraph.tensors[tensor].quantization
        q.scale, q.zeroPoint = np.array(quantization.scale, np.float32), np.array(quantization.zero_point, np.int64)
        q.quantizedDimension, q.min, q.max = quantization.dimension, None, None

    def constant(self, tensor: int) -> np.ndarray | None:
        """Returns the values of a constant tensor, or None if it is computed, absent (-1) or of an unusual type.

        The output of a DEQUANTIZE of a half-precision constant counts as a constant of type float.
        """
        if tensor < 0:
            return None
        if tensor not in self._constants:
            values = self._read_constant(self._half.get(tensor, tensor))
            self._constants[tensor] = values.astype(np.float32) if tensor in self._half and values is not None else values
        return self._constants[tensor]

    def _read_constant(self, tensor: int) -> np.ndarray | None:
        t = self.subgraph.tensors[tensor]
        data, dtype, shape = self.model.buffers[t.buffer].data, _DTYPES.get(t.type), self.shape(tensor)
        if data is None or len(data) == 0 or dtype is None or shape is None or t.isVariable or t.sparsity is not None:
            return None
        array = np.frombuffer(np.asarray(data, np.uint8).tobytes(), dtype)
        return array.reshape(shape) if array.size == math.prod(shape) else None

    def producers(self) -> dict[int, int]:
        """Returns the index of the operator that produces each tensor."""
        return {int(t): i for i, operator in enumerate(self.operators) for t in operator.outputs}

    def consumers(self) -> dict[int, list[int]]:
        """Returns the indices of the operators that read each tensor, in order."""
        consumers: dict[int, list[int]] = {}
        for i, operator in enumerate(self.operators):
            for t in dict.fromkeys(int(t) for t in (() if operator.inputs is None else operator.inputs) if t >= 0):
                consumers.setdefault(t, []).append(i)
        return consumers

    def computed_inputs(self, operator: schema.OperatorT) -> list[int]:
        """Returns the non-constant tensors that an operator reads, each once."""
        read = (int(t) for t in operator.inputs)
        return list(dict.fromkeys(t for t in read if t >= 0 and self.constant(t) is None))

    def add_tensor(self, shape: Sequence[int], type_: int, name: str, quantization: Quantization | None = None) -> int:
        """Adds a tensor that an operator computes and returns its index."""
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.name, tensor.buffer = [int(s) for s in shape], type_, name.encode(), 0
        tensor.hasRank = True
        tensor.quantization = schema.QuantizationParametersT()
        if quantization is not None:
            tensor.quantization.scale = np.array(quantization.scale, np.float32)
            tensor.quantization.zeroPoint = np.array(quantization.zero_point, np.int64)
            tensor.quantization.quantizedDimension = quantization.dimension
        self.subgraph.tensors.append(tensor)
        return len(self.subgraph.tensors) - 1

    def add_constant(self, values: np.ndarray, name: str, like: int | None = None, take: Sequence[int] | None = None) -> int:
        """Adds a constant tensor and returns its index.

        Args:
          values: content of the tensor.
          like: tensor whose type and quantization to use; None: the type of `values`, without quantization.
          take: for per-slice quantization: the slices of `like` that `values` consists of.
        """
        if like in self._half:
            half = self.add_constant(values, f"{name}/half", like=self._half[like], take=take)
            full = self.add_tensor(values.shape, self.type(like), name)
            self._half[full] = half
            self._prologue.append(self.operator("DEQUANTIZE", [half], [full], schema.DequantizeOptionsT()))
            return full
        quantization = None if like is None else self.quantization(like)
        if quantization is not None and take is not None:
            quantization = quantization.take(take)
        type_ = _TYPES[values.dtype] if like is None else self.type(like)
        index = self.add_tensor(values.shape, type_, name, quantization)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values, _DTYPES[type_]).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        self.subgraph.tensors[index].buffer = len(self.model.buffers) - 1
        return index

    def operator(self, kind: str, inputs: Sequence[int], outputs: Sequence[int], options=None) -> schema.OperatorT:
        """Creates an operator; the caller inserts it into the graph.

        Args:
          options: an object of the schema such as ConcatenationOptionsT, or None.
        """
        operator = schema.OperatorT()
        operator.opcodeIndex = self._opcode(kind, self.type(outputs[0]))
        operator.inputs, operator.outputs = [int(t) for t in inputs], [int(t) for t in outputs]
        if options is not None:
            operator.builtinOptions = options
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__[:-1])
        return operator

    def _opcode(self, kind: str, type_: int) -> int:
        version = _INT8_VERSION.get(kind, 1) if type_ in (schema.TensorType.INT8, schema.TensorType.UINT8) else 1
        codes = self.model.operatorCodes
        for i, code in enumerate(codes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == CODES[kind] and code.version >= version:
                return i
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = CODES[kind], min(CODES[kind], 127), version
        codes.append(code)
        return len(codes) - 1

    def pack(self) -> bytes:
        """Returns the flatbuffer without unused operators, tensors and buffers."""
        self.operators = [*self._prologue, *self.operators]
        self._prologue = []
        self.drop_dead_operators()
        prune.tensors(self.model)
        prune.buffers(self.model)
        self._constants.clear()
        return pack(self.model)

    def drop_dead_operators(self) -> None:
        """Removes the operators whose results are not read."""
        self.operators = prune.live_operators(self.operators, self.outputs, self.kind)
