"""What operators cost under XNNPACK: just good enough to choose between equal graphs.

Fitted to LiteRT 2.3 on one core of an x86 server with AMX; elsewhere the figures differ, and the order of the choices
hardly does. Two things rule: a copy (each slice, each input of a concatenation) costs a call and a step for each pixel
besides its bytes; an int8 convolution costs by whole tiles of 64 channels, so that a few channels more are nearly free
and a few channels alone are not.
"""

import dataclasses
import math

SYNC_US = 1.4  # at the end of each operator that threads share


@dataclasses.dataclass(frozen=True)
class CostModel:
    """Microseconds of operators.

    Args:
      threads: that share each operator.
    """

    threads: int = 1

    def _shared(self, microseconds: float) -> float:
        return microseconds / self.threads + (SYNC_US if self.threads > 1 else 0.0)

    def copy(self, pixels: int, channels: int, size: int) -> float:
        """Cost of copying `channels` channels of `pixels` pixels, of `size` bytes each, from or to a wider tensor."""
        return 0.15 + self._shared(pixels * 0.004 + pixels * channels * size / 30_000)

    def pad(self, pixels: int, channels: int, size: int) -> float:
        """Cost of writing `channels` channels of `pixels` pixels with a border round them."""
        return 0.15 + self._shared(pixels * 0.0065 + pixels * channels * size / 8_000)

    def transpose(self, pixels: int, channels: int, size: int) -> float:
        """Cost of a transpose that moves single channels."""
        return 0.15 + self._shared(pixels * channels * (0.001 + size / 30_000))

    def convolution(self, pixels: int, inputs: int, outputs: int, size: int, taps: int = 1) -> float:
        """Cost of a convolution of `taps` pixels of `inputs` channels to `outputs` channels, of `size` bytes each."""
        if size > 1:
            return 0.3 + self._shared(pixels * (0.005 + taps * inputs * 16 * math.ceil(outputs / 16) / 62_000))
        tiles = math.ceil(pixels / 16) * math.ceil(outputs / 64)
        weights = taps * inputs * outputs / 20_000
        return 0.3 + self._shared(tiles * (0.38 + 0.05 * taps * math.ceil(inputs / 64)) + weights)
