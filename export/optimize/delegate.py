"""Predicts which operators XNNPACK's delegate takes, and in how many partitions (LiteRT 2.3, tried one by one)."""

from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer.graph import Graph

# Of floats and of int8.
_ANY_TYPE = {
    *("ADD", "MUL", "SUB", "ELU", "LEAKY_RELU", "LOGISTIC", "TANH", "QUANTIZE", "DEQUANTIZE", "MEAN", "SUM", "REDUCE_MAX"),
    *("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "MAX_POOL_2D", "RESIZE_BILINEAR", "PAD"),
    *("CONCATENATION", "DEPTH_TO_SPACE", "RESHAPE", "SLICE", "SPACE_TO_DEPTH", "SPLIT", "STRIDED_SLICE", "TRANSPOSE"),
}
_FLOAT_ONLY = {
    *("ABS", "CEIL", "COS", "DIV", "EXP", "FLOOR", "GELU", "MAXIMUM", "MINIMUM", "NEG", "RSQRT", "SQRT", "SQUARE"),
    *("AVERAGE_POOL_2D", "HARD_SWISH", "PRELU", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "SOFTMAX"),
    "SQUARED_DIFFERENCE",
}
_INTEGERS = (schema.TensorType.INT8, schema.TensorType.UINT8)
_OTHERS = (schema.TensorType.INT32, schema.TensorType.INT64, schema.TensorType.BOOL)
_OUTPUTS, _MOST_INPUTS = (2, 3, 4), 5  # of SPLIT and of CONCATENATION


def partitions(graph: Graph) -> int:
    """Returns the number of partitions that the delegate runs.

    LiteRT takes turns: it gathers all operators that can be computed by then and that the delegate takes, then all that it
    doesn't take, in whatever order the file has them.
    """
    waiting = [(operator, not is_left_out(graph, operator)) for operator in graph.operators]
    unknown = {int(t) for operator in graph.operators for t in operator.outputs}
    pieces = 0
    while waiting:
        turn, left = None, []
        for operator, inside in waiting:
            ready = not unknown.intersection(inputs_of(operator))
            turn = inside if turn is None and ready else turn
            if ready and inside == turn:
                unknown.difference_update(int(t) for t in operator.outputs)
            else:
                left.append((operator, inside))
        if len(left) == len(waiting):
            break  # a circle, which LiteRT refuses
        pieces += bool(turn)
        waiting = left
    return pieces


def is_left_out(graph: Graph, operator: schema.OperatorT) -> bool:
    """Whether the delegate leaves an operator to the interpreter: for its kind, its type or its sizes."""
    kind, types = graph.kind(operator), [graph.type(int(t)) for t in operator.outputs]
    if kind not in _ANY_TYPE | _FLOAT_ONLY or any(type_ in _OTHERS for type_ in types):
        return True
    if kind in _FLOAT_ONLY and any(type_ in _INTEGERS for type_ in types):
        return True
    return kind in _LIMITS and _LIMITS[kind](graph, operator)


def recodes(graph: Graph, operator: schema.OperatorT) -> bool:
    """Whether a QUANTIZE makes uint8 of int8 or the other way round."""
    types = graph.type(inputs_of(operator)[0]), graph.type(int(operator.outputs[0]))
    return types[0] != types[1] and all(type_ in _INTEGERS for type_ in types)


def inputs_of(operator: schema.OperatorT) -> list[int]:
    """Returns the tensors that an operator reads; -1 stands for one that is left out."""
    return [] if operator.inputs is None else [int(t) for t in operator.inputs]


def _skips(graph: Graph, operator: schema.OperatorT) -> bool:
    """Whether a pool has values that no window sees."""
    options = operator.builtinOptions
    return options.strideH > options.filterHeight or options.strideW > options.filterWidth


def _strides(graph: Graph, operator: schema.OperatorT) -> bool:
    strides = graph.constant(inputs_of(operator)[3])
    return strides is None or bool((strides != 1).any())


_LIMITS = {
    "QUANTIZE": recodes,
    "SPLIT": lambda graph, operator: len(operator.outputs) not in _OUTPUTS,
    "CONCATENATION": lambda graph, operator: len(operator.inputs) > _MOST_INPUTS,
    "STRIDED_SLICE": _strides,
    **dict.fromkeys(("MAX_POOL_2D", "AVERAGE_POOL_2D"), _skips),
}
