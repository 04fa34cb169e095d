"""Pass: joins the convolutions of the parts of a tensor into one grouped convolution.

Converters that know no grouped convolution write SPLIT, one CONV_2D a group, and CONCATENATION.
"""

import dataclasses
import itertools

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer import edit
from export.flatbuffer.graph import Graph, Quantization
from export.flatbuffer.movement import data_inputs, move
from export.optimize.targets.cost_model import CostModel

_KINDS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def regroup(graph: Graph, model: CostModel) -> str | None:
    """Replaces convolutions of neighbouring channels, whose results are concatenated in order, by one."""
    pass_ = _Regrouping(graph)
    for operator in list(graph.operators):
        if graph.kind(operator) == "CONCATENATION":
            pass_.visit(operator)
    graph.drop_dead_operators()
    return f"{pass_.before} convolutions of parts joined into {pass_.after} grouped ones" if pass_.after else None


@dataclasses.dataclass
class _Piece:
    """A convolution of the channels `start` to `end` of a tensor, and the output that the concatenation reads."""

    operator: schema.OperatorT
    source: int
    start: int
    end: int
    output: int


class _Regrouping:
    def __init__(self, graph: Graph):
        self.graph = graph
        self.before = self.after = 0

    def visit(self, concat: schema.OperatorT) -> None:
        """Joins the runs of inputs of `concat` that are parts of one convolution."""
        graph, rank = self.graph, len(graph_shape(self.graph, concat))
        if rank != 4 or concat.builtinOptions.axis not in (3, -1):
            return
        inputs, parts = [], [(self._piece(int(t)), int(t)) for t in concat.inputs]
        while parts:
            run = self._run([piece for piece, _ in parts])
            inputs.append(self._join(concat, run) if run else parts[0][1])
            parts = parts[len(run) or 1 :]
        concat.inputs = inputs
        like = (graph.type(inputs[0]), graph.quantization(inputs[0]))
        y = int(concat.outputs[0])
        if len(inputs) == 1 and like == (graph.type(y), graph.quantization(y)):
            self._finish(concat)

    def _finish(self, concat: schema.OperatorT) -> None:
        """Removes a concatenation of one tensor; its activation, if it has one, goes where the tensor is computed."""
        activation = concat.builtinOptions.fusedActivationFunction
        producer = self.graph.operators[self.graph.producers()[int(concat.inputs[0])]]
        if activation and producer.builtinOptions.fusedActivationFunction not in (0, activation):
            return
        if activation:
            producer.builtinOptions.fusedActivationFunction = activation
        edit.bypass(self.graph, concat)

    def _piece(self, tensor: int) -> _Piece | None:
        """Returns the convolution of some channels that nobody but the concatenation reads, or None."""
        graph = self.graph
        index = graph.producers().get(tensor)
        if index is None or len(graph.consumers()[tensor]) != 1 or tensor in graph.outputs:
            return None
        operator = graph.operators[index]
        if graph.kind(operator) not in _KINDS or len(operator.inputs) < 2 or graph.shape(tensor) is None:
            return None
        constants = [int(t) for t in operator.inputs[1:] if t >= 0]
        if any(graph.constant(t) is None for t in constants) or graph.type(constants[0]) != graph.type(tensor):
            return None  # weights that are computed, or in integers where the rest is not
        where = self._channels(int(operator.inputs[0]))
        return None if where is None else _Piece(operator, *where, tensor)

    def _channels(self, tensor: int) -> tuple[int, int, int] | None:
        """Returns (source, start, end) of a tensor that consists of neighbouring channels of another."""
        graph = self.graph
        index = graph.producers().get(tensor)
        operator = None if index is None else graph.operators[index]
        data = None if operator is None else data_inputs(graph, operator)
        if data is None or len(data) != 1 or len(graph.shape(data[0])) != 4:
            return None
        shape = graph.shape(data[0])
        moved = move(graph, operator, [np.arange(edit.size(graph, data[0])).reshape(shape)])
        if moved is None:
            return None
        part = moved[[int(t) for t in operator.outputs].index(tensor)]
        start, width = int(part.flat[0]), part.shape[-1]
        every = np.arange(edit.size(graph, data[0])).reshape(shape)
        if part.shape[:-1] != shape[:-1] or start + width > shape[-1]:
            return None
        return (data[0], start, start + width) if np.array_equal(part, every[..., start : start + width]) else None

    def _run(self, pieces: list[_Piece | None]) -> list[_Piece]:
        """Returns the first pieces if they are, together, a convolution of all channels of their source; else nothing."""
        first = pieces[0]
        if first is None or first.start != 0:
            return []
        alike = itertools.takewhile(lambda piece: piece is not None and self._alike(first, piece), pieces)
        run, channels = [], self.graph.shape(first.source)[-1]
        for piece in alike:
            if piece.start != (run[-1].end if run else 0):
                break
            run.append(piece)
            if piece.end == channels:
                return run if len(run) > 1 else []
        return []

    def _alike(self, one: _Piece, other: _Piece) -> bool:
        graph = self.graph
        weights = [graph.shape(int(piece.operator.inputs[1])) for piece in (one, other)]
        if graph.kind(one.operator) == "CONV_2D":
            fitting = weights[0] == weights[1] and one.end - one.start == other.end - other.start == weights[0][-1]
        else:
            fitting = weights[0][:3] == weights[1][:3]
        kinds = [(graph.kind(p.operator), len(p.operator.inputs), p.operator.inputs[-1] < 0) for p in (one, other)]
        options = [vars(p.operator.builtinOptions) for p in (one, other)]
        numbers = [(graph.type(p.output), graph.quantization(p.output)) for p in (one, other)]
        joins = self._joined([one, other], 1, graph.kind(one.operator)) is not None
        return fitting and one.source == other.source and all(a == b for a, b in (kinds, options, numbers)) and joins

    def _join(self, concat: schema.OperatorT, run: list[_Piece]) -> int:
        """Puts the convolution that `run` amounts to before `concat`, and returns its output."""
        graph, first = self.graph, run[0].operator
        depthwise = graph.kind(first) == "DEPTHWISE_CONV_2D" or run[0].end == 1
        inputs = [run[0].source]
        for position in range(1, len(first.inputs)):
            tensors = [int(piece.operator.inputs[position]) for piece in run]
            inputs.append(-1 if tensors[0] < 0 else self._constant(tensors, position, depthwise, graph.kind(first)))
        shape = graph.shape(run[0].output)
        width = sum(graph.shape(piece.output)[-1] for piece in run)
        output = edit.like(graph, run[0].output, (*shape[:-1], width), "/grouped")
        options = first.builtinOptions
        if depthwise and graph.kind(first) == "CONV_2D":
            options = _depthwise(options, width // len(run))
        elif graph.kind(first) == "DEPTHWISE_CONV_2D":
            options = _copy(options)
        kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        edit.insert(graph, concat, graph.operator(kind, inputs, [output], _copy(options)))
        self.before, self.after = self.before + len(run), self.after + 1
        return output

    def _constant(self, tensors: list[int], position: int, depthwise: bool, kind: str) -> int:
        """Adds the weights (position 1) or the bias (2) of the joined convolution."""
        graph = self.graph
        arrays = [graph.constant(t) for t in tensors]
        if position == 1 and depthwise and kind == "CONV_2D":
            arrays = [array.transpose(3, 1, 2, 0) for array in arrays]  # [outputs, height, width, 1] turned round
        axis = 3 if depthwise and position == 1 else 0
        values = np.concatenate(arrays, axis)
        quantization = _join_quantizations([graph.quantization(t) for t in tensors], [a.shape[axis] for a in arrays], axis)
        like = graph.add_tensor((1,), graph.type(tensors[0]), "like", quantization)
        return graph.add_constant(
            values, f"{graph.name(tensors[0])}/grouped", like=tensors[0] if quantization is None else like
        )

    def _joined(self, run: list[_Piece], position: int, kind: str) -> tuple | None:
        """Returns the quantization of the joined weights in a tuple, or None where there is none that fits all."""
        graph = self.graph
        tensors = [int(piece.operator.inputs[position]) for piece in run]
        axis = 3 if kind == "DEPTHWISE_CONV_2D" else 0
        quantizations = [graph.quantization(t) for t in tensors]
        if len({q is None for q in quantizations}) > 1 or len({graph.type(t) for t in tensors}) > 1:
            return None
        if any(q is not None and len(q.scale) > 1 and q.dimension != axis for q in quantizations):
            return None
        # Weights of type uint8 have one scale, whatever there is to join.
        if graph.type(tensors[0]) == schema.TensorType.UINT8 and len(set(quantizations)) > 1:
            return None
        return (quantizations[0],)


def graph_shape(graph: Graph, operator: schema.OperatorT) -> tuple[int, ...]:
    """Returns the shape of an operator's first output; () where it isn't known."""
    return graph.shape(int(operator.outputs[0])) or ()


def _join_quantizations(parts: list[Quantization | None], widths: list[int], axis: int) -> Quantization | None:
    if all(part == parts[0] and (part is None or len(part.scale) == 1) for part in parts):
        return parts[0]
    scales, zeros = [], []
    for part, width in zip(parts, widths, strict=True):
        scales += np.broadcast_to(part.scale, width).tolist()
        zeros += np.broadcast_to(part.zero_point, width).tolist()
    return Quantization(tuple(scales), tuple(zeros), axis)


def _depthwise(options: schema.Conv2DOptionsT, multiplier: int) -> schema.DepthwiseConv2DOptionsT:
    result = schema.DepthwiseConv2DOptionsT()
    vars(result).update({key: value for key, value in vars(options).items() if key in vars(result)})
    result.depthMultiplier = multiplier
    return result


def _copy(options):
    copied = type(options)()
    vars(copied).update(vars(options))
    return copied
