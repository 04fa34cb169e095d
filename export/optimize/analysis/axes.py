"""What operators become when all their tensors are transposed: the rules behind `passes/change_layouts.py`.

A tensor in another layout is the old one transposed by an order of its axes: axis k of the new one is axis order[k] of the
old one. For each kind of operator there is a rule that follows an order from one of its tensors to the others, and one that
rewrites its constants and options.
"""

import itertools
import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer import edit
from export.flatbuffer.graph import Graph

Order = tuple[int, ...]

_UNARY_NAMES = """
    ABS CAST CEIL COS DEQUANTIZE ELU EXP FLOOR GELU HARD_SWISH LEAKY_RELU LOG LOGICAL_NOT LOGISTIC NEG QUANTIZE RELU RELU6
    RELU_N1_TO_1 ROUND RSQRT SIN SQRT SQUARE TANH
    """
_UNARY = frozenset(_UNARY_NAMES.split())
_BINARY_NAMES = """
    ADD DIV EQUAL FLOOR_DIV GREATER GREATER_EQUAL LESS LESS_EQUAL LOGICAL_AND LOGICAL_OR MAXIMUM MINIMUM MUL NOT_EQUAL POW
    PRELU SQUARED_DIFFERENCE SUB
    """
_BINARY = frozenset(_BINARY_NAMES.split())
_LAST = frozenset(("SOFTMAX", "LOG_SOFTMAX", "L2_NORMALIZATION"))  # work along the last axis
_REDUCING = frozenset(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"))
RESHAPES = frozenset(("RESHAPE", "SQUEEZE", "EXPAND_DIMS"))
# Constants that have an entry an axis, by position.
_BY_AXIS = {"PAD": (1,), "PADV2": (1,), "MIRROR_PAD": (1,), "SLICE": (1, 2), "STRIDED_SLICE": (1, 2, 3), "TILE": (1,)}
_AXIS_INPUT = {"SPLIT": 0, "SPLIT_V": 2}
_DATA = {"SPLIT": 1}  # position of the only data input, where it isn't 0
_MASKS = ("beginMask", "endMask")


def inverse(order: Order) -> Order:
    """Returns the order that undoes `order`."""
    return tuple(int(axis) for axis in np.argsort(order))


def compose(first: Order, second: Order) -> Order:
    """Returns the order that does what `first` and then `second` do."""
    return tuple(first[axis] for axis in second)


def follow(graph: Graph, operator: schema.OperatorT, tensor: int, order: Order) -> dict[int, Order] | None:
    """Returns the orders of all data tensors of `operator` if `tensor`, one of them, has `order`; None: it can't be."""
    kind, data = graph.kind(operator), data_inputs(graph, operator)
    if data is None or any(graph.shape(t) is None for t in (*data, *operator.outputs)):
        return None
    x, outputs = data[0], [int(t) for t in operator.outputs]
    if kind in RESHAPES:
        other = outputs[0] if tensor == x else x
        induced = reshaped(graph.shape(tensor), graph.shape(other), order)
        return None if induced is None else {tensor: order, other: induced}
    if kind in _REDUCING and not operator.builtinOptions.keepDims:
        if tensor != x:
            return None
        gone = {int(axis) % len(order) for axis in graph.constant(int(operator.inputs[1])).ravel()}
        left = [axis for axis in order if axis not in gone]
        return {x: order, outputs[0]: tuple(sorted(left).index(axis) for axis in left)}
    if kind in _LAST and order[-1] != len(order) - 1:
        return None
    if any(len(graph.shape(t)) != len(order) for t in (*data, *outputs)):
        return None
    return dict.fromkeys((*data, *outputs), order)


def data_inputs(graph: Graph, operator: schema.OperatorT) -> list[int] | None:
    """Returns the tensors that would be transposed along with the result; None where the operator has no other layout."""
    kind = graph.kind(operator)
    inputs = [int(t) for t in (() if operator.inputs is None else operator.inputs)]
    if not inputs or min(inputs) < 0:
        return None
    if kind in _BINARY or kind == "CONCATENATION":
        data = [t for t in inputs if graph.constant(t) is None]
        constants = [t for t in inputs if graph.constant(t) is not None]
        single = all((q := graph.quantization(t)) is None or len(q.scale) == 1 for t in constants)
        known = kind != "CONCATENATION" or not constants
        # Constants that LiteRT would broadcast the result of the other input to are of no more axes than that.
        rank = len(graph.subgraph.tensors[int(operator.outputs[0])].shape)
        return data if data and single and known and all(graph.constant(t).ndim <= rank for t in constants) else None
    known = kind in _UNARY or kind in _LAST or kind in RESHAPES or kind in _REDUCING or kind in _BY_AXIS or kind in _AXIS_INPUT
    if not (known or (kind == "GATHER" and _gathers_slices(graph, operator))) or not _has_constants(graph, operator):
        return None
    x = inputs[_DATA.get(kind, 0)]
    return None if graph.constant(x) is not None else [x]


def _gathers_slices(graph: Graph, operator: schema.OperatorT) -> bool:
    options, indices = operator.builtinOptions, graph.constant(int(operator.inputs[1]))
    return options is not None and not options.batchDims and indices is not None and indices.ndim == 1


def _has_constants(graph: Graph, operator: schema.OperatorT) -> bool:
    """Whether all inputs but the data are constant, and nothing adds or removes axes on the way."""
    kind = graph.kind(operator)
    others = [int(t) for i, t in enumerate(operator.inputs) if i != _DATA.get(kind, 0)]
    if kind not in RESHAPES and any(graph.constant(t) is None for t in others):
        return False
    options = operator.builtinOptions
    if kind == "STRIDED_SLICE":
        return not (options.ellipsisMask or options.newAxisMask or options.shrinkAxisMask or options.offset)
    return True


def reshaped(shape: Order, target: Order, order: Order) -> Order | None:
    """Returns the order of `target`'s axes that goes with `order` of those of `shape`, which it's a reshape of.

    Axes of both are matched in the smallest runs of equal size, which keep together. Sides of length 1 may stand anywhere;
    those that don't begin the shape go before the others, where the height and width of a vector stand.
    """
    runs = _runs(shape, target)
    if runs is None:
        return None
    run_of = {axis: run for run, (axes, _) in enumerate(runs) for axis in axes}
    walked = [axis for axis in order if shape[axis] != 1]
    met = [run for run, _ in itertools.groupby(run_of[axis] for axis in walked)]
    if [axis for run in met for axis in runs[run][0]] != walked:
        return None
    ones = [axis for axis, side in enumerate(target) if side == 1]
    return (*ones, *(axis for run in met for axis in runs[run][1]))


def _runs(shape: Order, target: Order) -> list[tuple[list[int], list[int]]] | None:
    """Returns (axes of `shape`, axes of `target`) of the smallest runs of equal size, without sides of length 1."""
    if 0 in shape or math.prod(shape) != math.prod(target):
        return None
    left = [axis for axis, side in enumerate(shape) if side != 1]
    right = [axis for axis, side in enumerate(target) if side != 1]
    runs = []
    while left:
        first, second = [left.pop(0)], [right.pop(0)]
        while (size := math.prod(shape[a] for a in first)) != (other := math.prod(target[a] for a in second)):
            if size < other:
                first.append(left.pop(0))
            else:
                second.append(right.pop(0))
        runs.append((first, second))
    return runs


def rewrite(graph: Graph, operator: schema.OperatorT, orders: dict[int, Order], new: dict[int, int]) -> schema.OperatorT:
    """Returns the operator that does the same in another layout.

    Args:
      orders: of its data tensors.
      new: their tensors in that layout.
    """
    kind, data = graph.kind(operator), data_inputs(graph, operator)
    order = orders[data[0]]
    if kind in RESHAPES:
        return edit.reshape(graph, new[data[0]], new[int(operator.outputs[0])])
    inputs = [int(t) for t in operator.inputs]
    if kind in _BINARY:
        inputs = [t if t in data else _broadcast(graph, t, order, kind) for t in inputs]
    elif kind in _REDUCING:
        axes = graph.constant(inputs[1]).ravel() % len(order)
        inputs[1] = _like(graph, inputs[1], np.sort([order.index(int(axis)) for axis in axes]))
    for position in _BY_AXIS.get(kind, ()):
        inputs[position] = _like(graph, inputs[position], graph.constant(inputs[position])[list(order)])
    if kind in _AXIS_INPUT:
        axis = inputs[_AXIS_INPUT[kind]]
        moved = order.index(int(graph.constant(axis).ravel()[0]) % len(order))
        inputs[_AXIS_INPUT[kind]] = _like(graph, axis, np.full(graph.shape(axis), moved))
    result = schema.OperatorT()
    vars(result).update(vars(operator))
    result.inputs = [new.get(t, t) for t in inputs]
    result.outputs = [new[int(t)] for t in operator.outputs]
    result.builtinOptions = _options(operator.builtinOptions, kind, order)
    return result


def _options(options, kind: str, order: Order):
    """Returns the options with the axes that they name put where these are now."""
    if kind not in ("CONCATENATION", "GATHER", "STRIDED_SLICE"):
        return options
    copied = type(options)()
    vars(copied).update(vars(options))
    if kind == "STRIDED_SLICE":
        for mask in _MASKS:
            setattr(copied, mask, sum(1 << k for k, axis in enumerate(order) if getattr(options, mask) >> axis & 1))
    else:
        copied.axis = order.index(options.axis % len(order))
    return copied


def _broadcast(graph: Graph, tensor: int, order: Order, kind: str) -> int:
    """Returns the transposed form of a constant that meets a tensor of that order; one number stays as it is."""
    values = graph.constant(tensor)
    if values.size == 1:
        return tensor
    values = values.reshape(*[1] * (len(order) - values.ndim), *values.shape).transpose(order)
    # As TensorFlow writes them: without the leading ones, but that PReLU has one slope for each position of a channel.
    least = len(order) - 1 if kind == "PRELU" else 1
    while values.ndim > least and values.shape[0] == 1:
        values = values[0]
    return _like(graph, tensor, values)


def _like(graph: Graph, tensor: int, values: np.ndarray) -> int:
    return graph.add_constant(np.asarray(values), graph.name(tensor), like=tensor)
