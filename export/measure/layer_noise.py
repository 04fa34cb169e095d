"""Locates quantization errors: the noise of each layer of an int8 .tflite file relative to the float file."""

import dataclasses
import os
import re

import numpy as np

from export.flatbuffer import inspection, runtime
from export.flatbuffer.graph import Graph
from shufflenet_tf.tflite_classifier import LiteClassifier, _real

_ENLARGED, _EQUAL = 1.05, 0.9  # gain, and correlation, of a channel that was equalized
_SAME = 0.7  # correlation of layers whose channels have the same order
_TINY = np.finfo(np.float64).tiny
_OPERATORS = re.compile("conv|depthwise|matmul", re.IGNORECASE)  # operator names that converters give to layers


@dataclasses.dataclass(frozen=True)
class LayerNoise:
    """The quantization noise of a convolution or fully connected layer.

    Attributes:
      name: name of its output tensor.
      kind: kind of operator.
      sqnr: ratio of the power of the float output to that of the difference, in dB, over all values of all images;
        infinite: no difference. Channels that were enlarged by equalization are compared in their original size.
    """

    name: str
    kind: str
    sqnr: float

    @property
    def short_name(self) -> str:
        return short_name(self.name)


def short_name(tensor: str) -> str:
    """Returns the layer's name from the name of its output tensor, which lists all operators fused into it."""
    paths = [part.split("/") for part in tensor.split(";") if "/" in part]
    path = next((path for path in paths if _OPERATORS.match(path[-1])), paths[0] if paths else [tensor, ""])
    return re.sub(r"_\d+$", "", path[-2])  # Keras numbers the calls of a layer


def matching_layers(reference: Graph, quantized: Graph) -> list[tuple[int, int, str, str]]:
    """Returns (tensor in `reference`, tensor in `quantized`, name, kind) of the layers in both, in execution order.

    Layers match if their names (without the numbers that converters append), kinds and shapes do, and if their biases show
    the same channel order, whatever the channels' sizes: `export.optimize` can change the order, equalization the sizes.
    """
    known: dict[tuple, list[int]] = {}
    for tensor, (name, kind) in inspection.layers(reference).items():
        known.setdefault((_plain(name), kind, reference.shape(tensor)), []).append(tensor)
    matches = []
    for tensor, (name, kind) in inspection.layers(quantized).items():
        others = known.get((_plain(name), kind, quantized.shape(tensor)))
        if others:
            other = others.pop(0)  # layers of the same name have the same order in both
            biases = _bias(reference, other), _bias(quantized, tensor)
            if _same_order(*biases) or _same_signs(*biases):
                matches.append((other, tensor, name, kind))
    return matches


def layer_noise(reference: str | os.PathLike, quantized: str | os.PathLike, pixels: np.ndarray) -> list[LayerNoise]:
    """Measures the noise of every layer that two files share, with LiteRT's built-in kernels.

    Noise accumulates along the network: look for layers at which the ratio falls steeply.

    Args:
      reference: a float .tflite file.
      quantized: the int8 file of the same conversion.
      pixels: uint8 [N, H, W, 3].

    Returns:
      Layers in execution order; empty if no layers match.

    Raises:
      UserError: a file is missing or damaged, or is not an image classifier.
    """
    files = [os.fspath(path) for path in (reference, quantized)]
    graphs = [inspection.read(file) for file in files]
    matches = matching_layers(*graphs)
    probes = [_Probe(file) for file in files]
    sums: list[np.ndarray | int] = [0] * len(matches)
    for image in pixels:
        for probe in probes:
            probe.run(image)
        for i, (real, rounded, *_) in enumerate(matches):
            sums[i] = sums[i] + _channel_sums(probes[0].values(real), probes[1].values(rounded))
    layers = []
    for (real, rounded, name, kind), channels in zip(matches, sums, strict=True):
        known = _same_order(_bias(graphs[0], real), _bias(graphs[1], rounded))
        if known or _correlation(channels) >= _SAME:
            layers.append(LayerNoise(name, kind, _ratio(channels)))
    return layers


