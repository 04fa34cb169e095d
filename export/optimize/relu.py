"""Pass: ReLUs where they cost nothing: fused into what computes their input, also through a concatenation.

relu(concat(a, b)) = concat(a, relu(b)) where a is never negative.
"""

from ai_edge_litert import schema_py_generated as schema

from export.optimize.cost import CostModel
from export.optimize.graph import LOWEST, Graph

_NONE, _RELU = schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU
_CLAMPING = (_RELU, schema.ActivationFunctionType.RELU6)
_FUSING = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "SUB", "MUL", "AVERAGE_POOL_2D", "MAX_POOL_2D"}
# Results that are never negative where no input is.
_KEEPING = {
    "AVERAGE_POOL_2D",
    "MAX_POOL_2D",
    "RESHAPE",
    "TRANSPOSE",
    "SLICE",
    "STRIDED_SLICE",
    "SPLIT",
    "CONCATENATION",
    "MEAN",
    "GATHER",
} | {"ADD", "MUL", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "PAD"}


def fuse_relu(graph: Graph, model: CostModel) -> str | None:
    """Fuses RELU operators that keep the scale."""
    pass_ = _Fusion(graph)
    for operator in list(graph.operators):
        if graph.kind(operator) == "RELU":
            pass_.visit(operator)
    return f"{pass_.fused} RELU fused into what comes before" if pass_.fused else None


class _Fusion:
    def __init__(self, graph: Graph):
        self.graph = graph
        self.fused = 0

    def visit(self, relu: schema.OperatorT) -> None:
        graph = self.graph
        x, y = int(relu.inputs[0]), int(relu.outputs[0])
        same = graph.quantization(x) == graph.quantization(y) and graph.type(x) == graph.type(y)
        if same and self._can_clamp(x):
            self._clamp(x)
            self.fused += self._remove(relu, y, x)

    def _producer(self, tensor: int) -> schema.OperatorT | None:
        index = self.graph.producers().get(tensor)
        return None if index is None else self.graph.operators[index]

    def _can_clamp(self, tensor: int) -> bool:
        """Whether negative values of `tensor` can be cut off where it is computed, which nobody but one reader sees."""
        if self._never_negative(tensor):
            return True
        if len(self.graph.consumers().get(tensor, [])) != 1 or tensor in self.graph.outputs:
            return False
        producer = self._producer(tensor)
        if producer is None:
            return False
        kind = self.graph.kind(producer)
        if kind == "CONCATENATION" and producer.builtinOptions.fusedActivationFunction == _NONE:
            same = all(self.graph.quantization(int(t)) == self.graph.quantization(tensor) for t in producer.inputs)
            return same and all(self._can_clamp(int(t)) for t in producer.inputs)
        return kind in _FUSING and producer.builtinOptions.fusedActivationFunction == _NONE

    def _clamp(self, tensor: int) -> None:
        if self._never_negative(tensor):
            return
        producer = self._producer(tensor)
        if self.graph.kind(producer) == "CONCATENATION":
            for t in producer.inputs:
                self._clamp(int(t))
        else:
            producer.builtinOptions.fusedActivationFunction = _RELU

    def _never_negative(self, tensor: int) -> bool:
        quantization = self.graph.quantization(tensor)
        if quantization is not None and quantization.zero_point == (LOWEST.get(self.graph.type(tensor)),):
            return True
        values = self.graph.constant(tensor)
        if values is not None:
            return quantization is None and bool((values >= 0).all())
        producer = self._producer(tensor)
        if producer is None:
            return False
        kind = self.graph.kind(producer)
        if kind in ("RELU", "RELU6", "LOGISTIC", "SOFTMAX"):
            return True
        if getattr(producer.builtinOptions, "fusedActivationFunction", _NONE) in _CLAMPING:
            return True
        # Of the inputs that are numbers to compute with: axes and shapes are none.
        like = [int(t) for t in producer.inputs if t >= 0 and self.graph.type(int(t)) == self.graph.type(tensor)]
        return kind in _KEEPING and all(self._never_negative(t) for t in like)

    def _remove(self, relu: schema.OperatorT, y: int, x: int) -> bool:
        """Lets the operator before `relu` write `y`, or lets the readers of `y` read `x`; False where neither will do."""
        graph = self.graph
        producer = self._producer(x)
        alone = producer is not None and len(graph.consumers()[x]) == 1 and x not in graph.outputs
        if not alone and y in graph.outputs:
            return False
        graph.operators = [operator for operator in graph.operators if operator is not relu]
        if alone:
            producer.outputs = [y if int(t) == x else int(t) for t in producer.outputs]
        else:
            for operator in graph.operators:
                operator.inputs = [x if int(t) == y else int(t) for t in operator.inputs]
        return True
