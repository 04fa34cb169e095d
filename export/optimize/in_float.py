"""Passes: what XNNPACK does not take in integers, done in floating point between a DEQUANTIZE and a QUANTIZE.

An operator that the delegate leaves out costs more than its own time: the graph falls into parts, and what stands at the
border of two is copied.
"""

from collections.abc import Callable

from ai_edge_litert import schema_py_generated as schema

from export.optimize.cost import CostModel
from export.optimize.graph import Graph

_QUANTIZED = (schema.TensorType.INT8, schema.TensorType.UINT8)


def float_average_pool(graph: Graph, model: CostModel) -> str | None:
    """Replaces each quantized AVERAGE_POOL_2D by DEQUANTIZE, AVERAGE_POOL_2D and QUANTIZE.

    A result that lies half-way between two quanta may be rounded to the other one.
    """
    return _in_float(graph, "AVERAGE_POOL_2D")


def float_softmax(graph: Graph, model: CostModel) -> str | None:
    """Replaces each quantized SOFTMAX by DEQUANTIZE, SOFTMAX and QUANTIZE, which is also the more exact."""
    return _in_float(graph, "SOFTMAX")


def _in_float(graph: Graph, kind: str) -> str | None:
    def compute(operator: schema.OperatorT, x: int) -> list[schema.OperatorT]:
        y = int(operator.outputs[0])
        real = graph.add_tensor(graph.shape(y), schema.TensorType.FLOAT32, f"{graph.name(y)}/float")
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
        real = graph.add_tensor(graph.shape(x), schema.TensorType.FLOAT32, f"{graph.name(x)}/float")
        operators += [graph.operator("DEQUANTIZE", [x], [real], schema.DequantizeOptionsT()), *make(operator, real)]
        replaced += 1
    graph.operators = operators
    return replaced


def _is_quantized(graph: Graph, tensors: list[int]) -> bool:
    return all(graph.type(t) in _QUANTIZED and graph.shape(t) and graph.quantization(t) is not None for t in tensors)
