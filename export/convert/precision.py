"""How an exported graph stores numbers."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from shufflenet_tf.errors import UserError

KINDS = ("float32", "float16", "dynamic", "int8", "int16")
CALIBRATED = ("int8", "int16")  # these take ranges from images
OUTPUT_TYPES = ("uint8", "float32")  # of int8's probabilities


@dataclasses.dataclass(frozen=True)
class Precision:
    """How a converted graph stores numbers.

    Attributes:
      kind: "float32", "float16" (weights), "dynamic" (int8 weights, float activations), "int8" (both, weights with a scale
        each output channel) or "int16" (activations; weights as in int8).
      output: int8: type of the probabilities, "uint8" or "float32"; else they are float32.
      calibration: int8, int16: uint8 images [H, W, 3], from which the range of each activation is taken.

    Raises:
      UserError: an unknown kind or type, or int8 or int16 without images.
    """

    kind: str = "float32"
    output: str = "uint8"
    calibration: Sequence[np.ndarray] = ()

    def __post_init__(self):
        if self.kind not in KINDS:
            raise UserError(f"There is no quantization {self.kind!r}: use {', '.join(KINDS)}.")
        if self.output not in OUTPUT_TYPES:
            raise UserError(f"Probabilities can't be of type {self.output!r}: use {' or '.join(OUTPUT_TYPES)}.")
        if self.kind in CALIBRATED and not len(self.calibration):
            raise UserError(f"{self.kind} needs images to take the ranges of activations from: give --calibration=FOLDER.")

    def converter_settings(self) -> dict[str, Any]:
        """Returns the arguments of `run_converter` for a function of images, float32 [1, H, W, 3] of 0-255."""
        settings: dict[str, Any] = {"kind": self.kind}
        if self.kind in CALIBRATED:
            settings["samples"] = self._samples
        if self.kind == "int8":
            settings |= {"input_type": tf.uint8, "output_type": tf.as_dtype(self.output)}
        return settings

    def _samples(self) -> Iterator[list[np.ndarray]]:
        for i, image in enumerate(self.calibration):
            image = image.astype(np.float32)
            if i == 0:
                # A pixel stays a pixel: with black and white seen, the input's scale is 1 and its zero point 0.
                image[0, 0], image[0, 1] = 0, 255
            yield [image[None]]
