"""Inspects a .tflite file: its graph, its multiply-adds, and the operators that the delegate takes."""

import math
import os
import pathlib
from collections import Counter
from typing import Any

from export.flatbuffer import associated_files, validation
from export.flatbuffer.graph import Graph
from shufflenet_tf.errors import UserError

_LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def read(path: str | os.PathLike) -> Graph:
    """Returns the graph of a .tflite file whose input shapes are known; its batch may be open, and counts as one.

    Raises:
      UserError: the file is missing, damaged, no .tflite file, or its height or width is open.
    """
    path = os.fspath(path)
    try:
        flatbuffer, _ = associated_files.separate(pathlib.Path(path).read_bytes())
        for subgraph in validation.parse(flatbuffer).subgraphs:
            for tensor in subgraph.tensors:
                (tensor.name or b"").decode()  # LiteRT's Python side stumbles over names that are no text
    except UnicodeDecodeError:
        raise UserError(f"{path} can't be used (a name in it is no text): give a whole .tflite file.") from None
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror or error}): give a .tflite file.") from None
    except validation.InvalidModel as reason:
        raise UserError(f"{path} can't be used ({reason}): give a whole .tflite file.") from None
    graph = Graph(flatbuffer)
    for tensor in graph.inputs:
        signature = graph.subgraph.tensors[tensor].shapeSignature
        if signature is not None and -1 in list(signature)[1:]:
            shape = ", ".join("?" if side < 0 else str(side) for side in signature)
            raise UserError(f"{path} has an input of dynamic shape [{shape}]: convert it with a fixed height and width.")
    return graph


def multiply_adds(graph: Graph) -> int:
    """Returns the multiply-adds of convolutions and fully connected layers as the graph has them, zero weights included."""
    total = 0
    for operator in graph.operators:
        kind = graph.kind(operator)
        if kind in _LAYERS:
            weights, result = (graph.subgraph.tensors[t].shape.tolist() for t in (operator.inputs[1], operator.outputs[0]))
            # Weights are [channels, height, width, input channels of a group], [1, height, width, channels] of a
            # depthwise convolution, and [outputs, inputs].
            each = weights[1:3] if kind == "DEPTHWISE_CONV_2D" else weights[1:]
            total += math.prod(result) * math.prod(each)
    return total


def layers(graph: Graph) -> dict[int, tuple[str, str]]:
    """Returns (name, kind) of the convolutions and fully connected layers by output tensor, in the order of execution."""
    kinds = {int(o.outputs[0]): graph.kind(o) for o in graph.operators if graph.kind(o) in _LAYERS}
    return {tensor: (graph.name(tensor), kind) for tensor, kind in kinds.items()}


def is_quantized(graph: Graph) -> bool:
    """Whether convolutions and fully connected layers have integer outputs."""
    return any(graph.quantization(tensor) for tensor in layers(graph))


def delegation(interpreter: Any) -> tuple[int, dict[str, int]]:
    """Returns how many partitions the delegate (XNNPACK) runs, and the operators outside of them by kind.

    A delegate's nodes come behind the original ones, which stay in the list: those on the way from a node's inputs to its
    outputs are the ones that it has taken over.

    Args:
      interpreter: of LiteRT, its tensors allocated.
    """
    nodes = interpreter._get_ops_details()  # the only place where Python can read it
    delegates = [node for node in nodes if "delegate" in node["op_name"].lower()]
    originals = [node for node in nodes if "delegate" not in node["op_name"].lower()]
    maker = {int(tensor): i for i, node in enumerate(originals) for tensor in node["outputs"]}
    inside: set[int] = set()
    for node in delegates:
        reached, pending = {int(tensor) for tensor in node["inputs"]}, [int(tensor) for tensor in node["outputs"]]
        while pending:
            tensor = pending.pop()
            if tensor not in reached and tensor in maker:
                inside.add(maker[tensor])
                pending += [int(source) for source in originals[maker[tensor]]["inputs"]]
            reached.add(tensor)
    outside = Counter(node["op_name"] for i, node in enumerate(originals) if i not in inside)
    return len(delegates), dict(outside.most_common())
