"""Post-training quantization to int8: takes a float graph, the converter's int8 graph and some photos, without labels.

    from export.ptq import BEST, quantize
    quantized = quantize(float_model, int8_model, images, BEST)

Both graphs come out of the converter (`export.convert.from_keras`) and have not been optimized. The int8 graph's scales of
activations, weights and biases are derived anew from the float graph. The steps, in the order in which `quantize` takes them:

1. `graph_pair.py` pairs the two graphs, operator by operator, and finds the activations that share one scale.
2. `activation_ranges.py` runs the float graph on the photos (`execution.py`) and records the activations.
3. `equalize.py` evens out the channels: cross-layer equalization. `activation_ranges.py` then chooses the range of each scale.
4. `layer_tuning.py` goes from layer to layer: narrower ranges (`narrow_ranges.py`), weights adapted to the quantized inputs
   and rounded (`layer_matrix.py`, `weight_rounding.py`), biases corrected.
5. `mixed_precision.py`, if asked for: the layers that int8 hurts most stay in floating point.

To add a step, write a function that changes the `GraphPair` and returns a `Step`, give `Recipe` or `Tuning` a field that turns
it on, and call it in `quantize` or `layer_tuning.tune`.
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
    """The steps to take.

    Attributes:
      ranges: how the range that int8 covers is chosen: "minmax", "percentile", "mse" or "entropy"; see `choose_range` in
        `activation_ranges`.
      equalize: strength of cross-layer equalization, 0 (none) to 1.
      tuning: the steps to take layer by layer.

    Raises:
      UserError: a value outside of these.
    """

    ranges: str = "minmax"
    equalize: float = 0.0
    tuning: Tuning = PLAIN

    def __post_init__(self):
        if self.ranges not in activation_ranges.METHODS:
            raise UserError(f"There are no ranges {self.ranges!r}: use {', '.join(activation_ranges.METHODS)}.")
        if not 0 <= self.equalize <= 1:
            raise UserError(f"The strength of equalization is {self.equalize}: give 0 (none) to 1.")


MINMAX = Recipe()
BEST = Recipe(equalize=0.75, tuning=Tuning(narrow=True, refit=True, compensate=True, correct=True))
BEST_INT16 = Recipe(tuning=Tuning(refit=True, compensate=True, correct=True))  # activations are fine enough as they are


@dataclasses.dataclass(frozen=True)
class QuantizedPair:
    """A quantized graph, and the float graph that it's the int8 version of.

    Attributes:
      model: the int8 .tflite file.
      reference: the float .tflite file, with the same layers; it computes the same as the float graph that was given.
      steps: what was done, in order.
    """

    model: bytes
    reference: bytes
    steps: tuple[Step, ...] = ()


def quantize(
    float_model: bytes, int8_model: bytes, images: Sequence[np.ndarray], recipe: Recipe = BEST, threads: int = 1
) -> QuantizedPair:
    """Quantizes a float graph: the int8 graph keeps its operators and gets new scales, weights and biases.

    Activations that are only moved, padded, pooled or concatenated share one scale, so that no operator rescales them.

    Args:
      float_model, int8_model: .tflite files of one conversion; the second one's activations may be in int16 instead.
      images: uint8 [H, W, 3] of the graphs' size, of the kind that the model will see.
      recipe: the steps to take.
      threads: of the interpreters.

    Raises:
      UserError: the files are damaged, not of one conversion or not in integers throughout, there are no images, or of another
        size, or the float graph gives no numbers on them.
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
        raise UserError("There are no photos to quantize with: give some 200 of the kind that the model will see.")
    for image in images:
        if getattr(image, "dtype", None) != np.uint8 or image.shape != size:
            kind = getattr(image, "dtype", type(image).__name__)
            raise UserError(f"A photo to quantize with is {kind} {list(np.shape(image))}: give uint8 {list(size)}.")
    return np.stack(images)
