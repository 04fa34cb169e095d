"""Passes: compute in floating point, between a DEQUANTIZE and a QUANTIZE, the operators that XNNPACK does not take in integers.

An operator that the delegate leaves out costs more than its own time: it splits the graph into partitions, and tensors at their
borders are copied.
"""

from collections.abc import Callable

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer.graph import LOWEST, Graph
from export.optimize.targets.cost_model import CostModel

_QUANTIZED = (schema.TensorType.INT8, schema.TensorType.UINT8)
_FLOAT = schema.TensorType.FLOAT32


def float_average_pool(graph: Graph, model: CostModel) -> str | None:
    """Replaces each quantized AVERAGE_POOL_2D by DEQUANTIZE, AVERAGE_POOL_2D, a nudge and QUANTIZE.

    The integer kernel rounds what lies half-way between two quanta away from zero, QUANTIZE to the even one. Values are
    therefore stretched round zero, by less than what could carry any other mean over a half.
    """

    def pool(operator: schema.OperatorT, x: int) -> list[schema.OperatorT]:
        return _pooled(graph, x, int(operator.outputs[0]), operator.builtinOptions)

    def same_scale(operator: schema.OperatorT) -> bool:
        x, y = int(operator.inputs[0]), int(operator.outputs[0])
        return graph.kind(operator) == "AVERAGE_POOL_2D" and graph.quantization(x) == graph.quantization(y)

    n = _replace(graph, same_scale, pool)
    return f"{n} AVERAGE_POOL_2D in floating point" if n else None


def pooled_in_float(graph: Graph, x: int, y: int, options: schema.Pool2DOptionsT) -> list[schema.OperatorT]:
    """Returns the operators that pool the quantized tensor `x` to `y` in floating point."""
    real = graph.add_tensor(graph.shape(x), _FLOAT, f"{graph.name(x)}/float")
    return [graph.operator("DEQUANTIZE", [x], [real], schema.DequantizeOptionsT()), *_pooled(graph, real, y, options)]


def _pooled(graph: Graph, x: int, y: int, options: schema.Pool2DOptionsT) -> list[schema.OperatorT]:
    """Returns the operators that pool the float tensor `x` to the quantized `y`."""
    (scale,), (zero_point,) = graph.quantization(y).scale, graph.quantization(y).zero_point
    largest = 128 if graph.type(y) == schema.TensorType.INT8 else 255
    stretch = 0.42 / (largest * max(1, options.filterHeight * options.filterWidth))
    pooled, stretched, nudged = (graph.add_tensor(graph.shape(y), _FLOAT, f"{graph.name(y)}/{n}") for n in range(3))
    factor = graph.add_constant(np.float32(1 + stretch).reshape(1), "stretch", pooled)
    shift = graph.add_constant(np.float32(stretch * zero_point * scale).reshape(1), "shift", pooled)
    return [
        graph.operator("AVERAGE_POOL_2D", [x], [pooled], options),
        graph.operator("MUL", [pooled, factor], [stretched], schema.MulOptionsT()),
        graph.operator("ADD", [stretched, shift], [nudged], schema.AddOptionsT()),
        graph.operator("QUANTIZE", [nudged], [y], schema.QuantizeOptionsT()),
    ]


def float_relu(graph: Graph, model: CostModel) -> str | None:
    """Replaces each quantized RELU to another scale, whose zero is its lowest value, by DEQUANTIZE and QUANTIZE."""

    def rescaling(operator: schema.OperatorT) -> bool:
        if graph.kind(operator) != "RELU":
            return False
        x, y = (graph.quantization(int(t)) for t in (operator.inputs[0], operator.outputs[0]))
        return x != y and y is not None and y.zero_point == (LOWEST.get(graph.type(int(operator.outputs[0]))),)

    def quantize(operator: schema.OperatorT, x: int) -> list[schema.OperatorT]:
        return [graph.operator("QUANTIZE", [x], operator.outputs, schema.QuantizeOptionsT())]

    n = _replace(graph, rescaling, quantize)
    return f"{n} RELU as DEQUANTIZE and saturating QUANTIZE" if n else None


def float_softmax(graph: Graph, model: CostModel) -> str | None:
    """Replaces each quantized SOFTMAX by DEQUANTIZE, SOFTMAX and QUANTIZE, which is also more exact."""
    return _in_float(graph, "SOFTMAX")


def float_hard_swish(graph: Graph, model: CostModel) -> str | None:
    """Replaces each quantized HARD_SWISH by DEQUANTIZE, HARD_SWISH and QUANTIZE, which is also more exact."""
    return _in_float(graph, "HARD_SWISH")


def _in_float(graph: Graph, kind: str) -> str | None:
    def compute(operator: schema.OperatorT, x: int) -> list[schema.OperatorT]:
        y = int(operator.outputs[0])
        real = graph.add_tensor(graph.shape(y), _FLOAT, f"{graph.name(y)}/float")
        return [
            graph.operator(kind, [x], [real], operator.builtinOptions),
            graph.operator("QUANTIZE", [real], [y], schema.QuantizeOptionsT()),
        ]

    n = _replace(graph, lambda operator: graph.kind(operator) == kind, compute)
    return f"{n} {kind} in floating point" if n else None


def float_requantize(graph: Graph, model: CostModel) -> str | None:
    """Replaces each QUANTIZE between int8 and uint8 (at the inputs and outputs of most models) by DEQUANTIZE and QUANTIZE."""

    def between(operator: schema.OperatorT) -> bool:
        return graph.kind(operator) == "QUANTIZE" and graph.type(int(operator.inputs[0])) != graph.type(
            int(operator.outputs[0])
        )

    def quantize(operator: schema.OperatorT, x: int) -> list[schema.OperatorT]:
        return [graph.operator("QUANTIZE", [x], operator.outputs, schema.QuantizeOptionsT())]

    n = _replace(graph, between, quantize)
    return f"{n} QUANTIZE between int8 and uint8 through floating point" if n else None


def _replace(
    graph: Graph,
    wanted: Callable[[schema.OperatorT], bool],
    make: Callable[[schema.OperatorT, int], list[schema.OperatorT]],
) -> int:
    """Replaces the `wanted` operators of quantized static tensors by what `make` makes of the dequantized input."""
    operators, replaced = [], 0
    for operator in graph.operators:
        if not (wanted(operator) and _is_quantized(graph, [int(operator.inputs[0]), int(operator.outputs[0])])):
            operators.append(operator)
            continue
        x = int(operator.inputs[0])
        real = graph.add_tensor(graph.shape(x), _FLOAT, f"{graph.name(x)}/float")
        operators += [graph.operator("DEQUANTIZE", [x], [real], schema.DequantizeOptionsT()), *make(operator, real)]
        replaced += 1
    graph.operators = operators
    return replaced


def _is_quantized(graph: Graph, tensors: list[int]) -> bool:
    return all(graph.type(t) in _QUANTIZED and graph.shape(t) and graph.quantization(t) is not None for t in tensors)
