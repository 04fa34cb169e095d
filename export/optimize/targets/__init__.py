"""Targets: kinds of processors and the costs of operators on them, one JSON file beside this module for each.

Each file names the source of its numbers. `export.calibrate` makes a file for this machine, or from times measured on a phone:
see docs/targets.md.
"""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from shufflenet_tf.errors import UserError

PHONE = "phone"  # the default of the whole export
HOST = "host"  # this very machine
FOLDER = pathlib.Path(__file__).parent
TYPES = {1: "int8", 4: "float32"}  # by bytes of an element; a type in between counts as the wider one

_LINEAR = ("call", "pixel", "element")
COEFFICIENTS = {
    "convolution": ("call", "pixel", "rows", "columns", "depth", "tile", "tap", "step", "weight"),
    "depthwise": ("call", "pixel", "lanes", "vector", "tap"),
    "transpose": ("call", "pixel", "lanes", "block", "store"),
    **dict.fromkeys(
        (
            "dense",
            "slice",
            "concatenation",
            "split",
            "pad",
            "reshape",
            "add",
            "multiply",
            "clamp",
            "max_pool",
            "average_pool",
            "mean",
        ),
        _LINEAR,
    ),
    **dict.fromkeys(("softmax", "function", "rescale", "quantize", "dequantize", "recode"), _LINEAR),
}
INT8_ONLY = ("rescale", "quantize", "dequantize", "recode")  # from one type to another: held by the table of int8
_COUNTS = ("rows", "columns", "depth", "lanes")
_MOST = 1e12  # of any number: beyond, sums of costs would not be finite
_LONGEST = 1000  # letters of a text


class InvalidTarget(UserError):
    """A target that can't be used."""


@dataclasses.dataclass(frozen=True)
class Target:
    """A kind of processor.

    Attributes:
      name: as in `--target`.
      processor: what it is, in words.
      source: where the numbers come from.
      litert: version of the runtime that they were taken with.
      unit: of the costs, such as "cycles".
      per_millisecond: how many of them pass in a millisecond.
      partition: cost of each piece that the delegate runs.
      synchronization: cost of the end of each operator that threads share.
      costs: type ("int8", "float32") -> operator -> coefficient -> value; see `COEFFICIENTS`.
      growth: largest size of a file, relative to what came in.
      measured: whether `unit` was taken from a clock, not from a model.
    """

    name: str
    processor: str
    source: str
    litert: str
    unit: str
    per_millisecond: float
    partition: float
    synchronization: float
    costs: Mapping[str, Mapping[str, Mapping[str, float]]] = dataclasses.field(hash=False)
    growth: float = 1.05
    measured: bool = False

    def coefficients(self, kind: str, size: int) -> Mapping[str, float]:
        """Returns the coefficients of an operator on elements of `size` bytes."""
        return self.costs[TYPES[1 if size == 1 or kind in INT8_ONLY else 4]][kind]

    def is_here(self) -> bool:
        """Whether this is the machine that it was measured on, so that a measurement can have the last word."""
        return self.measured and self.name == HOST

    def to_json(self) -> str:
        """Returns the content of the target's file."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @staticmethod
    def of(name: str) -> "Target":
        """Returns the target of that name, or that of a JSON file.

        Raises:
          InvalidTarget: there is no such target, or the file is no target's.
        """
        if name in names():
            return _shipped(name)
        path = pathlib.Path(name)
        if path.suffix != ".json" or "\0" in name:
            raise InvalidTarget(
                f"There is no target {name!r}: give {', '.join(names())}, host, or a .json file of export.calibrate."
            )
        return Target.read(path)

    @staticmethod
    def read(path: pathlib.Path) -> "Target":
        """Returns the target that a JSON file describes.

        Raises:
          InvalidTarget: the file can't be read, or is no target's.
        """
        try:
            return Target.from_json(path.read_text(encoding="utf-8"), str(path))
        except OSError as error:
            raise InvalidTarget(
                f"The target {path} can't be read ({error.strerror or error}): export.calibrate makes one."
            ) from None
        except UnicodeDecodeError:
            raise InvalidTarget(f"The target {path} is no text: give a .json file of export.calibrate.") from None

    @staticmethod
    def from_json(text: str, path: str = "the target") -> "Target":
        """Returns the target that a file's content describes.

        Raises:
          InvalidTarget: what is wrong with it.
        """
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            raise InvalidTarget(f"{path} is no JSON, or it is cut off: give a .json file of export.calibrate.") from None
        _check(fields, path)
        known = {field.name: fields[field.name] for field in dataclasses.fields(Target) if field.name in fields}
        return Target(**{**known, "costs": {type_: _known(type_, fields["costs"][type_]) for type_ in TYPES.values()}})


@dataclasses.dataclass(frozen=True)
class Account:
    """The cost of a graph on a target.

    Attributes:
      cost: in the target's unit.
      milliseconds: the same as time.
      multiply_adds: of convolutions and fully connected layers, those with weights of zero included.
      parameters: bytes of constants.
    """

    cost: float
    milliseconds: float
    multiply_adds: int
    parameters: int


def names() -> list[str]:
    """Returns the names of the targets that come with the project."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


@functools.cache
def _shipped(name: str) -> Target:
    return Target.read(FOLDER / f"{name}.json")


def _operators(type_: str) -> dict[str, tuple[str, ...]]:
    """Returns the operators that have costs on elements of that type, with the names of their coefficients."""
    return {kind: keys for kind, keys in COEFFICIENTS.items() if type_ == "int8" or kind not in INT8_ONLY}


def _known(type_: str, rows: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Returns the coefficients that formulas use; a file may hold more, such as remarks."""
    return {kind: {key: rows[kind][key] for key in keys} for kind, keys in _operators(type_).items()}


def _check(fields: Any, path: str) -> None:
    def require(condition: bool, reason: str) -> None:
        if not condition:
            raise InvalidTarget(f"{path} is no target: {reason}; give a .json file of export.calibrate.")

    require(isinstance(fields, dict), "it holds no table")
    for field in dataclasses.fields(Target):
        if field.type is str:
            value = fields.get(field.name)
            is_line = isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isprintable()
            require(is_line, f"its {field.name!r} is no text of one line")
    rate = fields.get("per_millisecond")
    require(_is_number(rate, 1 / _MOST), f"'per_millisecond' is no number above 0, up to {_MOST:.0e}")
    for name in ("partition", "synchronization"):
        require(_is_number(fields.get(name)), f"{name!r} is no number from 0 to {_MOST:.0e}")
    require(_is_number(fields.get("growth", 1), 1), f"'growth' is no number from 1 to {_MOST:.0e}")
    require(isinstance(fields.get("measured", False), bool), "'measured' is neither true nor false")
    costs = fields.get("costs")
    require(isinstance(costs, dict), "it has no 'costs'")
    for type_ in TYPES.values():
        for kind, keys in _operators(type_).items():
            row = costs.get(type_)
            row = row.get(kind) if isinstance(row, dict) else None
            where = f"'costs' of {type_} {kind}"
            require(isinstance(row, dict), f"{where} are missing")
            for key in keys:
                require(_is_number(row.get(key)), f"{where} have no number {key!r} from 0 to {_MOST:.0e}")
                whole = row[key] >= 1 and row[key] == int(row[key])
                require(key not in _COUNTS or whole, f"{where}: {key!r} is no whole number from 1 on")


def _is_number(value: Any, least: float = 0) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= _MOST
