"""Explicit padding before a convolution, as exported by frameworks that pad both sides equally at stride 2."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer.graph import Graph


def padding_of(graph: Graph, operator: schema.OperatorT) -> schema.OperatorT | None:
    """Returns the PAD of rows and columns that only `operator` (which itself must not pad) reads, if there is one."""
    x = int(operator.inputs[0])
    producer = graph.producers().get(x)
    if producer is None or len(graph.consumers()[x]) != 1 or x in graph.outputs:
        return None
    pad = graph.operators[producer]
    if graph.kind(pad) != "PAD" or operator.builtinOptions.padding != schema.Padding.VALID:
        return None
    widths = graph.constant(int(pad.inputs[1]))
    if (
        widths is None
        or widths.shape != (4, 2)
        or widths[[0, 3]].any()
        or graph.quantization(int(pad.inputs[0])) != graph.quantization(x)
    ):
        return None
    return pad if graph.shape(int(pad.inputs[0])) else None


def absorbed(graph: Graph, operator: schema.OperatorT, pad: schema.OperatorT | None) -> schema.OperatorT | None:
    """Returns the convolution with SAME padding that is equivalent to `pad` and `operator`, or None if there is none.

    SAME pads at most one row or column more at the end than at the start; zeros extend the kernel until that fits.
    """
    if pad is None:
        return None
    x, weights = int(pad.inputs[0]), int(operator.inputs[1])
    widths, values, options = graph.constant(int(pad.inputs[1])), graph.constant(weights), operator.builtinOptions
    shape, outputs = graph.shape(x), graph.shape(int(operator.outputs[0]))
    extended = [(0, 0)]
    for axis, stride in ((1, options.strideH), (2, options.strideW)):
        zeros = _zeros(shape[axis], outputs[axis], values.shape[axis], stride, int(widths[axis, 0]))
        if zeros is None:
            return None
        extended.append(zeros)
    quantization = graph.quantization(weights)
    zero = 0 if quantization is None else np.array(quantization.zero_point).reshape(-1, 1, 1, 1)
    mask = np.pad(np.ones(values.shape, bool), [*extended, (0, 0)])
    values = np.where(mask, np.pad(values, [*extended, (0, 0)]), zero).astype(values.dtype)
    copy, copied_options = schema.OperatorT(), type(options)()
    vars(copy).update(vars(operator))
    vars(copied_options).update(vars(options))
    copied_options.padding = schema.Padding.SAME
    every = range(values.shape[0])
    copy.inputs = [x, graph.add_constant(values, graph.name(weights), like=weights, take=every), *map(int, operator.inputs[2:])]
    copy.builtinOptions = copied_options
    return copy


def _zeros(size: int, outputs: int, kernel: int, stride: int, before: int) -> tuple[int, int] | None:
    """Returns the number of zeros before and after a kernel along one axis, or None."""
    if -(-size // stride) != outputs:
        return None
    for length in range(kernel, 2 * kernel + 1):
        total = (outputs - 1) * stride + length - size
        lead = total // 2 - before
        if total >= 0 and lead >= 0 and length - lead - kernel >= 0:
            return lead, length - lead - kernel
    return None
