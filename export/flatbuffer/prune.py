"""What a graph no longer needs, removed before it is written: operators, tensors and buffers that nothing reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ai_edge_litert import schema_py_generated as schema

if TYPE_CHECKING:
    from export.flatbuffer.graph import Graph

# What may be dropped where nobody reads the result: operators whose only effect is their output.
_PURE_NAMES = """
    ABS ADD AVERAGE_POOL_2D BROADCAST_TO CAST CEIL CONCATENATION CONV_2D COS DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE DIV
    ELU EXP EXPAND_DIMS FILL FLOOR FULLY_CONNECTED GATHER GELU HARD_SWISH LEAKY_RELU LOG LOGISTIC MAXIMUM MAX_POOL_2D MEAN
    MINIMUM MIRROR_PAD MUL NEG PACK PAD PADV2 POW PRELU QUANTIZE RANGE REDUCE_MAX REDUCE_MIN REDUCE_PROD RELU RELU6
    RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR ROUND RSQRT SHAPE SIN SLICE SOFTMAX SPACE_TO_DEPTH SPLIT
    SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM TANH TILE TRANSPOSE UNPACK
    """
_PURE = frozenset(_PURE_NAMES.split())


def operators(graph: Graph) -> None:
    """Removes the operators whose results nobody reads."""
    needed, kept = set(graph.outputs), []
    for operator in reversed(graph.operators):
        outputs = [int(t) for t in operator.outputs]
        # Whoever has no output, or changes a variable, works by side effect.
        if not outputs or needed.intersection(outputs) or graph.kind(operator) not in _PURE:
            needed.update(int(t) for t in operator.inputs)
            kept.append(operator)
    graph.operators = kept[::-1]


def tensors(graph: Graph) -> None:
    """Removes the tensors that no operator and no signature names, and numbers the others anew."""
    lists = [("inputs", graph.subgraph), ("outputs", graph.subgraph)]
    lists += [(key, o) for o in graph.operators for key in ("inputs", "outputs", "intermediates")]
    signatures = [
        entry
        for signature in graph.model.signatureDefs or []
        if signature.subgraphIndex == 0
        for entry in (*(signature.inputs or []), *(signature.outputs or []))
    ]
    used = {int(t) for key, owner in lists for t in (() if getattr(owner, key) is None else getattr(owner, key))}
    used.update(entry.tensorIndex for entry in signatures)
    used.discard(-1)
    renumbered = {old: new for new, old in enumerate(sorted(used))}
    renumbered[-1] = -1
    graph.subgraph.tensors = [graph.subgraph.tensors[t] for t in sorted(used)]
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
