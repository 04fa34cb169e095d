"""Pass: moves a channel shuffle behind the depthwise convolution of stride 2 that follows it: there are fewer pixels there.

A depthwise convolution treats channels one by one, so that it commutes with a shuffle if its weights are permuted too.
"""

import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer.edit import like, reshape, transpose
from export.flatbuffer.graph import Graph
from export.flatbuffer.movement import data_inputs, move
from export.optimize.targets.cost_model import CostModel


def shuffle_later(graph: Graph, model: CostModel) -> str | None:
    """Moves each shuffle behind the depthwise convolution that alone reads it, if that has fewer pixels."""
    moved = 0
    for operator in list(graph.operators):
        if graph.kind(operator) == "DEPTHWISE_CONV_2D":
            moved += _swap(graph, operator)
    graph.drop_dead_operators()
    return f"{moved} shuffles behind a depthwise convolution with fewer pixels" if moved else None


def _swap(graph: Graph, depthwise: schema.OperatorT) -> bool:
    shape, output_shape = graph.shape(int(depthwise.inputs[0])), graph.shape(int(depthwise.outputs[0]))
    if not shape or not output_shape or len(shape) != 4 or shape[3] != output_shape[3]:
        return False
    if math.prod(output_shape[:3]) >= math.prod(shape[:3]):
        return False
    weights, *bias = (int(t) for t in depthwise.inputs[1:])
    quantization = graph.quantization(weights)
    along = quantization is None or len(quantization.scale) == 1 or quantization.dimension == 3
    if any(graph.constant(t) is None for t in (weights, *bias) if t >= 0) or not along:
        return False
    source, permutation = _shuffle_before(graph, depthwise)
    rows = _rows(permutation)
    if rows is None:
        return False
    order = np.argsort(permutation)
    constants = [t if t < 0 else _taken(graph, t, order) for t in (weights, *bias)]
    depthwise.inputs = [source, *constants]
    y = int(depthwise.outputs[0])
    unshuffled = like(graph, y, output_shape, "/unshuffled")
    depthwise.outputs = [unshuffled]
    at = next(i for i, operator in enumerate(graph.operators) if operator is depthwise) + 1
    graph.operators[at:at] = _shuffle(graph, unshuffled, y, rows)
    return True


def _taken(graph: Graph, tensor: int, order: np.ndarray) -> int:
    values = graph.constant(tensor)
    return graph.add_constant(values[..., order], graph.name(tensor), like=tensor, take=order.tolist())


def _shuffle_before(graph: Graph, reader: schema.OperatorT) -> tuple[int, np.ndarray | None]:
    """Returns what a chain of moving operators before `reader` starts from, and which of its channels each result is."""
    producers, consumers = graph.producers(), graph.consumers()
    chain, tensor = [], int(reader.inputs[0])
    while (i := producers.get(tensor)) is not None and len(consumers[tensor]) == 1 and tensor not in graph.outputs:
        data = data_inputs(graph, graph.operators[i])
        if data is None or len(data) != 1 or len(graph.operators[i].outputs) != 1:
            break
        chain.insert(0, graph.operators[i])
        tensor = data[0]
    shape = graph.shape(tensor)
    if not chain or shape != graph.shape(int(reader.inputs[0])):
        return tensor, None
    names = np.arange(math.prod(shape)).reshape(shape)
    for operator in chain:
        moved = move(graph, operator, [names])
        if moved is None:
            return tensor, None
        names = moved[0]
    permutation = names.reshape(-1, shape[3])[0]
    pixels = np.arange(math.prod(shape[:3]))[:, None] * shape[3]
    if permutation.max() >= shape[3] or not np.array_equal(names.reshape(-1, shape[3]), permutation + pixels):
        return tensor, None  # pixels move, too
    return tensor, permutation


def _rows(permutation: np.ndarray | None) -> int | None:
    """Returns the rows of the matrix whose transpose a permutation is; None where it is none, or stays as it is."""
    if permutation is None or len(permutation) < 4:
        return None
    size = len(permutation)
    rows = int(np.flatnonzero(permutation == 1)[0])  # a column of the matrix stands before the second channel
    transposed = (
        1 < rows < size and size % rows == 0 and np.array_equal(np.arange(size).reshape(rows, -1).T.ravel(), permutation)
    )
    return rows if transposed else None


def _shuffle(graph: Graph, x: int, y: int, rows: int) -> list[schema.OperatorT]:
    """Returns the operators that shuffle `x` to `y`: a transpose of the channels as a matrix of `rows` rows."""
    n, h, w, c = graph.shape(x)
    split = like(graph, y, (n, h * w, rows, c // rows), "/split")
    turned = like(graph, y, (n, h * w, c // rows, rows), "/turned")
    return [reshape(graph, x, split), transpose(graph, split, turned, (0, 1, 3, 2)), reshape(graph, turned, y)]
