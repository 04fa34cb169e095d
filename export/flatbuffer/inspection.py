"""Inspects a .tflite file: its graph, its multiply-adds, and its delegated operators."""

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
    """Returns the graph of a .tflite file whose input shapes are known; a batch size that is not fixed counts as one.

    Raises:
      UserError: the file is missing, damaged or not a .tflite file, or its height or width is not fixed.
    """
    path = os.fspath(path)
    try:
        flatbuffer, _ = associated_files.separate(pathlib.Path(path).read_bytes())
        model = validation.parse(flatbuffer)
        for subgraph in model.subgraphs:
            for tensor in subgraph.tensors:
                (tensor.name or b"").decode()  # LiteRT's Python API fails on names that aren't valid text
    except UnicodeDecodeError:
        raise UserError(f"{path} can't be used (a tensor name is not valid text): give a whole .tflite file.") from None
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror or error}): give a .tflite file.") from None
    except validation.InvalidModel as reason:
        raise UserError(f"{path} can't be used ({reason}): give a whole .tflite file.") from None
    graph = Graph(model)
    for tensor in graph.inputs:
        signature = graph.subgraph.tensors[tensor].shapeSignature
        if signature is not None and -1 in list(signature)[1:]:
            shape = ", ".join("?" if side < 0 else str(side) for side in signature)
            raise UserError(f"{path} has an input of dynamic shape [{shape}]: convert it with a fixed height and width.")
    return graph


def multiply_adds(graph: Graph) -> int:
    """Returns the multiply-adds of the graph's convolutions and fully connected layers, including those with zero weights."""
    total = 0
    for operator in graph.operators:
        kind = graph.kind(operator)
        if kind in _LAYERS:
            tensors = (graph.subgraph.tensors[t] for t in (operator.inputs[1], operator.outputs[0]))
            weights, result = ([] if tensor.shape is None else tensor.shape.tolist() for tensor in tensors)
            # Weights are [channels, height, width, input channels of a group] for a convolution, [1, height, width, channels]
            # for a depthwise convolution, and [outputs, inputs] for a fully connected layer.
            each = weights[1:3] if kind == "DEPTHWISE_CONV_2D" else weights[1:]
            total += math.prod(result) * math.prod(each)
    return total


def layers(graph: Graph) -> dict[int, tuple[str, str]]:
    """Returns (name, kind) of the convolutions and fully connected layers by output tensor, in execution order."""
    kinds = {int(o.outputs[0]): graph.kind(o) for o in graph.operators if graph.kind(o) in _LAYERS}
    return {tensor: (graph.name(tensor), kind) for tensor, kind in kinds.items()}


def is_quantized(graph: Graph) -> bool:
    """Whether convolutions and fully connected layers have integer outputs."""
    return any(graph.quantization(tensor) for tensor in layers(graph))


def delegation(interpreter: Any) -> tuple[int, dict[str, int]]:
    """Returns how many partitions the delegate (XNNPACK) runs, and the operators outside of them by kind.

    The list of nodes keeps the original nodes, followed by the delegate's. The delegate has taken over the original nodes on
    the paths from the inputs of a delegate node to its outputs.

    Args:
      interpreter: LiteRT interpreter with allocated tensors.
    """
    nodes = interpreter._get_ops_details()  # Python has no other access to it
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
