"""Mixed precision: the few layers that int8 hurts most stay in floating point, the others in int8.

For networks that lose too much accuracy in int8. The price is the speed of those layers and twice the size of their weights,
which are stored in half precision.
"""

import copy
import dataclasses
import functools
from collections.abc import Collection, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer.graph import Graph
from export.flatbuffer.model import Step
from export.measure.layer_noise import short_name
from export.measure.logit_metrics import distance, expected_drop, logits
from export.ptq import QuantizedPair
from export.ptq.graph_pair import WEIGHTED, GraphPair
from shufflenet_tf.errors import UserError

RANKING_IMAGES = 48  # that layers are ranked by


@dataclasses.dataclass(frozen=True)
class Mixture:
    """A graph of mixed precision.

    Attributes:
      model: the .tflite file.
      kept: names of the layers in floating point, the most sensitive one first.
      layers: how many layers there are.
      drop: expected loss of accuracy, 0-1; see `mix`.
    """

    model: bytes
    kept: tuple[str, ...]
    layers: int
    drop: float

    @property
    def step(self) -> Step:
        """The record of this step of an export."""
        names = f": {', '.join(self.kept)}" if self.kept else ""
        kept = f"{len(self.kept)} of {self.layers} layers in floating point"
        return Step("mixed precision", bool(self.kept), f"{kept}, expected drop {100 * self.drop:.2f} points{names}")


