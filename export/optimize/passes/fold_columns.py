"""Pass: convolutions of images read neighbouring columns as channels, because three channels fill no vector unit.

A row of W pixels of C channels is, in memory, a row of W / n pixels of n * C channels. With weights rearranged (and zeros
between), one position of the folded convolution computes several neighbouring outputs as channels, which unfold again
without moving. The results are the same, at fewer positions and with fewer taps of the kernel. An explicit padding before the
convolution is absorbed too where that pays: see `analysis/padding.py`.
"""

import dataclasses
import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer.edit import reshape
from export.flatbuffer.graph import Graph
from export.optimize.analysis.padding import absorbed, padding_of
from export.optimize.targets.cost_model import CostModel

_FACTORS = (1, 2, 4)
_SAME = schema.Padding.SAME


@dataclasses.dataclass(frozen=True)
class _Fold:
    """A convolution folded so that `factor` outputs are computed at once.

    Attributes:
      columns: of the input that become one.
      left: columns of padding that the first output has.
      kernel: width of the folded kernel, in groups of columns, of which the first is group `first` of the output's own.
      widen: columns to be added to an explicit padding on the right.
    """

    factor: int
    columns: int
    left: int
    first: int
    kernel: int
    widen: int


def fold_columns(graph: Graph, model: CostModel) -> str | None:
    """Folds the convolutions that become cheaper."""
    folded = absorbed_pads = 0
    for operator in list(graph.operators):
        if graph.kind(operator) != "CONV_2D" or not _is_plain(graph, operator):
            continue
        pad = padding_of(graph, operator)
        forms = [form for form in (operator, absorbed(graph, operator, pad)) if form is not None]
        candidates = [(form, fold) for form in forms for fold in (None, *_folds(graph, form))]
        costs = [
            _cost(graph, form, fold, model) + (0 if form is operator else -_pad_cost(graph, pad, model))
            for form, fold in candidates
        ]
        form, fold = candidates[int(np.argmin(costs))]
        if form is not operator:
            vars(operator).update(vars(form))
            absorbed_pads += 1
        if fold is not None:
            _apply(graph, operator, fold)
            folded += 1
    done = [f"{folded} CONV_2D with neighbouring columns as channels"] if folded else []
    done += [f"{absorbed_pads} PAD within the convolution"] if absorbed_pads else []
    return ", ".join(done) or None


def _folds(graph: Graph, operator: schema.OperatorT) -> list[_Fold]:
    return [fold for factor in _FACTORS if (fold := _fold(graph, operator, factor)) is not None]


def _pad_cost(graph: Graph, pad: schema.OperatorT, model: CostModel) -> float:
    shape = graph.shape(int(pad.outputs[0]))
    return model.pad(math.prod(shape[:3]), shape[3], graph.bytes_per_element(int(pad.outputs[0])))


def _is_plain(graph: Graph, operator: schema.OperatorT) -> bool:
    x, weights, *bias = (int(t) for t in operator.inputs)
    options, values, shape = operator.builtinOptions, graph.constant(weights), graph.shape(x)
    if values is None or values.ndim != 4 or not shape or len(shape) != 4 or graph.shape(int(operator.outputs[0])) is None:
        return False
    if any(b >= 0 and graph.constant(b) is None for b in bias) or values.shape[-1] != shape[-1]:
        return False
    quantization = graph.quantization(weights)
    along = quantization is None or len(quantization.scale) == 1 or quantization.dimension == 0
    return along and options.dilationWFactor == 1 and options.dilationHFactor == 1


