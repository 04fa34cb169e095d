"""What a .tflite classifier says before its softmax, where int8's answers are finer than in probabilities of 8 bits."""

from collections.abc import Sequence

import numpy as np

from export.flatbuffer import runtime
from export.flatbuffer.graph import Graph
from shufflenet_tf.errors import UserError


def logits(model: bytes, images: Sequence[np.ndarray], threads: int = 1) -> np.ndarray:
    """Returns what goes into a classifier's softmax, float64 [N, classes].

    Args:
      model: a .tflite file, float or int8, that takes uint8 pixels.
      images: uint8 [H, W, 3] of its size.
      threads: of the interpreter.

    Raises:
      UserError: it has no softmax.
    """
    graph = Graph(model)
    softmax = next((operator for operator in graph.operators if graph.kind(operator) == "SOFTMAX"), None)
    if softmax is None:
        raise UserError("A graph without softmax has no logits to compare: give a classifier that ends with one.")
    graph.subgraph.outputs, graph.model.signatureDefs = [int(softmax.inputs[0])], None
    return outputs(graph.pack(), images, threads)


def outputs(model: bytes, images: Sequence[np.ndarray], threads: int = 1) -> np.ndarray:
    """Returns what a .tflite file with one input and one output computes, float64 [N, ...], dequantized if need be.

    Args:
      model: the file.
      images: [H, W, 3] of its size and type.
      threads: of the interpreter.
    """
    runner = runtime.interpreter(model, threads)
    (fed,), (made,) = runner.get_input_details(), runner.get_output_details()
    rows = []
    for image in images:
        runner.set_tensor(fed["index"], image[None])
        runner.invoke()
        rows.append(runner.get_tensor(made["index"])[0].astype(np.float64))
    scale, zero = made["quantization"]
    return (np.stack(rows) - zero) * scale if scale else np.stack(rows)


def distance(real: np.ndarray, rounded: np.ndarray) -> tuple[float, float]:
    """Returns agreement of the first class, 0-1, and mean divergence (Kullback and Leibler) in nats, of logits [N, classes]."""
    shifted = [x - x.max(1, keepdims=True) for x in (real, rounded)]
    logs = [x - np.log(np.exp(x).sum(1, keepdims=True)) for x in shifted]
    divergence = (np.exp(logs[0]) * (logs[0] - logs[1])).sum(1).mean()
    return float((real.argmax(1) == rounded.argmax(1)).mean()), float(divergence)


def expected_drop(real: np.ndarray, rounded: np.ndarray) -> float:
    """Returns how much accuracy, 0-1, the answers of `rounded` lose if the probabilities of `real` are right; [N, classes]."""
    probabilities = np.exp(real - real.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    answered = np.take_along_axis(probabilities, rounded.argmax(1)[:, None], 1)[:, 0]
    return float((probabilities.max(1) - answered).mean())
