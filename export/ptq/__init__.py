"""int8 without labels and without training: a float graph, the converter's int8 graph and some photos in, a better one out.

    from export.ptq import BEST, quantize
    result = quantize(float_model, int8_model, images, BEST)

Both graphs come out of the converter (`export.convert.from_keras`) and have not been optimized. What the converter
chose for the int8 graph, scales of activations, weights and biases, is derived anew from the float graph.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from export.ptq import activation_ranges
from export.ptq.equalize import equalize
from export.ptq.graph_pair import Pair
from export.ptq.layer_tuning import PLAIN, Tuning, tune
from shufflenet_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Which steps are taken.

    Attributes:
      ranges: what int8 covers of an activation: "minmax", "percentile", "mse" or "entropy"; see `activation_ranges.choose`.
      equalize: strength of cross-layer equalization, 0 (none) to 1.
      tuning: what is done layer by layer.

    Raises:
      UserError: a value outside of these.
    """

    ranges: str = "minmax"
    equalize: float = 0.0
    tuning: Tuning = PLAIN

    def __post_init__(self):
        if self.ranges not in activation_ranges.KINDS:
            raise UserError(f"There are no ranges {self.ranges!r}: use {', '.join(activation_ranges.KINDS)}.")
        if not 0 <= self.equalize <= 1:
            raise UserError(f"The strength of equalization is {self.equalize}: give 0 (none) to 1.")


MINMAX = Recipe()
BEST = Recipe(equalize=0.75, tuning=Tuning(narrow=True, refit=True, compensate=True, correct=True))
BEST_INT16 = Recipe(tuning=Tuning(refit=True, compensate=True, correct=True))  # activations are fine enough as they are


@dataclasses.dataclass(frozen=True)
class Result:
    """A quantized graph.

    Attributes:
      model: the int8 .tflite file.
      reference: the float .tflite file that it's the int8 version of, layer by layer; it computes what the given one does.
      steps: (step, what was done), in order.
    """

    model: bytes
    reference: bytes
    steps: tuple[tuple[str, str], ...] = ()


def quantize(
    float_model: bytes, int8_model: bytes, images: Sequence[np.ndarray], recipe: Recipe = BEST, threads: int = 1
) -> Result:
    """Quantizes a float graph, with the operators of an int8 graph and numbers of its own.

    Activations that are only moved, padded, pooled or concatenated share one scale, so that nothing rescales them.

    Args:
      float_model, int8_model: .tflite files of one conversion; the second one's activations may be in int16 instead.
      images: uint8 [H, W, 3] of the graphs' size, of the kind that the model will see.
      recipe: what is done.
      threads: of the interpreters.

    Raises:
      UserError: the files are damaged, not of one conversion or not in integers throughout, there are no images, or of another
        size, or the float graph gives no numbers on them.
    """
    pair = Pair(float_model, int8_model)
    pixels = _checked(images, pair)
    seen = activation_ranges.activations(pair, pixels, threads)
    steps = []
    if recipe.equalize:
        seen, what = equalize(pair, seen, recipe.equalize)
        steps.append(("cross-layer equalization", what))
    for group in pair.groups:
        of_group = [seen[pair.real_of[t]] for t in group if pair.real_of[t] in seen]
        low, high = min(a.low.min() for a in of_group), max(a.high.max() for a in of_group)
        samples = np.concatenate([activation.samples for activation in of_group])
        pair.set_scale(
            group, *activation_ranges.scale_of(*activation_ranges.choose(low, high, samples, recipe.ranges), pair.type)
        )
    steps.append((f"{recipe.ranges} ranges", f"{len(pair.groups)} scales, from {len(pixels)} images"))
    steps += tune(pair, pixels, recipe.tuning, threads)
    return Result(pair.rounded.pack(), pair.real.pack(), tuple(steps))


def _checked(images: Sequence[np.ndarray], pair: Pair) -> np.ndarray:
    """Returns images as one array [N, H, W, 3]."""
    size = pair.real.shape(pair.image[0])[1:]
    if not len(images):
        raise UserError("There are no photos to quantize with: give some 200 of the kind that the model will see.")
    for image in images:
        if getattr(image, "dtype", None) != np.uint8 or image.shape != size:
            kind = getattr(image, "dtype", type(image).__name__)
            raise UserError(f"A photo to quantize with is {kind} {list(np.shape(image))}: give uint8 {list(size)}.")
    return np.stack(images)