def _fold(graph: Graph, operator: schema.OperatorT, factor: int) -> _Fold | None:
    options = operator.builtinOptions
    width, stride = graph.shape(int(operator.inputs[0]))[2], options.strideW
    kernel, outputs = graph.shape(int(operator.inputs[1]))[2], graph.shape(int(operator.outputs[0]))[2]
    columns = factor * stride
    if outputs % factor or columns == 1:
        return None
    same = options.padding == _SAME
    left = max((outputs - 1) * stride + kernel - width, 0) // 2 if same else 0
    first = math.floor(-left / columns)
    last = ((factor - 1) * stride - left + kernel - 1) // columns
    if same:
        if width % columns or outputs * stride != width:
            return None
        # The padding that SAME will give to the folded kernel must begin where its first group does.
        last = max(last, -first)
        if (last - first) // 2 != -first:
            return None
        return _Fold(factor, columns, left, first, last - first + 1, 0)
    widen = (outputs // factor + last) * columns - width
    if widen and (widen < 0 or not (padding_of(graph, operator) or _border_of(graph, operator))):
        return None
    return _Fold(factor, columns, left, first, last + 1, widen)


def _border_of(graph: Graph, operator: schema.OperatorT) -> schema.OperatorT | None:
    """Returns the CONCATENATION that puts constant columns to the right of what only `operator` reads, if there is one."""
    x = int(operator.inputs[0])
    producer = graph.producers().get(x)
    if producer is None or len(graph.consumers()[x]) != 1 or x in graph.outputs:
        return None
    border = graph.operators[producer]
    if graph.kind(border) != "CONCATENATION" or border.builtinOptions.axis not in (2, -2):
        return None
    return border if graph.constant(int(border.inputs[-1])) is not None else None


def _cost(graph: Graph, operator: schema.OperatorT, fold: _Fold | None, model: CostModel) -> float:
    shape, kernel = graph.shape(int(operator.outputs[0])), graph.shape(int(operator.inputs[1]))
    size, pixels = graph.bytes_per_element(int(operator.inputs[0])), math.prod(shape[:3])
    taps, inputs = kernel[1] * kernel[2], kernel[3]
    if fold is None:
        return model.convolution(pixels, inputs, shape[3], size, taps)
    taps = kernel[1] * fold.kernel
    x = graph.shape(int(operator.inputs[0]))
    reshaped = [x] if fold.factor == 1 else [x, shape]
    reshapes = sum(model.linear("reshape", 1, math.prod(side), size) for side in reshaped)
    return reshapes + model.convolution(pixels // fold.factor, inputs * fold.columns, shape[3] * fold.factor, size, taps)


def _apply(graph: Graph, operator: schema.OperatorT, fold: _Fold) -> None:
    x, weights, *bias = (int(t) for t in operator.inputs)
    y = int(operator.outputs[0])
    if fold.widen:
        _widen(graph, operator, fold.widen)
    n, h, w, c = graph.shape(x)
    folded_x = graph.add_tensor((n, h, w // fold.columns, c * fold.columns), graph.type(x), f"{graph.name(x)}/folded")
    n, h, w, c = graph.shape(y)
    tensors = graph.subgraph.tensors
    tensors[folded_x].quantization = tensors[x].quantization
    folded_y = y
    if fold.factor > 1:
        folded_y = graph.add_tensor((n, h, w // fold.factor, c * fold.factor), graph.type(y), f"{graph.name(y)}/folded")
        tensors[folded_y].quantization = tensors[y].quantization
    take = list(range(c)) * fold.factor
    values = _weights(graph, operator, fold)
    inputs = [folded_x, graph.add_constant(values, f"{graph.name(weights)}/folded", like=weights, take=take)]
    for b in bias:
        inputs.append(b if b < 0 else graph.add_constant(graph.constant(b)[take], f"{graph.name(b)}/folded", like=b, take=take))
    operator.inputs, operator.outputs = inputs, [folded_y]
    operator.builtinOptions = _with_stride(operator.builtinOptions, 1)
    at = next(i for i, other in enumerate(graph.operators) if other is operator)
    unfold = [reshape(graph, folded_y, y)] if fold.factor > 1 else []
    graph.operators[at : at + 1] = [reshape(graph, x, folded_x), operator, *unfold]


def _weights(graph: Graph, operator: schema.OperatorT, fold: _Fold) -> np.ndarray:
    """Returns the weights [factor * O, kernel height, groups, columns * C]."""
    weights = int(operator.inputs[1])
    values, quantization = graph.constant(weights), graph.quantization(weights)
    outputs, height, width, channels = values.shape
    zero = 0 if quantization is None else np.array(quantization.zero_point).reshape(-1, 1, 1, 1)
    shape = (fold.factor, outputs, height, fold.kernel * fold.columns, channels)
    folded = np.broadcast_to(np.asarray(zero, values.dtype), shape).copy()
    for r in range(fold.factor):
        start = r * operator.builtinOptions.strideW - fold.left - fold.first * fold.columns
        folded[r, :, :, start : start + width] = values
    return folded.reshape(fold.factor * outputs, height, fold.kernel, fold.columns * channels)


def _with_stride(options: schema.Conv2DOptionsT, stride: int) -> schema.Conv2DOptionsT:
    changed = schema.Conv2DOptionsT()
    vars(changed).update(vars(options))
    changed.strideW = stride
    return changed


def _widen(graph: Graph, operator: schema.OperatorT, columns: int) -> None:
    """Adds columns on the right of a convolution's input, which it will read with weights of zero."""
    pad = padding_of(graph, operator)
    if pad is not None:
        widths = graph.constant(int(pad.inputs[1])).copy()
        widths[2, 1] += columns
        pad.inputs = [int(pad.inputs[0]), graph.add_constant(widths, "paddings", like=int(pad.inputs[1]))]
    else:
        border = _border_of(graph, operator)
        last = int(border.inputs[-1])
        wider = np.pad(graph.constant(last), ((0, 0), (0, 0), (0, columns), (0, 0)), mode="edge")
        border.inputs = [*map(int, border.inputs[:-1]), graph.add_constant(wider, graph.name(last), like=last)]
    tensor = graph.subgraph.tensors[int(operator.inputs[0])]
    tensor.shape = [int(side) for side in tensor.shape]
    tensor.shape[2] += columns
    tensor.shapeSignature = None
