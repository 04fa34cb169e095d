"""Where quantization goes wrong: the noise of each layer of an int8 .tflite file, against the float file beside it."""

import dataclasses
import os
import re

import numpy as np

from export.flatbuffer import inspection, runtime
from export.flatbuffer.graph import Graph
from shufflenet_tf.tflite_classifier import LiteClassifier, _real

_OPERATORS = re.compile("conv|depthwise|matmul", re.IGNORECASE)  # names that converters give to layers' operators


@dataclasses.dataclass(frozen=True)
class LayerNoise:
    """The noise of a convolution or fully connected layer of a quantized graph.

    Attributes:
      name: of its output tensor.
      kind: of operator.
      sqnr: power of the float output over that of the difference, in dB, over all values of all images; infinite: none.
    """

    name: str
    kind: str
    sqnr: float

    @property
    def short_name(self) -> str:
        return short_name(self.name)


def short_name(tensor: str) -> str:
    """Returns a layer's name within its output tensor's, which lists all operators that were fused into it."""
    paths = [part.split("/") for part in tensor.split(";") if "/" in part]
    path = next((path for path in paths if _OPERATORS.match(path[-1])), paths[0] if paths else [tensor, ""])
    return re.sub(r"_\d+$", "", path[-2])  # Keras counts the calls of a layer


def matching_layers(reference: Graph, quantized: Graph) -> list[tuple[int, int, str, str]]:
    """Returns (tensor in `reference`, tensor in `quantized`, name, kind) of layers that both have, in order of execution.

    They match if name (but for numbers that converters append), kind and shape do, and if biases tell that the
    channels have the same order: `export.optimize` changes that.
    """
    known: dict[tuple, list[int]] = {}
    for tensor, (name, kind) in inspection.layers(reference).items():
        known.setdefault((_plain(name), kind, reference.shape(tensor)), []).append(tensor)
    matches = []
    for tensor, (name, kind) in inspection.layers(quantized).items():
        others = known.get((_plain(name), kind, quantized.shape(tensor)))
        if others:
            other = others.pop(0)  # layers of one name come in the same order
            if _same_order(_bias(reference, other), _bias(quantized, tensor)):
                matches.append((other, tensor, name, kind))
    return matches


def layer_noise(reference: str | os.PathLike, quantized: str | os.PathLike, pixels: np.ndarray) -> list[LayerNoise]:
    """Measures the noise of every layer that two files share, with the built-in kernels.

    Noise adds up along the network: where the ratio falls steeply from one layer to the next is where to look.

    Args:
      reference: a float .tflite file.
      quantized: the int8 file of the same conversion.
      pixels: uint8 [N, H, W, 3].

    Returns:
      Layers in the order of execution; none where no layers match.

    Raises:
      UserError: a file is missing or damaged, or no image classifier.
    """
    files = [os.fspath(path) for path in (reference, quantized)]
    matches = matching_layers(*(inspection.read(file) for file in files))
    probes = [_Probe(file) for file in files]
    signal, noise = np.zeros((2, len(matches)))
    for image in pixels:
        for probe in probes:
            probe.run(image)
        for i, (real, rounded, *_) in enumerate(matches):
            true = probes[0].values(real)
            signal[i] += np.square(true).sum()
            noise[i] += np.square(true - probes[1].values(rounded)).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(noise > 0, 10 * np.log10(signal / noise), np.inf)
    return [LayerNoise(name, kind, float(ratio)) for (*_, name, kind), ratio in zip(matches, ratios, strict=True)]


class _Probe:
    """An interpreter that keeps every tensor."""

    def __init__(self, path: str):
        self._classifier = LiteClassifier(path)  # knows how pixels are fed
        # Without a delegate, which hides the tensors within a partition.
        self._interpreter = runtime.interpreter(path, kernels=runtime.BUILTIN, keep_tensors=True)
        self._details = {detail["index"]: detail for detail in self._interpreter.get_tensor_details()}

    def run(self, image: np.ndarray) -> None:
        self._interpreter.set_tensor(self._interpreter.get_input_details()[0]["index"], self._classifier._fed(image[None]))
        self._interpreter.invoke()

    def values(self, tensor: int) -> np.ndarray:
        return _real(self._interpreter.get_tensor(tensor), self._details[tensor]).astype(np.float64)


def _plain(name: str) -> tuple[str, ...]:
    """Operators that make a tensor, without the numbers that tell apart conversions in one process and tensors in a file."""
    return tuple(re.sub(r"\d+$", "", re.sub(r"^([^/]*?)(_\d+)+/", r"\1/", part)) for part in name.split(";"))


def _bias(graph: Graph, tensor: int) -> np.ndarray | None:
    """The bias of the layer with this output, as real numbers."""
    operator = next(o for o in graph.operators if int(o.outputs[0]) == tensor)
    bias = graph.constant(int(operator.inputs[2])) if len(operator.inputs) > 2 else None
    quantization = None if bias is None else graph.quantization(int(operator.inputs[2]))
    return bias if quantization is None else bias * np.array(quantization.scale)


def _same_order(real: np.ndarray | None, rounded: np.ndarray | None) -> bool:
    """Whether two biases tell of the same channels in the same places; corrections of quantization error are smaller."""
    if real is None or rounded is None or real.shape != rounded.shape:
        return True
    return np.square(real - rounded).sum() <= 0.25 * np.square(real - real.mean()).sum() + 1e-6
