"""Mixed precision: the few layers that int8 hurts most stay in floating point, the others in int8.

For networks that lose more to int8 than can be afforded, at the price of those layers' speed and of twice the size of their
weights, which are stored in half precision.
"""

import copy
import dataclasses
import functools
from collections.abc import Collection, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer.graph import Graph
from export.measure.layer_noise import short_name
from export.measure.logit_metrics import distance, expected_drop, logits
from export.ptq import Result
from export.ptq.graph_pair import WEIGHTED, Pair
from export.ptq.operator_runner import data_inputs
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
    def step(self) -> tuple[str, str]:
        """What was done, as exports list it: (step, sentence)."""
        names = f": {', '.join(self.kept)}" if self.kept else ""
        told = f"{len(self.kept)} of {self.layers} layers in floating point, expected drop {100 * self.drop:.2f} points{names}"
        return "mixed precision", told


def mix(result: Result, images: Sequence[np.ndarray], max_drop: float, threads: int = 1) -> Mixture:
    """Keeps as few layers in floating point as it takes for the answers to stay.

    Layers are ranked by how far the answers diverge when only that layer is in int8; how many of them are kept, from the
    top, is found by bisection. Accuracy is measured without labels, by what the float graph thinks of the answers: one that
    changes from a class of probability p to one of q is expected to cost p - q.

    Args:
      result: an int8 graph and the float graph that it's the version of; see `ptq.quantize`.
      images: uint8 [H, W, 3] of the graphs' size; those that `result` wasn't made from tell more.
      max_drop: how much accuracy may be lost, 0-1.
      threads: of each interpreter.

    Raises:
      UserError: a share outside of 0-1, no images, or damaged graphs.
    """
    if not 0 <= max_drop <= 1:
        raise UserError(f"The largest drop is {100 * max_drop:g} points: give 0 to 100.")
    if not len(images):
        raise UserError("There are no photos to measure the drop on: give some 200 of the kind that the model will see.")
    pair = Pair(result.reference, result.model)
    layers = [i for i, step in enumerate(pair.steps) if step.kind in WEIGHTED]
    expected = logits(result.reference, images, threads)
    every = max(1, len(images) // RANKING_IMAGES)

    def divergence(layer: int) -> float:
        alone = _mixed(pair, set(range(len(pair.steps))) - {layer})
        return distance(expected[::every], logits(alone, images[::every], threads))[1]

    hurt = {layer: divergence(layer) for layer in layers}
    ranked = sorted(layers, key=hurt.__getitem__, reverse=True)

    @functools.cache
    def drop(count: int) -> float:
        return expected_drop(expected, logits(_with_floats(pair, result, ranked[:count]), images, threads))

    few, many = 0, len(ranked)
    while few < many:
        middle = (few + many) // 2
        few, many = (few, middle) if drop(middle) <= max_drop else (middle + 1, many)
    names = [short_name(pair.real.name(int(pair.steps[i].real.outputs[0]))) for i in ranked[:few]]
    return Mixture(_with_floats(pair, result, ranked[:few]), tuple(names), len(layers), drop(few))


def _with_floats(pair: Pair, result: Result, layers: Sequence[int]) -> bytes:
    return _mixed(pair, _with_movement(pair, layers)) if layers else result.model


def _with_movement(pair: Pair, layers: Collection[int]) -> set[int]:
    """Adds the operators without weights that read floats only: there's nothing to win in rounding those."""
    floats, made = set(layers), set()
    for i, step in enumerate(pair.steps):
        read = data_inputs(pair.rounded, step.rounded)
        if i in floats or (step.kind not in WEIGHTED and made.issuperset(read)):
            floats.add(i)
            made.update(int(t) for t in step.rounded.outputs)
    return floats


def _mixed(pair: Pair, floats: Collection[int]) -> bytes:
    """Returns the int8 graph with the steps `floats` in floating point, and conversions where they meet the others."""
    pair = copy.deepcopy(pair)
    graph = pair.rounded
    steps = {id(step.rounded): i for i, step in enumerate(pair.steps)}
    real: dict[int, int] = {}  # tensor of the int8 graph -> the same in floating point, where somebody made it
    stored = set(graph.inputs)  # tensors that exist as the int8 graph has them
    operators: list[schema.OperatorT] = []

    def rounded(tensor: int) -> None:
        """Sees to it that a tensor of the int8 graph is made."""
        if tensor in real and tensor not in stored:
            operators.append(graph.operator("QUANTIZE", [real[tensor]], [tensor], schema.QuantizeOptionsT()))
            stored.add(tensor)

    def floating(tensor: int) -> int:
        """Returns the floating point version of a tensor of the int8 graph."""
        if tensor not in real:
            real[tensor] = graph.add_tensor(graph.shape(tensor), schema.TensorType.FLOAT32, f"{graph.name(tensor)}/float")
            operators.append(graph.operator("DEQUANTIZE", [tensor], [real[tensor]], schema.DequantizeOptionsT()))
        return real[tensor]

    for operator in graph.operators:
        index = steps.get(id(operator))
        if index not in floats:
            for tensor in operator.inputs:
                rounded(int(tensor))
            operators.append(operator)
            stored.update(int(t) for t in operator.outputs)
            continue
        step = pair.steps[index]
        read = dict(zip(data_inputs(pair.real, step.real), data_inputs(graph, step.rounded), strict=True))
        own = copy.copy(step.real)
        own.opcodeIndex = step.rounded.opcodeIndex
        own.inputs, own.outputs = [], []
        for tensor in map(int, step.real.inputs):
            given, reader = (floating(read[tensor]), None) if tensor in read else _adopted(graph, pair.real, tensor)
            own.inputs.append(given)
            operators.extend([reader] if reader else [])
        for tensor, source in zip(map(int, step.rounded.outputs), step.real.outputs, strict=True):
            real[tensor] = graph.add_tensor(graph.shape(tensor), schema.TensorType.FLOAT32, pair.real.name(int(source)))
            own.outputs.append(real[tensor])
        operators.append(own)
    for tensor in graph.outputs:
        rounded(tensor)
    graph.operators = operators
    return graph.pack()


def _adopted(graph: Graph, source: Graph, tensor: int) -> tuple[int, schema.OperatorT | None]:
    """Copies a constant from another graph, weights in half precision; returns its index and what it takes to read it."""
    values = source.constant(tensor)
    if values is None:
        return -1, None  # an input that is left out
    name = source.name(tensor)
    if values.dtype != np.float32 or values.ndim < 2:
        return graph.add_constant(values, name), None
    half = graph.add_constant(values.astype(np.float16), f"{name}/half")
    full = graph.add_tensor(values.shape, schema.TensorType.FLOAT32, name)
    return full, graph.operator("DEQUANTIZE", [half], [full], schema.DequantizeOptionsT())
