"""How an exported graph stores numbers."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from shufflenet_tf.errors import UserError

KINDS = ("float32", "float16", "dynamic", "int8", "int16")
CALIBRATED = ("int8", "int16")  # calibrated on images
OUTPUT_TYPES = ("uint8", "float32")  # types of int8's probabilities


@dataclasses.dataclass(frozen=True)
class Precision:
    """How a converted graph stores numbers.

    Attributes:
      kind: "float32", "float16" (weights), "dynamic" (int8 weights, float activations), "int8" (both, with one weight scale
        per output channel) or "int16" (int16 activations; weights as in int8).
      output: type of int8's probabilities, "uint8" or "float32"; other kinds return float32.
      calibration: for int8 and int16: uint8 images [H, W, 3], which calibrate the range of each activation.

    Raises:
      UserError: the kind or type is unknown, or int8 or int16 has no images.
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
            raise UserError(f"{self.kind} needs images to calibrate the ranges of activations: give --calibration=FOLDER.")

    def converter_settings(self) -> dict[str, Any]:
        """Returns the arguments of `run_converter` for a function that takes images, float32 [1, H, W, 3] of 0-255."""
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
                # With black and white in the sample, the input's scale is 1 and its zero point 0: pixels pass unchanged.
                image[0, 0], image[0, 1] = 0, 255
            yield [image[None]]
