"""Pass: replaces an explicit PAD by the padding of the operator that follows it.

Frameworks that pad both sides alike write PAD and an operator of padding VALID. The two are the same as padding SAME if that
begins with as many rows and columns. Padding that would need a larger kernel is a matter of cost: see `fold_columns.py`.
"""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer.graph import LOWEST, Graph
from export.optimize.analysis.signs import never_negative
from export.optimize.targets.cost_model import CostModel

_KINDS = ("CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D")
_PADS = ("PAD", "PADV2")


def absorb_pads(graph: Graph, model: CostModel) -> str | None:
    """Replaces PAD and padding VALID by padding SAME wherever the two are equal."""
    absorbed = 0
    for operator in graph.operators:
        if graph.kind(operator) in _KINDS and operator.builtinOptions.padding == schema.Padding.VALID:
            pad = _pad(graph, operator)
            if pad is not None and all(_fits(graph, pad, operator, axis) for axis in (1, 2)):
                operator.inputs = [int(pad.inputs[0]), *map(int, operator.inputs[1:])]
                operator.builtinOptions = _same(operator.builtinOptions)
                absorbed += 1
    graph.drop_dead_operators()
    return f"{absorbed} PAD as padding of what reads it" if absorbed else None


def _pad(graph: Graph, operator: schema.OperatorT) -> schema.OperatorT | None:
    """Returns the padding of rows and columns before `operator`, with what SAME would pad with, if there is one."""
    x = int(operator.inputs[0])
    index = graph.producers().get(x)
    if index is None or graph.kind(graph.operators[index]) not in _PADS:
        return None
    pad = graph.operators[index]
    widths, source = graph.constant(int(pad.inputs[1])), int(pad.inputs[0])
    shapes = [graph.shape(t) for t in (source, x, int(operator.outputs[0]))]
    if widths is None or widths.shape != (4, 2) or widths[[0, 3]].any() or not all(shapes):
        return None
    like = graph.quantization(source) == graph.quantization(x) and graph.type(source) == graph.type(x)
    return pad if like and _is_neutral(graph, pad, operator) else None


def _is_neutral(graph: Graph, pad: schema.OperatorT, operator: schema.OperatorT) -> bool:
    """Whether the padding's value is one that SAME does without: zero for a convolution, the lowest for a maximum."""
    x, value = int(pad.inputs[0]), None
    quantization = graph.quantization(x)
    zero = 0 if quantization is None else quantization.zero_point[0]
    if graph.kind(pad) == "PADV2":
        value = graph.constant(int(pad.inputs[2]))
        if value is None or value.size != 1:
            return False
    padded = zero if value is None else value.ravel()[0]
    if graph.kind(operator) != "MAX_POOL_2D":
        return bool(padded == zero)
    lowest = np.finfo(np.float32).min if quantization is None else LOWEST.get(graph.type(x))
    return lowest is not None and bool(padded <= lowest or (padded == zero and never_negative(graph, x)))


def _fits(graph: Graph, pad: schema.OperatorT, operator: schema.OperatorT, axis: int) -> bool:
    """Whether SAME puts the kernel at the places along `axis` where it is behind the padding."""
    options, size = operator.builtinOptions, graph.shape(int(pad.inputs[0]))[axis]
    outputs, before = graph.shape(int(operator.outputs[0]))[axis], int(graph.constant(int(pad.inputs[1]))[axis, 0])
    stride = options.strideH if axis == 1 else options.strideW
    if graph.kind(operator) == "MAX_POOL_2D":
        kernel = options.filterHeight if axis == 1 else options.filterWidth
    else:
        dilation = options.dilationHFactor if axis == 1 else options.dilationWFactor
        kernel = (graph.shape(int(operator.inputs[1]))[axis] - 1) * dilation + 1
    total = max((outputs - 1) * stride + kernel - size, 0)
    return outputs == -(-size // stride) and total // 2 == before


def _same(options):
    copied = type(options)()
    vars(copied).update(vars(options))
    copied.padding = schema.Padding.SAME
    return copied
