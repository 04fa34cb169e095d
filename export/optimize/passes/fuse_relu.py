"""Pass: fuses ReLU into the operator that computes its input, also through operators that only move values.

relu(concat(a, b)) = concat(a, relu(b)) where a is never negative, and a slice of relu(x) is relu of the slice.
"""

import math

from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer import edit
from export.flatbuffer.graph import LOWEST, Graph
from export.flatbuffer.movement import data_inputs
from export.optimize.analysis.signs import never_negative
from export.optimize.targets.cost_model import CostModel

_ACTIVATIONS = {
    "RELU": schema.ActivationFunctionType.RELU,
    "RELU6": schema.ActivationFunctionType.RELU6,
    "RELU_N1_TO_1": schema.ActivationFunctionType.RELU_N1_TO_1,
}
# In real numbers; where there is no upper limit, a number that is one to no scale.
_RANGES = {"RELU": (0.0, 3e38), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}
_NONE = schema.ActivationFunctionType.NONE
_FUSING_NAMES = "ADD AVERAGE_POOL_2D CONV_2D DEPTHWISE_CONV_2D DIV FULLY_CONNECTED MAX_POOL_2D MUL SUB"
_FUSING = frozenset(_FUSING_NAMES.split())


def fuse_relu(graph: Graph, model: CostModel) -> str | None:
    """Fuses each RELU, RELU6 and RELU_N1_TO_1 that keeps the scale."""
    fused: dict[str, int] = {}
    for operator in list(graph.operators):
        kind = graph.kind(operator)
        if kind in _ACTIVATIONS and _Fusion(graph, kind).run(operator):
            fused[kind] = fused.get(kind, 0) + 1
    return ", ".join(f"{n} {kind} fused into what comes before" for kind, n in fused.items()) or None


class _Fusion:
    """Fuses one operator."""

    def __init__(self, graph: Graph, kind: str):
        self.graph, self.kind, self.activation = graph, kind, _ACTIVATIONS[kind]
        self.producers, self.consumers = graph.producers(), graph.consumers()

    def run(self, relu: schema.OperatorT) -> bool:
        """Removes `relu` if what comes before can do its work; returns whether that was so."""
        graph, x, y = self.graph, int(relu.inputs[0]), int(relu.outputs[0])
        if not edit.same_numbers(graph, x, y) or graph.shape(x) is None or not self._can_clamp(x, relu):
            return False
        # Should it have to stay, because the graph's output is another tensor, it does no harm.
        self._clamp(x)
        return edit.bypass(graph, relu)

    def _producer(self, tensor: int) -> schema.OperatorT | None:
        index = self.producers.get(tensor)
        return None if index is None else self.graph.operators[index]

    def _can_clamp(self, tensor: int, reader: schema.OperatorT) -> bool:
        """Whether `tensor` can be clamped where it is computed, so that `reader` alone, or nobody, sees a difference."""
        if self._is_clamped(tensor):
            return True
        others = [self.graph.operators[i] for i in self.consumers.get(tensor, [])]
        if tensor in self.graph.outputs or not all(o is reader or self._clamps(o) for o in others):
            return False
        producer = self._producer(tensor)
        if producer is None:
            return False
        sources = self._sources(producer)
        if sources is not None:
            return all(self._can_clamp(t, producer) for t in sources)
        if self.graph.kind(producer) not in _FUSING:
            return False
        fused = producer.builtinOptions.fusedActivationFunction
        return fused == _NONE or (self.kind == "RELU6" and fused == _ACTIVATIONS["RELU"])

    def _clamps(self, operator: schema.OperatorT) -> bool:
        """Whether an operator does itself what is to be done to its input."""
        graph = self.graph
        same = graph.kind(operator) == self.kind
        return same and edit.same_numbers(graph, int(operator.inputs[0]), int(operator.outputs[0]))

    def _sources(self, operator: schema.OperatorT) -> list[int] | None:
        """Returns what an operator moves, with zeros added at most, into its only output; None: it does more."""
        if len(operator.outputs) != 1:
            return None
        x, y = int(operator.inputs[0]), int(operator.outputs[0])
        if self.graph.kind(operator) == "PAD" and edit.same_numbers(self.graph, x, y):
            return [x]
        return data_inputs(self.graph, operator)

    def _clamp(self, tensor: int) -> None:
        if self._is_clamped(tensor):
            return
        producer = self._producer(tensor)
        sources = self._sources(producer)
        if sources is None:
            options = type(producer.builtinOptions)()
            vars(options).update(vars(producer.builtinOptions))
            options.fusedActivationFunction = self.activation
            producer.builtinOptions = options
        for source in sources or []:
            self._clamp(source)

    def _is_clamped(self, tensor: int) -> bool:
        """Whether no element of `tensor` is outside of what is to be left."""
        graph, quantization = self.graph, self.graph.quantization(tensor)
        if quantization is not None and len(quantization.scale) == 1 and graph.type(tensor) in LOWEST:
            # As the runtime computes the limits, in quanta.
            limits = [quantization.zero_point[0] + _rounded(limit / quantization.scale[0]) for limit in _RANGES[self.kind]]
            lowest = LOWEST[graph.type(tensor)]
            return limits[0] <= lowest and limits[1] >= lowest + 255
        if self.kind == "RELU":
            return never_negative(graph, tensor)
        producer = self._producer(tensor)
        if producer is None:
            return False
        sources = self._sources(producer)
        if sources is not None:
            return all(self._is_clamped(t) for t in sources)
        fused = getattr(producer.builtinOptions, "fusedActivationFunction", _NONE)
        return graph.kind(producer) == self.kind or fused == self.activation


def _rounded(value: float) -> int:
    """Returns the nearest integer, halves away from zero, as in C; what is far beyond 8 bits is cut off."""
    return int(math.copysign(math.floor(abs(min(max(value, -1e6), 1e6)) + 0.5), value))