def mix(quantized: QuantizedPair, images: Sequence[np.ndarray], max_drop: float, threads: int = 1) -> Mixture:
    """Keeps as few layers in floating point as it takes for the answers to stay.

    Layers are ranked by how far the answers diverge when only that layer is in int8; how many of them are kept, from the
    top, is found by bisection. Accuracy is measured without labels, by the float graph's probabilities: an answer that
    changes from a class of probability p to one of q is expected to cost p - q.

    Args:
      quantized: see `ptq.quantize`.
      images: uint8 [H, W, 3] of the graphs' size; those that `quantized` wasn't made from tell more.
      max_drop: how much accuracy may be lost, 0-1.
      threads: of each interpreter.

    Raises:
      UserError: a share outside of 0-1, no images, or damaged graphs.
    """
    if not 0 <= max_drop <= 1:
        raise UserError(f"The largest drop is {100 * max_drop:g} points: give 0 to 100.")
    if not len(images):
        raise UserError("There are no photos to measure the drop on: give some 200 of the kind that the model will see.")
    pair = GraphPair(quantized.reference, quantized.model)
    layers = [i for i, operator in enumerate(pair.operators) if operator.kind in WEIGHTED]
    expected = logits(quantized.reference, images, threads)
    every = max(1, len(images) // RANKING_IMAGES)

    def divergence(layer: int) -> float:
        alone_in_int8 = mixed_graph(pair, set(range(len(pair.operators))) - {layer})
        return distance(expected[::every], logits(alone_in_int8, images[::every], threads))[1]

    sensitivity = {layer: divergence(layer) for layer in layers}
    ranked = sorted(layers, key=sensitivity.__getitem__, reverse=True)

    def with_kept(count: int) -> Graph:
        return mixed_graph(pair, with_movement(pair, ranked[:count]))

    @functools.cache
    def drop(count: int) -> float:
        graph = with_kept(count) if count else quantized.model
        return expected_drop(expected, logits(graph, images, threads))

    few, many = 0, len(ranked)
    while few < many:
        middle = (few + many) // 2
        few, many = (few, middle) if drop(middle) <= max_drop else (middle + 1, many)
    outputs = (int(pair.operators[i].float_op.outputs[0]) for i in ranked[:few])
    names = tuple(short_name(pair.float_graph.name(t)) for t in outputs)
    return Mixture(with_kept(few).pack() if few else quantized.model, names, len(layers), drop(few))


def with_movement(pair: GraphPair, layers: Collection[int]) -> set[int]:
    """Returns the layers, and the operators without weights that read floats only: rounding those gains nothing."""
    floats, computed = set(layers), set()
    for i, operator in enumerate(pair.operators):
        inputs = pair.int8_graph.computed_inputs(operator.int8_op)
        if i in floats or (operator.kind not in WEIGHTED and computed.issuperset(inputs)):
            floats.add(i)
            computed.update(int(t) for t in operator.int8_op.outputs)
    return floats


def mixed_graph(pair: GraphPair, floats: Collection[int]) -> Graph:
    """Returns the int8 graph with some operators in floating point, and conversions between these and the others.

    Args:
      pair: the graphs, which are not changed.
      floats: positions in `pair.operators` of the operators in floating point.
    """
    return _Mixer(pair).run(floats)


class _Mixer:
    """Builds one graph of mixed precision."""

    def __init__(self, pair: GraphPair):
        self._pair, self._graph = pair, pair.int8_graph.copy()
        self._operators: list[schema.OperatorT] = []
        self._float_of: dict[int, int] = {}  # tensor of the int8 graph -> the same in floating point, where it exists
        self._available = set(self._graph.inputs)  # tensors that exist as the int8 graph has them

    def run(self, floats: Collection[int]) -> Graph:
        graph, positions = self._graph, {id(operator.int8_op): i for i, operator in enumerate(self._pair.operators)}
        for original, operator in zip(self._pair.int8_graph.operators, graph.operators, strict=True):
            position = positions.get(id(original))
            if position in floats:
                self._add_float(position, operator)
                continue
            for tensor in operator.inputs:
                self._require_int8(int(tensor))
            self._operators.append(operator)
            self._available.update(int(t) for t in operator.outputs)
        for tensor in graph.outputs:
            self._require_int8(tensor)
        graph.operators = self._operators
        return graph

    def _add_float(self, position: int, int8_op: schema.OperatorT) -> None:
        """Adds the float graph's operator in place of the int8 graph's."""
        graph, float_graph, float_op = self._graph, self._pair.float_graph, self._pair.operators[position].float_op
        int8_inputs = dict(zip(float_graph.computed_inputs(float_op), graph.computed_inputs(int8_op), strict=True))
        added = copy.copy(float_op)
        added.opcodeIndex = int8_op.opcodeIndex
        added.inputs = [
            self._float_version(int8_inputs[t]) if t in int8_inputs else self._copy_constant(t)
            for t in map(int, float_op.inputs)
        ]
        added.outputs = []
        for tensor, float_tensor in zip(map(int, int8_op.outputs), float_op.outputs, strict=True):
            name = float_graph.name(int(float_tensor))
            self._float_of[tensor] = graph.add_tensor(graph.shape(tensor), schema.TensorType.FLOAT32, name)
            added.outputs.append(self._float_of[tensor])
        self._operators.append(added)

    def _require_int8(self, tensor: int) -> None:
        """Quantizes a tensor of the int8 graph that was computed in floating point only."""
        if tensor in self._float_of and tensor not in self._available:
            inputs, options = [self._float_of[tensor]], schema.QuantizeOptionsT()
            self._operators.append(self._graph.operator("QUANTIZE", inputs, [tensor], options))
            self._available.add(tensor)

    def _float_version(self, tensor: int) -> int:
        """Returns the floating point version of a tensor of the int8 graph."""
        if tensor not in self._float_of:
            graph = self._graph
            added = graph.add_tensor(graph.shape(tensor), schema.TensorType.FLOAT32, f"{graph.name(tensor)}/float")
            self._operators.append(graph.operator("DEQUANTIZE", [tensor], [added], schema.DequantizeOptionsT()))
            self._float_of[tensor] = added
        return self._float_of[tensor]

    def _copy_constant(self, tensor: int) -> int:
        """Copies a constant of the float graph, weights in half precision, and returns the tensor to read."""
        graph, values = self._graph, self._pair.float_graph.constant(tensor)
        if values is None:
            return -1  # an input that is left out
        name = self._pair.float_graph.name(tensor)
        if values.dtype != np.float32 or values.ndim < 2:
            return graph.add_constant(values, name)
        half = graph.add_constant(values.astype(np.float16), f"{name}/half")
        full = graph.add_tensor(values.shape, schema.TensorType.FLOAT32, name)
        self._operators.append(graph.operator("DEQUANTIZE", [half], [full], schema.DequantizeOptionsT()))
        return full
