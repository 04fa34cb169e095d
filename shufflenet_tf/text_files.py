"""Reads text files from the editors of all systems: flag files and lists of labels, in UTF-8 or UTF-16."""

import codecs
import itertools
import os
import pathlib
from collections.abc import Iterator, Sequence

from shufflenet_tf import home
from shufflenet_tf.errors import UserError, path_hint

_MARKS = {  # longer marks first: UTF-32's starts with UTF-16's
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
    codecs.BOM_UTF8: "utf-8",
}
_MAX_BYTES = 1 << 24
_MAX_FILES = 1000  # flag files that name each other twice would be read 2^n times


def read_text(path: str | os.PathLike, flag: str) -> str:
    """Returns a text file's content: UTF-8, or UTF-16 or UTF-32 with or without a byte order mark.

    Args:
      path: path of the file.
      flag: flag that names the file, for messages, such as "--labels".

    Raises:
      UserError: the file can't be read or is not text.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"{flag}={path} can't be read, as there is no such file: {path_hint(path)}") from None
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise UserError(f"{flag}={path} can't be read ({getattr(error, 'strerror', None) or error}).") from None
    try:
        if len(content) > _MAX_BYTES:
            raise ValueError
        return decode_text(content)
    except ValueError:
        raise UserError(f"{flag}={path} is not a text file in UTF-8 or UTF-16: save it as UTF-8.") from None


def decode_text(content: bytes) -> str:
    """Returns the text of a file's bytes, without the byte order mark; raises ValueError if they are not text."""
    text = _decoded(content)
    if "\0" in text:
        raise ValueError("a zero byte")
    return text


def _decoded(content: bytes) -> str:
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding)
    # Without a mark: in Latin text, every second byte is zero.
    if len(content) >= 2 and len(content) % 2 == 0 and 0 in content[:2]:
        return content.decode("utf-16-le" if content[1] == 0 else "utf-16-be")
    return content.decode("utf-8")


def expand_flag_files(argv: Sequence[str]) -> list[str]:
    """Returns a command line in which each --flagfile is replaced by the content of its flag file.

    A flag file has one flag per line; empty lines and lines that start with # or // are ignored.

    Raises:
      UserError: a flag file can't be read, is not text, or names itself; or there are too many.
    """
    return [*argv[:1], *_expanded(list(argv[1:]), (), itertools.count(1))]


def _expanded(words: list[str], above: tuple[pathlib.Path, ...], numbers: Iterator[int]) -> list[str]:
    result: list[str] = []
    while words:
        word = words.pop(0)
        if word == "--":
            return [*result, word, *words]
        name, equals, value = word.partition("=")
        if name not in ("--flagfile", "-flagfile"):
            result.append(word)
            continue
        if not equals:
            if not words:
                raise UserError("--flagfile needs the name of a file: --flagfile=FILE.")
            value = words.pop(0)
        path = home.expand(value.strip().strip("\"'"))
        if (real := path.resolve()) in above:
            raise UserError(f"--flagfile={path} names itself: remove the line.")
        if next(numbers) > _MAX_FILES:
            raise UserError(f"--flagfile={path} comes after {_MAX_FILES:,} other flag files: name each of them once.")
        lines = (line.strip() for line in read_text(path, "--flagfile").splitlines())
        result += _expanded([line for line in lines if line and not line.startswith(("#", "//"))], (*above, real), numbers)
    return result
