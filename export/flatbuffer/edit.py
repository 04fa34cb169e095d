"""Small graph edits that several passes share."""

import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer.graph import LOWEST, Graph


def bypass(graph: Graph, operator: schema.OperatorT, source: int | None = None) -> bool:
    """Removes an operator whose first output equals its first input (or `source`); returns whether that was possible.

    The readers of the output read the input instead. If the output is a graph output, the producer of the input writes it
    instead, which requires that nothing else reads the input.
    """
    x = int(operator.inputs[0]) if source is None else source
    y = int(operator.outputs[0])
    if y in graph.outputs:
        producer = graph.producers().get(x)
        if producer is None or len(graph.consumers()[x]) != 1 or x in graph.outputs:
            return False
        maker = graph.operators[producer]
        maker.outputs = [y if int(t) == x else int(t) for t in maker.outputs]
        x = y
    remove(graph, operator)
    redirect(graph, y, x)
    return True


def remove(graph: Graph, operator: schema.OperatorT) -> None:
    """Removes an operator from the graph."""
    graph.operators = [other for other in graph.operators if other is not operator]


def redirect(graph: Graph, old: int, new: int) -> None:
    """Makes every operator that reads `old` read `new`."""
    if old != new:
        for operator in graph.operators:
            if operator.inputs is not None and old in operator.inputs:
                operator.inputs = [new if int(t) == old else int(t) for t in operator.inputs]


def insert(graph: Graph, before: schema.OperatorT, *operators: schema.OperatorT) -> None:
    """Inserts operators before another one."""
    at = next(i for i, other in enumerate(graph.operators) if other is before)
    graph.operators[at:at] = operators


def like(graph: Graph, tensor: int, shape, suffix: str) -> int:
    """Adds a tensor with the type and quantization of `tensor`, but another shape."""
    return graph.add_tensor(shape, graph.type(tensor), graph.name(tensor) + suffix, graph.quantization(tensor))


def reshape(graph: Graph, x: int, y: int) -> schema.OperatorT:
    """Creates the RESHAPE from one tensor to another."""
    options = schema.ReshapeOptionsT()
    options.newShape = list(graph.shape(y))
    return graph.operator("RESHAPE", [x, graph.add_constant(np.array(graph.shape(y), np.int32), "shape")], [y], options)


def transpose(graph: Graph, x: int, y: int, permutation) -> schema.OperatorT:
    """Creates the TRANSPOSE from one tensor to another, or a RESHAPE if only sides of length 1 move."""
    if is_reshape(graph.shape(x), permutation):
        return reshape(graph, x, y)
    axes = graph.add_constant(np.array(permutation, np.int32), "permutation")
    return graph.operator("TRANSPOSE", [x, axes], [y], schema.TransposeOptionsT())


def is_reshape(shape, permutation) -> bool:
    """Whether a transpose of `shape` keeps the order of the elements."""
    moved = [axis for axis in permutation if shape[axis] != 1]
    return moved == sorted(moved)


def permutation(graph: Graph, operator: schema.OperatorT) -> tuple[int, ...] | None:
    """Returns the permutation of a TRANSPOSE, or None if it isn't constant."""
    values = graph.constant(int(operator.inputs[1]))
    return None if values is None else tuple(int(axis) for axis in values.ravel())


def same_numbers(graph: Graph, one: int, other: int) -> bool:
    """Whether two tensors have the same type and quantization, so that equal elements represent equal numbers."""
    return graph.type(one) == graph.type(other) and graph.quantization(one) == graph.quantization(other)


def shifted(graph: Graph, one: int, other: int) -> bool:
    """Whether two quantized tensors differ at most by a shift of the integers, as int8 and uint8 of the same range do."""
    a, b = graph.quantization(one), graph.quantization(other)
    if a is None or b is None or not {graph.type(one), graph.type(other)} <= set(LOWEST):
        return graph.type(one) == graph.type(other) and a == b
    lowest = [LOWEST[graph.type(t)] for t in (one, other)]
    if len(a.scale) != 1 or len(b.scale) != 1:
        return a == b and lowest[0] == lowest[1]
    return a.scale == b.scale and a.zero_point[0] - lowest[0] == b.zero_point[0] - lowest[1]


def size(graph: Graph, tensor: int) -> int:
    """Returns the number of elements."""
    return math.prod(graph.shape(tensor))
