"""Finds tensors that are never negative."""

from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer.graph import LOWEST, Graph

_CLAMPED = (schema.ActivationFunctionType.RELU, schema.ActivationFunctionType.RELU6)
_POSITIVE = {"RELU", "RELU6", "RELU_0_TO_1", "LOGISTIC", "SOFTMAX", "EXP", "SQUARE", "SQRT", "ABS"}
# Results that are never negative where no input is.
_KEEPING_NAMES = """
    ADD AVERAGE_POOL_2D CONCATENATION DEQUANTIZE EXPAND_DIMS GATHER HARD_SWISH LEAKY_RELU MAX_POOL_2D MEAN MINIMUM MUL PAD PRELU
    QUANTIZE REDUCE_MAX RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR SLICE SPLIT SPLIT_V SQUEEZE STRIDED_SLICE
    SUM TRANSPOSE
    """
_KEEPING = frozenset(_KEEPING_NAMES.split())
_INDICES = (schema.TensorType.INT32, schema.TensorType.INT64)
_DEPTH = 100  # operators to go back; whatever is so far behind is of no use


def never_negative(graph: Graph, tensor: int) -> bool:
    """Whether it's certain that no element of a tensor is negative."""
    return _Search(graph).visit(tensor, 0)


class _Search:
    def __init__(self, graph: Graph):
        self.graph, self.producers = graph, graph.producers()
        self.known: dict[int, bool] = {}

    def visit(self, tensor: int, depth: int) -> bool:
        if tensor not in self.known:
            self.known[tensor] = depth < _DEPTH and self._decide(tensor, depth)
        return self.known[tensor]

    def _decide(self, tensor: int, depth: int) -> bool:
        graph, quantization = self.graph, self.graph.quantization(tensor)
        if quantization is not None and quantization.zero_point == (LOWEST.get(graph.type(tensor)),):
            return True
        values = graph.constant(tensor)
        if values is not None:
            return quantization is None and bool((values >= 0).all())
        index = self.producers.get(tensor)
        if index is None:
            return False
        producer = graph.operators[index]
        kind = graph.kind(producer)
        if kind in _POSITIVE or getattr(producer.builtinOptions, "fusedActivationFunction", 0) in _CLAMPED:
            return True
        # Of the inputs that are numbers to compute with: axes and shapes are none.
        numbers = [int(t) for t in producer.inputs if t >= 0 and graph.type(int(t)) not in _INDICES]
        if kind in ("MAXIMUM", "PRELU"):
            numbers = numbers[:1]
        return kind in _KEEPING | {"MAXIMUM"} and bool(numbers) and all(self.visit(t, depth + 1) for t in numbers)
