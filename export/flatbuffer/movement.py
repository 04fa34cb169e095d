"""Runs operators that only move values on arrays of names instead of values."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer.graph import Graph

# Position of the data among the inputs; the others are constants that say how it moves.
_DATA = {
    "RESHAPE": 0,
    "SQUEEZE": 0,
    "EXPAND_DIMS": 0,
    "TRANSPOSE": 0,
    "SPLIT": 1,
    "SPLIT_V": 0,
    "SLICE": 0,
    "STRIDED_SLICE": 0,
    "GATHER": 0,
}


def data_inputs(graph: Graph, operator: schema.OperatorT) -> list[int] | None:
    """Returns the tensors that `operator` moves the values of, or None where it does more than moving."""
    kind = graph.kind(operator)
    inputs = [int(t) for t in operator.inputs]
    if kind == "CONCATENATION":
        data = inputs if operator.builtinOptions.fusedActivationFunction == 0 else None
    elif kind in _DATA:
        data = [inputs[_DATA[kind]]]
    else:
        return None
    if data is None or any(t < 0 for t in data):
        return None
    # A rescaling concatenation computes.
    like = (graph.type(data[0]), graph.quantization(data[0]))
    tensors = [*data, *(int(t) for t in operator.outputs)]
    if any((graph.type(t), graph.quantization(t)) != like or graph.shape(t) is None for t in tensors):
        return None
    return data


def move(graph: Graph, operator: schema.OperatorT, arrays: list[np.ndarray]) -> list[np.ndarray] | None:
    """Returns the outputs of `operator` for `arrays`, its data inputs, or None where its arguments are not constant."""
    outputs = [graph.shape(int(t)) for t in operator.outputs]
    try:
        moved = _MOVES[graph.kind(operator)](graph, operator, arrays)
    except (TypeError, ValueError, IndexError, AttributeError):
        return None
    if moved is None or [m.shape for m in moved] != outputs:
        return None
    return moved


def _constants(graph: Graph, operator: schema.OperatorT, *positions: int) -> list[np.ndarray]:
    constants = [graph.constant(int(operator.inputs[p])) for p in positions]
    if any(c is None for c in constants):
        raise ValueError("not constant")
    return constants


def _reshape(graph, operator, arrays):
    return [arrays[0].reshape(graph.shape(int(operator.outputs[0])))]


def _transpose(graph, operator, arrays):
    (permutation,) = _constants(graph, operator, 1)
    return [arrays[0].transpose(permutation.ravel())]


def _split(graph, operator, arrays):
    (axis,) = _constants(graph, operator, 0)
    return np.split(arrays[0], len(operator.outputs), int(axis.ravel()[0]))


def _split_v(graph, operator, arrays):
    sizes, axis = _constants(graph, operator, 1, 2)
    axis = int(axis.ravel()[0])
    sizes = np.where(sizes < 0, arrays[0].shape[axis] - sizes[sizes >= 0].sum(), sizes)
    return np.split(arrays[0], np.cumsum(sizes)[:-1], axis)


def _slice(graph, operator, arrays):
    begin, size = _constants(graph, operator, 1, 2)
    return [arrays[0][tuple(slice(b, None if s < 0 else b + s) for b, s in zip(begin, size, strict=True))]]


def _strided_slice(graph, operator, arrays):
    options = operator.builtinOptions
    if options.ellipsisMask or options.newAxisMask or options.offset:
        return None
    index = []
    for i, (begin, end, stride) in enumerate(zip(*_constants(graph, operator, 1, 2, 3), strict=True)):
        if options.shrinkAxisMask >> i & 1:
            index.append(int(begin))
        else:
            start = None if options.beginMask >> i & 1 else int(begin)
            index.append(slice(start, None if options.endMask >> i & 1 else int(end), int(stride)))
    return [arrays[0][tuple(index)]]


def _gather(graph, operator, arrays):
    options = operator.builtinOptions
    if options is not None and options.batchDims:
        return None
    (indices,) = _constants(graph, operator, 1)
    if indices.min(initial=0) < 0:
        return None
    return [np.take(arrays[0], indices, 0 if options is None else options.axis)]


def _concatenate(graph, operator, arrays):
    return [np.concatenate(arrays, operator.builtinOptions.axis)]


_MOVES = {
    "RESHAPE": _reshape,
    "SQUEEZE": _reshape,
    "EXPAND_DIMS": _reshape,
    "TRANSPOSE": _transpose,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "SLICE": _slice,
    "STRIDED_SLICE": _strided_slice,
    "GATHER": _gather,
    "CONCATENATION": _concatenate,
}
