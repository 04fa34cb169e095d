"""Logits of a .tflite classifier, which are finer in int8 than probabilities of 8 bits, and how far two of them differ."""

from collections.abc import Sequence

import numpy as np

from export.flatbuffer import runtime
from export.flatbuffer.graph import Graph
from shufflenet_tf.errors import UserError


def logits(model: bytes | Graph, images: Sequence[np.ndarray], threads: int = 1) -> np.ndarray:
    """Returns a classifier's logits, the input of its softmax, float64 [N, classes].

    Args:
      model: a .tflite file, float or int8, that takes uint8 pixels; or its graph, which may not be used afterwards.
      images: uint8 [H, W, 3] of its size.
      threads: of the interpreter.

    Raises:
      UserError: it has no softmax.
    """
    graph = model if isinstance(model, Graph) else Graph(model)
    softmax = next((operator for operator in graph.operators if graph.kind(operator) == "SOFTMAX"), None)
    if softmax is None:
        raise UserError("A graph without softmax has no logits to compare: give a classifier that ends with one.")
    graph.subgraph.outputs, graph.model.signatureDefs = [int(softmax.inputs[0])], None
    return outputs(graph.pack(), images, threads)


def outputs(model: bytes, images: Sequence[np.ndarray], threads: int = 1) -> np.ndarray:
    """Returns the outputs of a .tflite file with one input and one output, float64 [N, ...], dequantized if quantized.

    Args:
      model: the file.
      images: [H, W, 3] of its size and type.
      threads: of the interpreter.
    """
    runner = runtime.interpreter(model, threads)
    (given,), (returned,) = runner.get_input_details(), runner.get_output_details()
    rows = []
    for image in images:
        runner.set_tensor(given["index"], image[None])
        runner.invoke()
        rows.append(runner.get_tensor(returned["index"])[0].astype(np.float64))
    scale, zero = returned["quantization"]
    return (np.stack(rows) - zero) * scale if scale else np.stack(rows)


def kl_divergence(p: np.ndarray, log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """Returns the Kullback-Leibler divergence of q from p in nats, [N], of probabilities and logarithms [N, classes]."""
    return (p * (log_p - log_q)).sum(-1)


def distance(real: np.ndarray, rounded: np.ndarray) -> tuple[float, float]:
    """Returns agreement of the first class, 0-1, and mean `kl_divergence` of the softmax, of logits [N, classes]."""
    shifted = [x - x.max(1, keepdims=True) for x in (real, rounded)]
    logs = [x - np.log(np.exp(x).sum(1, keepdims=True)) for x in shifted]
    return float((real.argmax(1) == rounded.argmax(1)).mean()), float(kl_divergence(np.exp(logs[0]), *logs).mean())


def expected_drop(real: np.ndarray, rounded: np.ndarray) -> float:
    """Returns how much accuracy, 0-1, the answers of `rounded` lose if the probabilities of `real` are right; [N, classes]."""
    probabilities = np.exp(real - real.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    answered = np.take_along_axis(probabilities, rounded.argmax(1)[:, None], 1)[:, 0]
    return float((probabilities.max(1) - answered).mean())
