"""Settings as dataclasses whose fields state default, bounds, choices and help once, for Python and for command lines."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from shufflenet_tf.errors import UserError


def option(
    default: Any,
    help: str,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] | None = None,
    word: str | None = None,
) -> Any:
    """Returns a field of a dataclass.

    Args:
      default: default value; its type is the option's type (None: text).
      help: a sentence for --help.
      low, high: inclusive bounds of a number.
      choices: allowed texts.
      word: a text that is allowed instead of a number.
    """
    metadata = {"help": help, "low": low, "high": high, "choices": choices, "word": word}
    return dataclasses.field(default=default, metadata=metadata)


def check(record: Any) -> None:
    """Checks the fields of a dataclass that were created with `option`.

    Raises:
      UserError: a value is out of range; the message names the first one.
    """
    for field in dataclasses.fields(record):
        value, bounds = getattr(record, field.name), field.metadata
        if not bounds or (bounds["word"] is not None and value == bounds["word"]):
            continue
        low, high, choices = bounds["low"], bounds["high"], bounds["choices"]
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            expected = f"{low} to {high}" if high is not None else f"{low} or more"
        elif choices is not None and value is not None and value not in choices:
            expected = " or ".join(choices)
        else:
            continue
        raise UserError(f"{type(record).__name__} {field.name}={value} is out of range: give {expected}.")


def define(values: flags.FlagValues, record: type, names: Sequence[str] | None = None, **defaults: Any) -> None:
    """Defines a flag for each field of a dataclass that was created with `option`.

    Args:
      values: the flags of a program.
      record: the dataclass.
      names: names of the fields; None: all.
      **defaults: defaults that differ from the dataclass's.
    """
    for field in dataclasses.fields(record):
        if not field.metadata or (names is not None and field.name not in names):
            continue
        m, default = field.metadata, defaults.get(field.name, field.default)
        if m["choices"] is not None:
            flags.DEFINE_enum(field.name, default, list(m["choices"]), m["help"], flag_values=values)
        elif isinstance(field.default, bool):
            flags.DEFINE_bool(field.name, default, m["help"], flag_values=values)
        elif isinstance(field.default, int):
            flags.DEFINE_integer(field.name, default, m["help"], m["low"], m["high"], flag_values=values)
        elif m["word"] is not None:
            parser = _NumberOrWord(m["word"], m["low"], m["high"])
            flags.DEFINE(parser, field.name, default, m["help"], flag_values=values, serializer=flags.ArgumentSerializer())
        elif isinstance(field.default, float):
            flags.DEFINE_float(field.name, default, m["help"], m["low"], m["high"], flag_values=values)
        else:
            flags.DEFINE_string(field.name, default, m["help"], flag_values=values)


class _NumberOrWord(flags.ArgumentParser):
    """Parses a number within bounds, or one word."""

    def __init__(self, word: str, low: float | None, high: float | None):
        self.word, self.number = word, flags.FloatParser(low, high)
        self.syntactic_help = f"{self.number.syntactic_help} or {word}"

    def parse(self, argument: str | float) -> str | float:
        if argument == self.word:
            return argument
        try:
            float(argument)
        except ValueError:
            raise ValueError(f"it is neither a number nor {self.word}") from None
        return self.number.parse(argument)

    def flag_type(self) -> str:
        return f"float or {self.word}"


def given(values: flags.FlagValues, record: type) -> dict[str, Any]:
    """Returns the values of the flags whose names are fields of a dataclass."""
    return {field.name: values[field.name].value for field in dataclasses.fields(record) if field.name in values}


def split(options: Mapping[str, Any], *records: type) -> list[dict[str, Any]]:
    """Divides keyword arguments among dataclasses by the names of their fields.

    Raises:
      UserError: no dataclass has a field of that name.
    """
    fields = [{field.name for field in dataclasses.fields(record)} for record in records]
    known = sorted(set().union(*fields))
    for name in options:
        if name not in known:
            raise UserError(f"There is no option {name!r}: use {', '.join(known)}.")
    return [{name: value for name, value in options.items() if name in names} for names in fields]
