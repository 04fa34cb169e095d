"""Rows of a paper's table, with the registered network of each."""

import dataclasses
import re
from collections.abc import Mapping

_UNITS = {"": 1.0, "M": 1e6, "G": 1e9}
SQUARE = (224, 224)


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a paper's table. Values that the paper doesn't print are None or empty.

    Attributes:
      label: name in the paper.
      network: registered name; None: not registered, `why` gives the reason.
      multiply_adds, parameters: as printed, with the unit: "140M", "2.3G".
      error: top-1 error on ImageNet, %.
      size: (height, width) of the input in pixels.
      milliseconds: time of one image on the paper's phone, by (height, width).
      gpu: images per second on the paper's GPU.
      why: reason why our count differs from the printed one by more than its rounding.
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
      title: title of the table.
      rows: rows in the paper's order.
    """

    key: str
    title: str
    rows: tuple[Row, ...]

    @property
    def source(self) -> str:
        """The paper and the table's number, as text."""
        paper, number = self.key.split(".")
        return f"ShuffleNet{' V2' if paper == 'v2' else ''} paper, table {number}"


def printed(figure: str) -> tuple[float, float]:
    """Returns a printed value and its maximum rounding error: "2.3G" gives 2.3e9 and 0.05e9."""
    digits, unit = re.fullmatch(r"([\d.]+)([MG]?)", figure).groups()
    decimals = len(digits.partition(".")[2])
    return float(digits) * _UNITS[unit], 0.5 * 10.0**-decimals * _UNITS[unit]


def excess(count: float, figure: str) -> float | None:
    """Returns the difference between `count` and a printed value; None: not more than its rounding."""
    value, rounding = printed(figure)
    return count - value if abs(count - value) > rounding else None
