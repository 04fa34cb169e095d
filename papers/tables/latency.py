"""Latencies that were measured here, as `python -m papers.latency` writes them, beside those that the papers print."""

import csv
import dataclasses
import itertools
import os
from collections.abc import Mapping, Sequence

from shufflenet_tf.errors import UserError

KINDS = ("float32", "int8")


@dataclasses.dataclass(frozen=True)
class Latency:
    """One exported file of a registered network, measured: a line of the CSV file, whose columns these are.

    Attributes:
      network: its registered name.
      kind: "float32" or "int8".
      height, width: of the input, pixels.
      threads: of the interpreter.
      min_ms, median_ms: of the timed runs.
      bytes: of the file.
      partitions: pieces of the graph that the delegate runs as one.
      outside: operators that it leaves to the interpreter, such as "2 MEAN"; empty: none.
      target: the processor that the file was made for; empty: none was named.
    """

    network: str
    kind: str
    height: int
    width: int
    threads: int
    min_ms: float
    median_ms: float
    bytes: int
    partitions: int
    outside: str = ""
    target: str = ""

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width


COLUMNS = tuple(field.name for field in dataclasses.fields(Latency))
_NUMBERS = {field.name: field.type for field in dataclasses.fields(Latency) if field.type in (int, float)}


def read(path: str | os.PathLike) -> list[Latency]:
    """Returns the lines of a CSV file with the columns `COLUMNS`; others are passed over.

    Raises:
      UserError: the file can't be read, lacks columns, or a line has something else where a number belongs.
    """
    remedy = "measure one: python -m papers.latency --output=latency.csv"
    try:
        with open(path, newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{os.fspath(path)} can't be read ({getattr(error, 'strerror', None) or error}): {remedy}") from None
    if not lines:
        raise UserError(f"{os.fspath(path)} has no measurements: {remedy}")
    latencies = []
    for number, line in enumerate(lines, 2):
        line["target"] = line.get("target") or ""  # tables from before there were targets lack it
        if missing := [name for name in COLUMNS if line.get(name) is None]:
            raise UserError(f"{os.fspath(path)}, line {number}, has no {missing[0]}: {remedy}")
        try:
            latency = Latency(**{name: _NUMBERS.get(name, str)(line[name]) for name in COLUMNS})
        except ValueError as error:
            raise UserError(f"{os.fspath(path)}, line {number}: {error}; {remedy}") from None
        if latency.kind not in KINDS or not 0 < latency.min_ms < float("inf"):
            raise UserError(f"{os.fspath(path)}, line {number}: {latency.kind}, {latency.min_ms} ms is no latency; {remedy}")
        latencies.append(latency)
    return latencies


def order(times: Sequence[float | None], others: Sequence[float | None]) -> tuple[int, int]:
    """Returns how many pairs of rows two columns of times put in the same order, and how many pairs there are."""
    rows = [(a, b) for a, b in zip(times, others, strict=True) if a is not None and b is not None]
    pairs = list(itertools.combinations(rows, 2))
    return sum((a[0] < b[0]) == (a[1] < b[1]) for a, b in pairs), len(pairs)


def ratios(times: Sequence[float | None]) -> list[float | None]:
    """Returns times relative to the first row that has one."""
    first = next((time for time in times if time is not None), None)
    return [None if time is None or first is None else time / first for time in times]


def undelegated(lines: Sequence[Latency]) -> Mapping[str, str]:
    """Returns by kind what keeps a network from running as one partition, for the kinds where something does."""
    texts = {}
    for line in lines:
        if line.partitions != 1 or line.outside:
            pieces = f"{line.partitions} partition{'' if line.partitions == 1 else 's'}"
            texts[line.kind] = f"{pieces}{f', {line.outside} not delegated' if line.outside else ''}"
    return texts
