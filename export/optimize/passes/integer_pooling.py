"""Pass: replaces average pooling in integers by a depthwise convolution, which XNNPACK takes and which is bit-identical.

The mean of an odd number of values is a depthwise convolution with equal weights: it never lies half-way between two
integers, where kernels differ. With padding SAME, windows at the borders see fewer values; these few outputs are computed
apart, in floating point where their number is even (see `float_islands.py`).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer.graph import Graph, Quantization
from export.optimize.passes.float_islands import pooled_in_float
from export.optimize.targets.cost_model import CostModel

_WEIGHT = 127  # the finer the sum, the less the reference kernel's two roundings matter
_MOST = 121  # values of a mean: an odd number's distance from a half is then four times those roundings
_NONE = schema.ActivationFunctionType.NONE


@dataclasses.dataclass(frozen=True)
class Segment:
    """Outputs along one axis whose windows see equally many inputs.

    Attributes:
      outputs: how many.
      start, stop: of the inputs that they see.
      taps: inputs that each of them sees.
    """

    outputs: int
    start: int
    stop: int
    taps: int


def integer_average_pool(graph: Graph, model: CostModel) -> str | None:
    """Replaces each int8 AVERAGE_POOL_2D that keeps its scale by depthwise convolutions."""
    operators, replaced = [], 0
    for operator in graph.operators:
        lowered = _lowered(graph, operator) if graph.kind(operator) == "AVERAGE_POOL_2D" else None
        operators += [operator] if lowered is None else lowered
        replaced += lowered is not None
    graph.operators = operators
    return f"{replaced} AVERAGE_POOL_2D as depthwise convolutions" if replaced else None


def segments(size: int, outputs: int, kernel: int, stride: int, same: bool) -> list[Segment]:
    """Returns the runs of outputs along an axis of `size` inputs that see equally many of them, in order."""
    before = max((outputs - 1) * stride + kernel - size, 0) // 2 if same else 0
    result: list[Segment] = []
    for i in range(outputs):
        start, stop = max(0, i * stride - before), min(size, i * stride - before + kernel)
        last = result[-1] if result else None
        if last is not None and last.taps == stop - start and start == last.start + last.outputs * stride:
            result[-1] = Segment(last.outputs + 1, last.start, stop, last.taps)
        else:
            result.append(Segment(1, start, stop, stop - start))
    return result


def _lowered(graph: Graph, operator: schema.OperatorT) -> list[schema.OperatorT] | None:
    x, y, options = int(operator.inputs[0]), int(operator.outputs[0]), operator.builtinOptions
    quantization, shape, output_shape = graph.quantization(x), graph.shape(x), graph.shape(y)
    plain = options.fusedActivationFunction == _NONE and graph.type(x) == schema.TensorType.INT8
    if (
        not plain
        or quantization is None
        or quantization != graph.quantization(y)
        or not shape
        or not output_shape
        or len(shape) != 4
    ):
        return None
    same = options.padding == schema.Padding.SAME
    rows = segments(shape[1], output_shape[1], options.filterHeight, options.strideH, same)
    columns = segments(shape[2], output_shape[2], options.filterWidth, options.strideW, same)
    odd = [r.taps * c.taps % 2 == 1 for r in rows for c in columns]
    if not any(odd) or len(rows) > 3 or len(columns) > 3 or options.filterHeight * options.filterWidth > _MOST:
        return None
    pool = _Pool(graph, x, y, options)
    pool.joined([pool.row(r, columns) for r in rows], 1)
    pool.operators[-1].outputs = [y]
    return pool.operators


class _Pool:
    """The operators that make one pooled tensor."""

    def __init__(self, graph: Graph, x: int, y: int, options: schema.Pool2DOptionsT):
        self.graph, self.x, self.y, self.options = graph, x, y, options
        self.strides = options.strideH, options.strideW
        self.quantization = graph.quantization(x)
        self.operators: list[schema.OperatorT] = []

    def row(self, rows: Segment, columns: Sequence[Segment]) -> int:
        """Returns the outputs of a segment of rows."""
        whole = Segment(sum(c.outputs for c in columns), 0, self.graph.shape(self.x)[2], self.options.filterWidth)
        if rows.taps % 2 == 0 and rows.outputs == 1 and rows.taps <= self.strides[0]:
            return self._in_float(rows, whole, self.options.padding)
        return self.joined([self._piece(rows, c) for c in columns], 2)

    def joined(self, parts: list[int], axis: int) -> int:
        """Returns the concatenation of `parts`."""
        if len(parts) == 1:
            return parts[0]
        size = list(self.graph.shape(parts[0]))
        size[axis] = sum(self.graph.shape(part)[axis] for part in parts)
        options = schema.ConcatenationOptionsT()
        options.axis = axis
        return self._emit("CONCATENATION", parts, tuple(size), options)

    def _emit(self, kind: str, inputs: list[int], shape: tuple[int, ...], options) -> int:
        name = f"{self.graph.name(self.y)}/{len(self.operators)}"
        output = self.graph.add_tensor(shape, schema.TensorType.INT8, name, self.quantization)
        self.operators.append(self.graph.operator(kind, inputs, [output], options))
        return output

    def _piece(self, rows: Segment, columns: Segment) -> int:
        """Returns the outputs of one segment of each axis."""
        count = rows.taps * columns.taps
        if count % 2 == 0:
            return self._in_float(rows, columns, schema.Padding.VALID)
        graph, (n, _, _, c) = self.graph, self.graph.shape(self.x)
        scale = float(np.float32(1 / (_WEIGHT * count)))
        like = graph.add_tensor((1,), schema.TensorType.INT8, "like", Quantization((scale,), (0,)))
        of_bias = Quantization((scale * self.quantization.scale[0],), (0,))
        like_bias = graph.add_tensor((1,), schema.TensorType.INT32, "like", of_bias)
        weights = graph.add_constant(np.full((1, rows.taps, columns.taps, c), _WEIGHT, np.int8), "mean", like=like)
        bias = graph.add_constant(np.zeros(c, np.int32), "zero", like=like_bias)
        options = schema.DepthwiseConv2DOptionsT()
        options.padding, options.depthMultiplier = schema.Padding.VALID, 1
        options.strideH, options.strideW = self.strides
        shape = (n, rows.outputs, columns.outputs, c)
        return self._emit("DEPTHWISE_CONV_2D", [self._cut(rows, columns), weights, bias], shape, options)

    def _in_float(self, rows: Segment, columns: Segment, padding: int) -> int:
        """Returns the outputs of segments whose windows see an even number of values."""
        options = schema.Pool2DOptionsT()
        vars(options).update(vars(self.options))
        options.filterHeight, options.filterWidth, options.padding = rows.taps, columns.taps, padding
        n, _, _, c = self.graph.shape(self.x)
        cut, shape = self._cut(rows, columns), (n, rows.outputs, columns.outputs, c)
        name = f"{self.graph.name(self.y)}/{len(self.operators)}"
        output = self.graph.add_tensor(shape, schema.TensorType.INT8, name, self.quantization)
        self.operators += pooled_in_float(self.graph, cut, output, options)
        return output

    def _cut(self, rows: Segment, columns: Segment) -> int:
        """Returns the inputs of a segment of each axis: a slice, but for axes on which a window more wouldn't fit anyway."""
        shape = self.graph.shape(self.x)
        begin, size = [0, 0, 0, 0], list(shape)
        for axis, segment, stride in ((1, rows, self.strides[0]), (2, columns, self.strides[1])):
            whole = segment.start == 0 and segment.stop == shape[axis]
            if not whole and (segment.start or (shape[axis] - segment.taps) // stride + 1 != segment.outputs):
                begin[axis], size[axis] = segment.start, segment.stop - segment.start
        if tuple(size) == shape:
            return self.x
        bounds = [self.graph.add_constant(np.array(values, np.int32), "bounds") for values in (begin, size)]
        return self._emit("SLICE", [self.x, *bounds], tuple(size), schema.SliceOptionsT())
