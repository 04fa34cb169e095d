"""Sets an open batch to 1: most converters leave it open, and passes need a graph whose sizes are known."""

import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from export.flatbuffer import runtime
from export.flatbuffer.graph import Graph

# Operators that take sizes or positions from a tensor: where that is computed from the input, so is the result's shape.
_SIZED_NAMES = """
    BROADCAST_TO DYNAMIC_UPDATE_SLICE FILL MIRROR_PAD ONE_HOT PAD PADV2 RANGE RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR
    SLICE SPARSE_TO_DENSE STRIDED_SLICE TILE TOPK_V2 TRANSPOSE TRANSPOSE_CONV
    """
_SIZED = frozenset(_SIZED_NAMES.split())
_OPEN_NAMES = "CALL CALL_ONCE CUSTOM IF NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 UNIQUE UNKNOWN WHERE WHILE"
_OPEN = frozenset(_OPEN_NAMES.split())
_INTEGERS = (schema.TensorType.INT32, schema.TensorType.INT64)
_MAX_FOLDED = 1 << 16  # elements of what is computed from shapes alone


def is_open(graph: Graph) -> bool:
    """Whether a side of an input is unknown."""
    return any(graph.shape(t) is None for t in graph.inputs)


def close(data: bytes) -> tuple[bytes | None, str]:
    """Returns the model for a batch of one, or None where there is none, and what was done, as text.

    Args:
      data: a model that can be run, with an input whose size is not fixed.
    """
    graph = Graph(data)
    shapes = {t: _closed(graph, t) for t in graph.inputs}
    signatures = ", ".join(str(_signature(graph, t)) for t in graph.inputs if graph.shape(t) is None)
    if None in shapes.values():
        return (
            None,
            f"left alone: the input {signatures} has other open sides than the batch: convert it with a fixed height and width",
        )
    kinds = {graph.kind(o) for o in graph.operators}
    if kinds & _OPEN:
        return None, f"left alone: the input {signatures} is open, and what {min(kinds & _OPEN)} returns has no known size"
    folded = _foldable(graph)
    for operator in graph.operators:
        numbers = [int(t) for t in operator.inputs if t >= 0 and graph.type(int(t)) in _INTEGERS]
        computed = [t for t in numbers if t not in folded and graph.constant(t) is None]
        if graph.kind(operator) in _SIZED and computed:
            return None, f"left alone: the input {signatures} is open, and {graph.kind(operator)} computes its size from values"
    _fix(graph, _run(data, shapes), folded)
    return graph.pack(), f"taken as 1, where the input {signatures} leaves it open"


def _signature(graph: Graph, tensor: int) -> list[int]:
    t = graph.subgraph.tensors[tensor]
    shape = [] if t.shape is None else t.shape
    return [int(side) for side in (shape if t.shapeSignature is None else t.shapeSignature)]


def _closed(graph: Graph, tensor: int) -> list[int] | None:
    """Returns the shape of an input for a batch of one; None where other sides are open."""
    signature = _signature(graph, tensor)
    first, *others = signature or [1]
    return None if min(others, default=1) < 1 or first == 0 else [max(first, 1), *others] if signature else []


def _run(data: bytes, shapes: dict[int, list[int]]) -> Interpreter:
    """Returns an interpreter that has run the model once, which keeps every tensor."""
    runner = runtime.interpreter(data, kernels=runtime.BUILTIN, keep_tensors=True, input_shapes=shapes)
    runtime.run(runner, runtime.random_inputs(runner, 1)[0])
    return runner


def _foldable(graph: Graph) -> set[int]:
    """Returns the tensors that depend on shapes alone."""
    folded: set[int] = set()
    for operator in graph.operators:
        inputs = [int(t) for t in operator.inputs if t >= 0]
        known = all(t in folded or graph.constant(t) is not None for t in inputs)
        from_shapes = graph.kind(operator) in ("SHAPE", "RANK") or (known and bool(folded.intersection(inputs)))
        if from_shapes and all(graph.type(int(t)) in _INTEGERS for t in operator.outputs):
            folded.update(int(t) for t in operator.outputs)
    return folded


def _fix(graph: Graph, runner: Interpreter, folded: set[int]) -> None:
    """Writes the shapes that the tensors have, and the values of those that depend on them alone."""
    shapes = {detail["index"]: detail["shape"].tolist() for detail in runner.get_tensor_details()}
    for index, tensor in enumerate(graph.subgraph.tensors):
        tensor.shapeSignature = None
        if graph.constant(index) is None and index in shapes:
            tensor.shape = shapes[index]
    small = {t for t in folded if math.prod(shapes[t]) <= _MAX_FOLDED}
    whole = [o for o in graph.operators if not small.issuperset(int(t) for t in o.outputs)]
    for t in {int(t) for o in graph.operators if not any(o is other for other in whole) for t in o.outputs}:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(runner.get_tensor(t)).tobytes(), np.uint8)
        graph.model.buffers.append(buffer)
        graph.subgraph.tensors[t].buffer = len(graph.model.buffers) - 1
    graph.operators = whole
