"""Logits of a .tflite classifier, and metrics of their difference; int8 logits are finer than 8-bit probabilities."""

from collections.abc import Sequence

import numpy as np

from export.flatbuffer import runtime
from export.flatbuffer.graph import Graph
from shufflenet_tf.errors import UserError


def logits(model: bytes | Graph, images: Sequence[np.ndarray], threads: int = 1) -> np.ndarray:
    """Returns a classifier's logits, the input of its softmax, float64 [N, classes].

    Args:
      model: a .tflite file, float or int8, that takes uint8 pixels; or its graph, which this call changes.
      images: uint8 [H, W, 3] of the model's size.
      threads: number of interpreter threads.

    Raises:
      UserError: the model has no softmax.
    """
    graph = model if isinstance(model, Graph) else Graph(model)
    softmax = next((operator for operator in graph.operators if graph.kind(operator) == "SOFTMAX"), None)
    if softmax is None:
        raise UserError("A graph without softmax has no logits to compare: give a classifier that ends with a softmax.")
    graph.subgraph.outputs, graph.model.signatureDefs = [int(softmax.inputs[0])], None
    return outputs(graph.pack(), images, threads)


def outputs(model: bytes, images: Sequence[np.ndarray], threads: int = 1) -> np.ndarray:
    """Returns the outputs of a .tflite file with one input and one output, float64 [N, ...]; dequantizes integer outputs.

    Args:
      model: the file.
      images: [H, W, 3] of the model's size and type.
      threads: number of interpreter threads.
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
    """Returns the Kullback-Leibler divergence of q from p in nats, [N]; the arguments are [N, classes]."""
    return (p * (log_p - log_q)).sum(-1)


def distance(real: np.ndarray, rounded: np.ndarray) -> tuple[float, float]:
    """Returns the top-1 agreement, 0-1, and the mean `kl_divergence` of the softmax of two sets of logits [N, classes]."""
    shifted = [x - x.max(1, keepdims=True) for x in (real, rounded)]
    logs = [x - np.log(np.exp(x).sum(1, keepdims=True)) for x in shifted]
    return float((real.argmax(1) == rounded.argmax(1)).mean()), float(kl_divergence(np.exp(logs[0]), *logs).mean())


def expected_drop(real: np.ndarray, rounded: np.ndarray) -> float:
    """Returns the expected accuracy drop, 0-1, of `rounded` if the probabilities of `real` are right; both [N, classes]."""
    probabilities = np.exp(real - real.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    answered = np.take_along_axis(probabilities, rounded.argmax(1)[:, None], 1)[:, 0]
    return float((probabilities.max(1) - answered).mean())
