"""Small changes of a graph that several passes make."""

import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer.graph import LOWEST, Graph


def bypass(graph: Graph, operator: schema.OperatorT, source: int | None = None) -> bool:
    """Removes an operator whose first output equals its first input (or `source`), and says whether that could be done.

    The readers of the output read the input instead. Where the output is the graph's, the input's producer writes it, which
    needs that nobody else reads the input.
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
    """Takes an operator out of the graph."""
    graph.operators = [other for other in graph.operators if other is not operator]


def redirect(graph: Graph, old: int, new: int) -> None:
    """Lets every operator that reads `old` read `new`."""
    if old != new:
        for operator in graph.operators:
            if operator.inputs is not None and old in operator.inputs:
                operator.inputs = [new if int(t) == old else int(t) for t in operator.inputs]


def insert(graph: Graph, before: schema.OperatorT, *operators: schema.OperatorT) -> None:
    """Puts operators in front of another one."""
    at = next(i for i, other in enumerate(graph.operators) if other is before)
    graph.operators[at:at] = operators


def like(graph: Graph, tensor: int, shape, suffix: str) -> int:
    """Adds a tensor of another shape and the type and quantization of `tensor`."""
    return graph.add_tensor(shape, graph.type(tensor), graph.name(tensor) + suffix, graph.quantization(tensor))


def reshape(graph: Graph, x: int, y: int) -> schema.OperatorT:
    """Makes the RESHAPE from one tensor to another."""
    options = schema.ReshapeOptionsT()
    options.newShape = list(graph.shape(y))
    return graph.operator("RESHAPE", [x, graph.add_constant(np.array(graph.shape(y), np.int32), "shape")], [y], options)


def transpose(graph: Graph, x: int, y: int, permutation) -> schema.OperatorT:
    """Makes the TRANSPOSE from one tensor to another; a RESHAPE where nothing but sides of length 1 moves."""
    if is_reshape(graph.shape(x), permutation):
        return reshape(graph, x, y)
    axes = graph.add_constant(np.array(permutation, np.int32), "permutation")
    return graph.operator("TRANSPOSE", [x, axes], [y], schema.TransposeOptionsT())


def is_reshape(shape, permutation) -> bool:
    """Whether a transpose of `shape` leaves the order of the elements."""
    moved = [axis for axis in permutation if shape[axis] != 1]
    return moved == sorted(moved)


def permutation(graph: Graph, operator: schema.OperatorT) -> tuple[int, ...] | None:
    """Returns the permutation of a TRANSPOSE, or None where it isn't constant."""
    values = graph.constant(int(operator.inputs[1]))
    return None if values is None else tuple(int(axis) for axis in values.ravel())


def same_numbers(graph: Graph, one: int, other: int) -> bool:
    """Whether two tensors have one type and one quantization, so that equal elements are equal numbers."""
    return graph.type(one) == graph.type(other) and graph.quantization(one) == graph.quantization(other)


def shifted(graph: Graph, one: int, other: int) -> bool:
    """Whether two quantized tensors differ by a shift of the integers at most, as int8 and uint8 of one range do."""
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