def _channel_sums(true: np.ndarray, rounded: np.ndarray) -> np.ndarray:
    """Returns the sums of true², true·rounded and rounded² of each channel, float64 [3, C]."""
    true, rounded = (x.reshape(-1, x.shape[-1]) for x in (true, rounded))
    return np.stack([(true * true).sum(0), (true * rounded).sum(0), (rounded * rounded).sum(0)])


def _correlation(sums: np.ndarray) -> float:
    """How equal the channels are but for their sizes: 1 for equal ones; the strong ones count more."""
    true, both, rounded = sums
    return float(both.sum() and (both / np.sqrt(np.maximum(rounded, _TINY) / np.maximum(true, _TINY))).sum() / true.sum())


def _ratio(sums: np.ndarray) -> float:
    """The signal-to-noise ratio in dB, from the sums of each channel."""
    true, both, rounded = sums
    gain = both / np.maximum(true, _TINY)
    # Rounding and clipping enlarge no channel, so that what has grown and is the same otherwise was equalized.
    enlarged = (gain > _ENLARGED) & (both > _EQUAL * np.sqrt(true * rounded))
    rest = (rounded - gain * both) / np.square(np.where(enlarged, gain, 1))
    noise = np.where(enlarged, np.maximum(rest, 0), true - 2 * both + rounded).sum()
    return float(10 * np.log10(true.sum() / noise)) if noise > 0 and true.any() else -np.inf if noise > 0 else np.inf


class _Probe:
    """An interpreter that keeps all tensors readable."""

    def __init__(self, path: str):
        self._classifier = LiteClassifier(path)  # converts pixels to the input tensor
        # No delegate, because it hides the tensors inside a partition.
        self._interpreter = runtime.interpreter(path, kernels=runtime.BUILTIN, keep_tensors=True)
        self._details = {detail["index"]: detail for detail in self._interpreter.get_tensor_details()}

    def run(self, image: np.ndarray) -> None:
        self._interpreter.set_tensor(self._interpreter.get_input_details()[0]["index"], self._classifier._fed(image[None]))
        self._interpreter.invoke()

    def values(self, tensor: int) -> np.ndarray:
        return _real(self._interpreter.get_tensor(tensor), self._details[tensor]).astype(np.float64)


def _plain(name: str) -> tuple[str, ...]:
    """Operators that produce a tensor, without the numbers that distinguish conversions in a process and tensors in a file."""
    return tuple(re.sub(r"\d+$", "", re.sub(r"^([^/]*?)(_\d+)+/", r"\1/", part)) for part in name.split(";"))


def _bias(graph: Graph, tensor: int) -> np.ndarray | None:
    """The dequantized bias of the layer with this output."""
    operator = next(o for o in graph.operators if int(o.outputs[0]) == tensor)
    bias = graph.constant(int(operator.inputs[2])) if len(operator.inputs) > 2 else None
    quantization = None if bias is None else graph.quantization(int(operator.inputs[2]))
    return bias if quantization is None else bias * np.array(quantization.scale)


def _same_order(real: np.ndarray | None, rounded: np.ndarray | None) -> bool:
    """Whether two biases show the same channel order; quantization corrections are smaller than differences of channels."""
    if real is None or rounded is None or real.shape != rounded.shape:
        return True
    return np.square(real - rounded).sum() <= 0.25 * np.square(real - real.mean()).sum() + 1e-6


def _same_signs(real: np.ndarray | None, rounded: np.ndarray | None) -> bool:
    """Whether two biases have the same signs, as equalization leaves them; large values count more."""
    if real is None or rounded is None or real.shape != rounded.shape:
        return True
    return np.abs(real)[np.sign(real) == np.sign(rounded)].sum() >= 0.9 * np.abs(real).sum()
