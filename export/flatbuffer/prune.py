"""Removes what a model no longer needs before it is written: operators, tensors and buffers that nothing reads."""

from collections.abc import Callable, Collection, Sequence

from ai_edge_litert import schema_py_generated as schema

# Operators whose only effect is their output: they may be dropped if no operator reads it.
_PURE_NAMES = """
    ABS ADD AVERAGE_POOL_2D BROADCAST_TO CAST CEIL CONCATENATION CONV_2D COS DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE DIV
    ELU EXP EXPAND_DIMS FILL FLOOR FULLY_CONNECTED GATHER GELU HARD_SWISH LEAKY_RELU LOG LOGISTIC MAXIMUM MAX_POOL_2D MEAN
    MINIMUM MIRROR_PAD MUL NEG PACK PAD PADV2 POW PRELU QUANTIZE RANGE REDUCE_MAX REDUCE_MIN REDUCE_PROD RELU RELU6
    RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR ROUND RSQRT SHAPE SIN SLICE SOFTMAX SPACE_TO_DEPTH SPLIT
    SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM TANH TILE TRANSPOSE UNPACK
    """
_PURE = frozenset(_PURE_NAMES.split())


def live_operators(
    operators: Sequence[schema.OperatorT], outputs: Collection[int], kind: Callable[[schema.OperatorT], str]
) -> list[schema.OperatorT]:
    """Returns the operators whose results are needed, in order.

    Args:
      operators: of a graph, in the order of execution.
      outputs: tensors that the graph returns.
      kind: returns an operator's name in the schema.
    """
    needed, kept = set(outputs), []
    for operator in reversed(operators):
        results = [int(t) for t in operator.outputs]
        # An operator without outputs, or one that changes a variable, works by side effect.
        if not results or needed.intersection(results) or kind(operator) not in _PURE:
            needed.update(int(t) for t in operator.inputs)
            kept.append(operator)
    return kept[::-1]


def tensors(model: schema.ModelT) -> None:
    """Removes the tensors of the main subgraph that no operator and no signature names, and numbers the others anew."""
    subgraph = model.subgraphs[0]
    lists = [("inputs", subgraph), ("outputs", subgraph)]
    lists += [(key, o) for o in subgraph.operators for key in ("inputs", "outputs", "intermediates")]
    signatures = [
        entry
        for signature in model.signatureDefs or []
        if signature.subgraphIndex == 0
        for entry in (*(signature.inputs or []), *(signature.outputs or []))
    ]
    used = {int(t) for key, owner in lists for t in (() if getattr(owner, key) is None else getattr(owner, key))}
    used.update(entry.tensorIndex for entry in signatures)
    used.discard(-1)
    renumbered = {old: new for new, old in enumerate(sorted(used))}
    renumbered[-1] = -1
    subgraph.tensors = [subgraph.tensors[t] for t in sorted(used)]
    for key, owner in lists:
        if getattr(owner, key) is not None:
            setattr(owner, key, [renumbered[int(t)] for t in getattr(owner, key)])
    for entry in signatures:
        entry.tensorIndex = renumbered[entry.tensorIndex]


def buffers(model: schema.ModelT) -> None:
    """Removes the buffers that no tensor and no metadata names, and numbers the others anew."""
    owners = [(tensor, "buffer") for subgraph in model.subgraphs for tensor in subgraph.tensors]
    owners += [(metadata, "buffer") for metadata in model.metadata or []]
    used = sorted({0, *(getattr(owner, key) for owner, key in owners), *(model.metadataBuffer or [])})
    renumbered = {old: new for new, old in enumerate(used)}
    model.buffers = [model.buffers[b] for b in used]
    for owner, key in owners:
        setattr(owner, key, renumbered[getattr(owner, key)])
    if model.metadataBuffer is not None:
        model.metadataBuffer = [renumbered[int(b)] for b in model.metadataBuffer]
