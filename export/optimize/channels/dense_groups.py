"""Makes grouped convolutions dense, with zeros between the groups, where that pays.

The output channels of a dense convolution can have any order, so a shuffle behind it vanishes; the price is `groups` times
the multiplications, most of them by zero.
"""

import math

import numpy as np

from export.flatbuffer.graph import Graph
from export.optimize.channels.identities import Channels, analyse
from export.optimize.targets.cost_model import CostModel


def make_grouped_dense(graph: Graph, model: CostModel, spare: int) -> str | None:
    """Makes those grouped convolutions dense that are cheaper so, alone or together with the shuffle that vanishes.

    Args:
      spare: bytes by which the weights may grow; where more would, those come first that gain most a byte.
    """
    grouped = {i: groups for i in range(len(graph.operators)) if (groups := groups_of(graph, i)) > 1}
    savings = {i: _cost(graph, i, groups, model) - _cost(graph, i, 1, model) for i, groups in grouped.items()}
    gains = {i: saving for i, saving in savings.items() if saving > 0}
    for first, second, tensor in _shuffled_pairs(graph, analyse(graph, set()), grouped) if grouped else ():
        if not gains.keys() & {first, second}:
            cheaper = max((first, second), key=savings.__getitem__)
            gain = savings[cheaper] + _shuffle_cost(graph, tensor, grouped[first], model)
            gains |= {cheaper: gain} if gain > 0 else {}
    dense = []
    for i in sorted(gains, key=lambda i: gains[i] / _growth(graph, i, grouped[i]), reverse=True):
        if _growth(graph, i, grouped[i]) <= spare:
            spare -= _growth(graph, i, grouped[i])
            dense.append(i)
    for i in dense:
        make_dense(graph, i)
    return f"{len(dense)} of {len(grouped)} grouped convolutions made dense" if dense else None


def _growth(graph: Graph, index: int, groups: int) -> int:
    """Returns by how many bytes the weights grow."""
    return graph.constant(int(graph.operators[index].inputs[1])).nbytes * (groups - 1)


def _shuffle_cost(graph: Graph, tensor: int, rows: int, model: CostModel) -> float:
    shape, size = graph.shape(tensor), graph.bytes_per_element(tensor)
    reshapes = 2 * model.linear("reshape", 1, math.prod(shape), size)
    return model.transpose(math.prod(shape[:-1]), shape[-1], size, rows=rows) + reshapes


def _cost(graph: Graph, index: int, groups: int, model: CostModel) -> float:
    """Returns the cost of the convolution of that index, done in so many groups."""
    operator = graph.operators[index]
    shape, kernel = graph.shape(int(operator.outputs[0])), graph.shape(int(operator.inputs[1]))
    inputs, taps = graph.shape(int(operator.inputs[0]))[-1], math.prod(kernel[1:-1])
    size = graph.bytes_per_element(int(operator.inputs[0]))
    return model.convolution(math.prod(shape[:-1]), inputs // groups, shape[-1] // groups, size, taps, groups)


def _shuffled_pairs(graph: Graph, channels: Channels, grouped: dict[int, int]) -> list[tuple[int, int, int]]:
    """Returns the grouped convolutions (one, other) with a shuffle between them, and the tensor that is shuffled."""
    first = {}
    operators = {int(operator.outputs[0]): i for i, operator in enumerate(graph.operators) if len(operator.outputs)}
    for g, group in channels.groups.items():
        producers = [operators.get(channels.roots[r].tensor) for r in group.roots]
        convolutions = [i for i in producers if i in grouped]
        if len(convolutions) == 1 and producers[0] == convolutions[0]:
            first[g] = convolutions[0]
    pairs = []
    for read in channels.reads:
        if read.operator in grouped and read.sources is not None:
            root = channels.roots[read.sources[0, 0]]
            one_root = (read.sources[:, 0] == root.index).all()
            moved = not np.array_equal(read.sources[:, 1], np.arange(len(read.sources)))
            if one_root and moved and root.group in first:
                pairs.append((first[root.group], read.operator, root.tensor))
    return pairs


def groups_of(graph: Graph, index: int) -> int:
    """Returns the number of groups of the CONV_2D of that index with constant weights; 1 for any other operator."""
    operator = graph.operators[index]
    if graph.kind(operator) != "CONV_2D" or len(operator.inputs) < 2:
        return 1
    weights, shape = graph.constant(int(operator.inputs[1])), graph.shape(int(operator.inputs[0]))
    if weights is None or weights.ndim != 4 or not shape or shape[-1] % weights.shape[-1]:
        return 1
    return shape[-1] // weights.shape[-1]


def make_dense(graph: Graph, index: int) -> None:
    """Replaces the weights of a grouped convolution by those of the dense one that computes the same."""
    operator = graph.operators[index]
    weights = int(operator.inputs[1])
    values, groups = graph.constant(weights), groups_of(graph, index)
    outputs, inputs = values.shape[0] // groups, values.shape[-1]
    quantization = graph.quantization(weights)
    zero = np.zeros(1) if quantization is None else np.array(quantization.zero_point)
    zero = np.broadcast_to(zero.reshape(-1, 1, 1, 1), (values.shape[0], 1, 1, 1))
    dense = np.broadcast_to(zero, (*values.shape[:-1], inputs * groups)).astype(values.dtype)
    for g in range(groups):
        rows = slice(g * outputs, (g + 1) * outputs)
        dense[rows, ..., g * inputs : (g + 1) * inputs] = values[rows]
    operator.inputs = [int(t) for t in operator.inputs]
    operator.inputs[1] = graph.add_constant(dense, f"{graph.name(weights)}/dense", like=weights)
