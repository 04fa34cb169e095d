"""Predicts the cost of a graph on a target, operator by operator."""

import itertools
import math
from collections.abc import Callable

from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer.graph import Graph
from export.optimize.delegate import inputs_of, partitions, recodes
from export.optimize.targets import Account
from export.optimize.targets.cost_model import CostModel

_CLAMPS = ("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "ABS", "NEG", "MINIMUM", "MAXIMUM", "LEAKY_RELU", "PRELU", "CAST")
_SLICES = ("SLICE", "STRIDED_SLICE", "GATHER")
_JOINS = ("CONCATENATION", "PACK")
POOL_TAPS = 9  # of the pooling that targets are fitted to, 3x3
_FREE = ("EXPAND_DIMS", "SQUEEZE")


def account(graph: Graph, model: CostModel) -> Account:
    """Returns the predicted cost of `graph` on the processor of `model`."""
    cost = sum(operator_cost(graph, operator, model) for operator in graph.operators)
    cost += model.target.partition * partitions(graph)
    constants = {int(t) for o in graph.operators for t in inputs_of(o) if t >= 0 and graph.constant(int(t)) is not None}
    parameters = sum(graph.constant(t).nbytes for t in constants)
    return Account(cost, model.milliseconds(cost), sum(multiply_adds(graph, o) for o in graph.operators), parameters)


def multiply_adds(graph: Graph, operator: schema.OperatorT) -> int:
    """Returns the multiply-adds of a convolution or fully connected layer of static shape; 0 of any other operator."""
    kind = graph.kind(operator)
    if kind not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        return 0
    kernel, output = graph.shape(int(operator.inputs[1])), graph.shape(int(operator.outputs[0]))
    if not kernel or not output:
        return 0
    return math.prod(output) * math.prod(kernel[1:3] if kind == "DEPTHWISE_CONV_2D" else kernel[1:])


def operator_cost(graph: Graph, operator: schema.OperatorT, model: CostModel) -> float:
    """Returns the cost of one operator; of an unknown one, that of touching each element of its result."""
    kind = graph.kind(operator)
    outputs = [graph.shape(int(t)) for t in operator.outputs]
    inputs = [graph.shape(int(t)) for t in inputs_of(operator) if t >= 0]
    if any(shape is None for shape in (*outputs, *inputs)) or not outputs or not inputs:
        return 0.0
    size = graph.bytes_per_element(int(operator.outputs[0]))
    return _COSTS.get(kind, _elementwise("add"))(graph, operator, model, size)


def _convolution(graph: Graph, operator, model: CostModel, size: int) -> float:
    x, weights = (graph.shape(t) for t in inputs_of(operator)[:2])
    y = graph.shape(int(operator.outputs[0]))
    if len(weights) < 2 or not y:
        return 0.0
    if graph.kind(operator) == "DEPTHWISE_CONV_2D":
        return model.depthwise(math.prod(y[:-1]), y[-1], size, math.prod(weights[1:3]))
    if math.prod(y[:-1]) == 1 and x[-1] == weights[-1]:
        return model.linear("dense", y[-1], math.prod(weights[1:]), size)
    groups = max(1, x[-1] // weights[-1]) if graph.kind(operator) == "CONV_2D" else 1
    return model.convolution(math.prod(y[:-1]), weights[-1], y[-1] // groups, size, math.prod(weights[1:-1]), groups)


def _slices(graph: Graph, operator, model: CostModel, size: int) -> float:
    pixels, channels = _runs(graph.shape(int(operator.outputs[0])), graph.shape(inputs_of(operator)[0]))
    return model.copy(pixels, channels, size)


def _split(graph: Graph, operator, model: CostModel, size: int) -> float:
    x = graph.shape(inputs_of(operator)[1 if graph.kind(operator) == "SPLIT" else 0])
    runs = [_runs(graph.shape(int(t)), x) for t in operator.outputs]
    return model.linear("split", 1, 0, size) + sum(model.linear("split", *run, size, calls=0) for run in runs)


def _join(graph: Graph, operator, model: CostModel, size: int) -> float:
    y = graph.shape(int(operator.outputs[0]))
    runs = [_runs(graph.shape(t), y) for t in inputs_of(operator)]
    return model.linear("concatenation", 0, 0, size) + sum(model.joined(*run, size) for run in runs)


def _runs(part: tuple[int, ...], whole: tuple[int, ...]) -> tuple[int, int]:
    """Returns (how many, how long) runs of consecutive elements a part of a tensor consists of."""
    if len(part) != len(whole):
        return 1, math.prod(part)
    differing = [axis for axis in range(len(part)) if part[axis] != whole[axis]]
    axis = differing[-1] if differing else 0
    return math.prod(part[:axis]), math.prod(part[axis:])


def _transpose(graph: Graph, operator, model: CostModel, size: int) -> float:
    x, axes = graph.shape(inputs_of(operator)[0]), graph.constant(inputs_of(operator)[1])
    if axes is None or axes.size != len(x):
        return _elementwise("add")(graph, operator, model, size)
    shape, permutation = collapsed(x, [int(axis) for axis in axes.ravel()])
    if len(shape) == 1:
        return model.linear("reshape", 1, shape[0], size)
    if permutation == [1, 0] or permutation == [0, 2, 1]:
        return model.transpose(math.prod(shape[:-2]), math.prod(shape[-2:]), size, rows=shape[-2])
    if permutation[-1] == len(shape) - 1:  # runs stay together
        return model.copy(math.prod(shape[:-1]), shape[-1], size)
    return model.transpose(1, math.prod(shape), size, rows=shape[-1])


def collapsed(shape: tuple[int, ...], permutation: list[int]) -> tuple[list[int], list[int]]:
    """Returns the same transpose with as few axes as possible: axes that stay together are one, those of one are none."""
    kept = [axis for axis in permutation if shape[axis] != 1]
    if not kept:
        return [1], [0]
    runs = [[kept[0]]]
    for before, axis in itertools.pairwise(kept):
        if all(shape[a] == 1 for a in range(before + 1, axis)) and axis > before:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    order = sorted(runs)
    return [math.prod(shape[axis] for axis in run) for run in order], [order.index(run) for run in runs]


def _elementwise(name: str) -> Callable:
    def cost(graph: Graph, operator, model: CostModel, size: int) -> float:
        y = graph.shape(int(operator.outputs[0]))
        return model.linear(name, math.prod(y[:-1]), y[-1] if y else 1, size)

    return cost


def _pool(name: str) -> Callable:
    def cost(graph: Graph, operator, model: CostModel, size: int) -> float:
        y, options = graph.shape(int(operator.outputs[0])), operator.builtinOptions
        windows = options.filterHeight * options.filterWidth / POOL_TAPS
        return model.linear(name, math.prod(y[:-1]), y[-1] * windows, size)

    return cost


def _reduced(graph: Graph, operator, model: CostModel, size: int) -> float:
    x = graph.shape(inputs_of(operator)[0])
    return model.linear("mean", math.prod(x[:-1]), x[-1] if x else 1, size)


def _quantize(graph: Graph, operator, model: CostModel, size: int) -> float:
    return _elementwise(_kind_of_quantize(graph, operator))(graph, operator, model, 1)


def _kind_of_quantize(graph: Graph, operator: schema.OperatorT) -> str:
    types = [graph.type(t) for t in (inputs_of(operator)[0], int(operator.outputs[0]))]
    return "recode" if recodes(graph, operator) else "rescale" if types[0] == types[1] else "quantize"


def _reshape(graph: Graph, operator, model: CostModel, size: int) -> float:
    return model.linear("reshape", 1, math.prod(graph.shape(int(operator.outputs[0]))), size)


_COSTS: dict[str, Callable[[Graph, schema.OperatorT, CostModel, int], float]] = {
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"), _convolution),
    **dict.fromkeys(_SLICES, _slices),
    **dict.fromkeys(("SPLIT", "SPLIT_V", "UNPACK"), _split),
    **dict.fromkeys(_JOINS, _join),
    **dict.fromkeys(_CLAMPS, _elementwise("clamp")),
    **dict.fromkeys(("MUL", "DIV"), _elementwise("multiply")),
    **dict.fromkeys(("LOGISTIC", "TANH", "HARD_SWISH", "ELU", "EXP", "GELU"), _elementwise("function")),
    **dict.fromkeys(("RESHAPE", *_FREE), _reshape),
    **dict.fromkeys(("PAD", "PADV2", "MIRROR_PAD"), _elementwise("pad")),
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX"), _reduced),
    "TRANSPOSE": _transpose,
    "SOFTMAX": _elementwise("softmax"),
    "MAX_POOL_2D": _pool("max_pool"),
    "AVERAGE_POOL_2D": _pool("average_pool"),
    "QUANTIZE": _quantize,
    "DEQUANTIZE": lambda graph, operator, model, size: _elementwise("dequantize")(graph, operator, model, 1),
}
