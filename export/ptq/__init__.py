"""Post-training quantization to int8, from a float graph, the converter's int8 graph and some unlabelled photos.

    from export.ptq import BEST, quantize
    quantized = quantize(float_model, int8_model, images, BEST)

Both graphs come from the converter (`export.convert.from_keras`) and have not been optimized. The int8 graph's activation
scales, weights and biases are derived again from the float graph. The steps of `quantize`, in order:

1. `graph_pair.py` pairs the two graphs by operator, and groups the activations that share a scale.
2. `activation_ranges.py` runs the float graph on the photos (`execution.py`) and records the activations.
3. `equalize.py` equalizes the channels across layers. `activation_ranges.py` then chooses the range of each scale.
4. `layer_tuning.py` processes one layer after the other: it narrows ranges (`narrow_ranges.py`), adapts weights to the
   quantized inputs and rounds them (`layer_matrix.py`, `weight_rounding.py`), and corrects biases.
5. `mixed_precision.py`, if requested, keeps the layers that int8 hurts most in floating point.

To add a step, write a function that changes the `GraphPair` and returns a `Step`, give `Recipe` or `Tuning` a field that
enables it, and call it in `quantize` or `layer_tuning.tune`.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from export.flatbuffer.model import Step
from export.ptq import activation_ranges
from export.ptq.equalize import equalize
from export.ptq.graph_pair import GraphPair
from export.ptq.layer_tuning import PLAIN, Tuning, tune
from shufflenet_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The enabled steps.

    Attributes:
      ranges: method of choosing the range that int8 covers: "minmax", "percentile", "mse" or "entropy"; see `choose_range` in
        `activation_ranges`.
      equalize: strength of cross-layer equalization, 0 (none) to 1.
      tuning: the steps for each layer.

    Raises:
      UserError: a value is invalid.
    """

    ranges: str = "minmax"
    equalize: float = 0.0
    tuning: Tuning = PLAIN

    def __post_init__(self):
        if self.ranges not in activation_ranges.METHODS:
            raise UserError(f"There is no range method {self.ranges!r}: use {', '.join(activation_ranges.METHODS)}.")
        if not 0 <= self.equalize <= 1:
            raise UserError(f"The strength of equalization is {self.equalize}: give a value from 0 (none) to 1.")


MINMAX = Recipe()
BEST = Recipe(equalize=0.75, tuning=Tuning(narrow=True, refit=True, compensate=True, correct=True))
BEST_INT16 = Recipe(tuning=Tuning(refit=True, compensate=True, correct=True))  # 16-bit activations need no other steps


@dataclasses.dataclass(frozen=True)
class QuantizedPair:
    """A quantized graph and its float version.

    Attributes:
      model: the int8 .tflite file.
      reference: the float .tflite file with the same layers; equivalent to the given float graph.
      steps: the quantization steps, in order.
    """

    model: bytes
    reference: bytes
    steps: tuple[Step, ...] = ()


def quantize(
    float_model: bytes, int8_model: bytes, images: Sequence[np.ndarray], recipe: Recipe = BEST, threads: int = 1
) -> QuantizedPair:
    """Quantizes a float graph: the int8 graph keeps its operators and gets new scales, weights and biases.

    Activations that are only moved, padded, pooled or concatenated share one scale, so no operator has to rescale them.

    Args:
      float_model, int8_model: .tflite files of the same conversion; the second may have int16 activations instead.
      images: uint8 [H, W, 3] of the graphs' size, similar to those that the model will see.
      recipe: the enabled steps.
      threads: threads of the interpreters.

    Raises:
      UserError: the files are damaged, not from one conversion or not quantized throughout; there are no images, or they have
        another size; or the float graph returns NaN or infinity.
    """
    pair = GraphPair(float_model, int8_model)
    pixels = _checked(images, pair)
    statistics = activation_ranges.record_statistics(pair, pixels, threads)
    steps = []
    if recipe.equalize:
        statistics, step = equalize(pair, statistics, recipe.equalize)
        steps.append(step)
    activation_ranges.set_scales(pair, statistics, recipe.ranges)
    steps.append(Step(f"{recipe.ranges} ranges", True, f"{len(pair.groups)} scales, from {len(pixels)} images"))
    steps += tune(pair, pixels, recipe.tuning, threads)
    return QuantizedPair(pair.int8_graph.pack(), pair.float_graph.pack(), tuple(steps))


def _checked(images: Sequence[np.ndarray], pair: GraphPair) -> np.ndarray:
    """Returns images as one array [N, H, W, 3]."""
    size = pair.float_graph.shape(pair.image[0])[1:]
    if not len(images):
        raise UserError("There are no photos to quantize with: give about 200 like those that the model will see.")
    for image in images:
        if getattr(image, "dtype", None) != np.uint8 or image.shape != size:
            kind = getattr(image, "dtype", type(image).__name__)
            raise UserError(f"A photo to quantize with is {kind} {list(np.shape(image))}: give uint8 {list(size)}.")
    return np.stack(images)
