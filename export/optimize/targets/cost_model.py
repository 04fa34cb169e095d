"""Costs of operators on a target, precise enough to choose between equal graphs.

Each operator has a formula whose coefficients are the target's (`targets/`): a call, something for each pixel (a run of
channels), something for each element. Convolutions are computed in tiles of `rows` pixels by `columns` output channels, in
steps of `depth` input channels; a tile that is not full costs as much as one that is.
"""

import dataclasses
import math

from export.optimize.targets import PHONE, Target


@dataclasses.dataclass(frozen=True)
class CostModel:
    """Costs of operators in the target's unit, such as cycles.

    Args:
      threads: of the interpreter, that share each operator.
      target: the processor.
    """

    threads: int = 1
    target: Target = dataclasses.field(default_factory=lambda: Target.of(PHONE))

    def milliseconds(self, cost: float) -> float:
        """Returns the time that a cost stands for."""
        return cost / self.target.per_millisecond

    def copy(self, pixels: int, channels: int, size: int) -> float:
        """Cost of taking `channels` channels of `pixels` pixels, of `size` bytes each, out of a wider tensor."""
        return self.linear("slice", pixels, channels, size)

    def joined(self, pixels: int, channels: int, size: int) -> float:
        """Cost of one of the inputs of a concatenation, without its call."""
        return self.linear("concatenation", pixels, channels, size, calls=0)

    def pad(self, pixels: int, channels: int, size: int) -> float:
        """Cost of writing `channels` channels of `pixels` pixels with a border round them."""
        return self.linear("pad", pixels, channels, size)

    def linear(self, kind: str, pixels: float, channels: float, size: int, calls: int = 1) -> float:
        """Cost of an operator of that kind on `channels` channels of `pixels` pixels, of `size` bytes each."""
        return self._sum(self.target.coefficients(kind, size), calls, linear_terms(pixels, channels))

    def transpose(self, pixels: int, channels: int, size: int, rows: int = 2) -> float:
        """Cost of a transpose of the channels of each pixel as a matrix of `rows` rows."""
        c = self.target.coefficients("transpose", size)
        return self._sum(c, 1, transpose_terms(pixels, rows, channels // rows, int(c["lanes"])))

    def convolution(self, pixels: int, inputs: int, outputs: int, size: int, taps: int = 1, groups: int = 1) -> float:
        """Cost of a convolution of `taps` pixels of `inputs` channels to `outputs` channels in each of `groups` groups."""
        c = self.target.coefficients("convolution", size)
        shape = int(c["rows"]), int(c["columns"]), int(c["depth"])
        return self._sum(c, 1, convolution_terms(pixels, inputs, outputs, taps, groups, shape))

    def depthwise(self, pixels: int, channels: int, size: int, taps: int = 9) -> float:
        """Cost of a depthwise convolution of `taps` pixels with `pixels` pixels of output."""
        c = self.target.coefficients("depthwise", size)
        return self._sum(c, 1, depthwise_terms(pixels, channels, taps, int(c["lanes"])))

    def _sum(self, coefficients, calls: int, terms: dict[str, float]) -> float:
        work = sum(coefficients[name] * term for name, term in terms.items())
        return calls * coefficients["call"] + work / self.threads + (self.target.synchronization if self.threads > 1 else 0.0)


def linear_terms(pixels: float, channels: float) -> dict[str, float]:
    """What the coefficients "pixel" and "element" are multiplied by."""
    return {"pixel": pixels, "element": pixels * channels}


def depthwise_terms(pixels: int, channels: int, taps: int, lanes: int) -> dict[str, float]:
    """What the coefficients of a depthwise convolution are multiplied by: it goes by vectors of `lanes` channels."""
    vectors = pixels * math.ceil(channels / lanes)
    return {"pixel": pixels, "vector": vectors, "tap": vectors * taps}


def transpose_terms(pixels: int, rows: int, columns: int, lanes: int) -> dict[str, float]:
    """What the coefficients of a transpose of a [rows, columns] matrix a pixel are multiplied by.

    It goes in blocks of lanes x lanes elements; each column is stored by whole vectors and by powers of two of what is left.
    """
    stores = rows // lanes + (rows % lanes).bit_count()
    blocks = math.ceil(rows / lanes) * math.ceil(columns / lanes)
    return {"pixel": pixels, "block": pixels * blocks, "store": pixels * columns * stores}


def convolution_terms(
    pixels: int, inputs: int, outputs: int, taps: int, groups: int, tile: tuple[int, int, int]
) -> dict[str, float]:
    """What the coefficients of a convolution are multiplied by; `tile` is (rows, columns, depth)."""
    rows, columns, depth = tile
    tiles = groups * math.ceil(pixels / rows) * math.ceil(outputs / columns)
    return {
        "pixel": groups * pixels,
        "tile": tiles,
        "tap": tiles * (taps if taps > 1 else 0),  # pixels that are looked up one by one
        "step": tiles * taps * math.ceil(inputs / depth),
        "weight": groups * taps * inputs * outputs,
    }
