"""What a row of a paper's table says, and which registered network it is about."""

import dataclasses
import re
from collections.abc import Mapping

_UNITS = {"": 1.0, "M": 1e6, "G": 1e9}
SQUARE = (224, 224)


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a paper's table. What the paper doesn't print is None or empty.

    Attributes:
      label: what it's called there.
      network: its registered name; None: there is none, `why` says why.
      multiply_adds, parameters: as printed, with the unit: "140M", "2.3G".
      error: top-1 error on ImageNet, %.
      size: (height, width) of the input, pixels.
      milliseconds: of one image on the paper's phone, by (height, width).
      gpu: images a second on the paper's GPU.
      why: what explains our count where it differs from the printed one beyond its rounding.
    """

    label: str
    network: str | None
    multiply_adds: str | None = None
    error: float | None = None
    parameters: str | None = None
    size: tuple[int, int] = SQUARE
    milliseconds: Mapping[tuple[int, int], float] = dataclasses.field(default_factory=dict)
    gpu: float | None = None
    why: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of a paper.

    Attributes:
      key: "v1.2" is table 2 of the V1 paper.
      title: what it compares.
      rows: in the paper's order.
    """

    key: str
    title: str
    rows: tuple[Row, ...]

    @property
    def source(self) -> str:
        """The paper and the table's number, in words."""
        paper, number = self.key.split(".")
        return f"ShuffleNet{' V2' if paper == 'v2' else ''} paper, table {number}"


def printed(figure: str) -> tuple[float, float]:
    """Returns the value of a printed figure and how far rounding may have moved it: "2.3G" is 2.3e9 and 0.05e9."""
    digits, unit = re.fullmatch(r"([\d.]+)([MG]?)", figure).groups()
    decimals = len(digits.partition(".")[2])
    return float(digits) * _UNITS[unit], 0.5 * 10.0**-decimals * _UNITS[unit]


def excess(count: float, figure: str) -> float | None:
    """Returns by how much `count` differs from a printed figure; None: by no more than its rounding."""
    value, rounding = printed(figure)
    return count - value if abs(count - value) > rounding else None
