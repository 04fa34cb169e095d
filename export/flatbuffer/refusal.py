"""Why LiteRT refuses a quantized model: names the operator, the tensor and the scale that no kernel computes with."""

import numpy as np

from export.flatbuffer.graph import LOWEST, Graph

# Limits of XNNPACK's kernels, whose error message names no tensor and no scale (LiteRT 2.3, tried one by one).
_PRODUCT_LIMIT = 256.0  # input scale * weight scale / output scale, of whatever multiplies by weights
_LEAST = float(np.finfo(np.float32).tiny)
# The integer kernel of sums works with 20 more bits, and aborts the process where they aren't enough.
_SUM_BITS = 20
_WEIGHTED = {"CONV_2D": (0, 1), "DEPTHWISE_CONV_2D": (0, 1), "FULLY_CONNECTED": (0, 1), "TRANSPOSE_CONV": (2, 1)}
_ADVICE = (
    "quantize it again with representative inputs on which no tensor is constant or without bounds (a max-pool padded with "
    "-3.4e38 is: pad it with SAME, or behind a ReLU with 0), or leave this operator in floating point"
)


def explain(graph: Graph) -> str | None:
    """Returns what is wrong with the scales of a model, as a clause with what to do; None: nothing is."""
    for index, operator in enumerate(graph.operators):
        fault = _fault(graph, operator)
        if fault is not None:
            tensor, reason = fault
            scale = graph.quantization(tensor).scale
            value = f"{scale[int(np.argmax(np.abs(np.log(np.maximum(scale, 1e-45)))))]:.3g}"
            return f"operator {index}, {graph.kind(operator)}, has {graph.name(tensor)!r} of scale {value}, {reason}: {_ADVICE}"
    return None


def _fault(graph: Graph, operator) -> tuple[int, str] | None:
    """Returns the tensor to blame and the reason, or None."""
    kind, inputs = graph.kind(operator), [int(t) for t in (() if operator.inputs is None else operator.inputs)]
    tensors = [t for t in (*inputs, *map(int, operator.outputs)) if t >= 0]
    for t in tensors:
        if graph.type(t) in LOWEST and (q := graph.quantization(t)) is not None and min(q.scale) < _LEAST:
            return t, f"and nothing below {_LEAST:.3g} is a scale"
    y = int(operator.outputs[0]) if len(operator.outputs) else -1
    if kind in _WEIGHTED and len(inputs) > max(_WEIGHTED[kind]):
        return _product_fault(graph, *(inputs[p] for p in _WEIGHTED[kind]), y)
    if kind in ("ADD", "SUB") and len(inputs) == 2:
        return _sum_fault(graph, inputs, y)
    return None


def _quantized(graph: Graph, tensors: list[int]) -> bool:
    return all(t >= 0 and graph.type(t) in LOWEST and graph.quantization(t) is not None for t in tensors)


def _product_fault(graph: Graph, x: int, weights: int, y: int) -> tuple[int, str] | None:
    if not _quantized(graph, [x, weights, y]):
        return None
    input_scale, output_scale = graph.quantization(x).scale[0], graph.quantization(y).scale[0]
    ratio = input_scale * max(graph.quantization(weights).scale) / output_scale
    if ratio < _PRODUCT_LIMIT:
        return None
    # The farther from 1 of the two; that of the weights is what their values make it.
    blamed = x if abs(np.log(input_scale)) > abs(np.log(output_scale)) else y
    return blamed, f"so that input * weight / output scale is {ratio:.3g}, where less than {_PRODUCT_LIMIT:.0f} can be computed"


def _sum_fault(graph: Graph, inputs: list[int], y: int) -> tuple[int, str] | None:
    if not _quantized(graph, [*inputs, y]):
        return None
    largest = max(inputs, key=lambda t: graph.quantization(t).scale[0])
    input_scale, output_scale = graph.quantization(largest).scale[0], graph.quantization(y).scale[0]
    if output_scale * 2**_SUM_BITS > np.finfo(np.float32).max or 2 * input_scale >= output_scale * 2**_SUM_BITS:
        blamed = largest if abs(np.log(input_scale)) > abs(np.log(output_scale)) else y
        return blamed, f"so that input / output scale is {input_scale / output_scale:.3g}, where the sum can't be computed"
    return None
