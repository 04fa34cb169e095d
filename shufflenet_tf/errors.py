"""The error that users can fix themselves, and what its messages share."""

import difflib
import os
import pathlib

_CONTROL = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160), 0x2028, 0x2029)}


def printable(text: str) -> str:
    """Returns a text that any stream in UTF-8 takes: line feeds, control characters, and bytes that are no UTF-8, escaped.

    Names of files may have all of these.
    """
    try:
        content = text.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # a half of a pair, as a name on Windows can be
        content = text.encode(errors="backslashreplace")
    return content.decode(errors="backslashreplace").translate(_CONTROL)


class UserError(ValueError):
    """A mistake in the user's input; the message says in one sentence what came, what was expected and what to do.

    It is `printable`.

    Attributes:
      status: exit status of a program that ends with it.
    """

    status = 2

    def __init__(self, message: str):
        super().__init__(printable(message))


def path_hint(path: str | os.PathLike, folders: bool = False) -> str:
    """Returns what a message says of a path that isn't there: the name beside it that is most like it, or "check the path".

    Args:
      path: the path.
      folders: whether a folder was meant, and not a file.
    """
    path = pathlib.Path(path)
    try:
        names = [entry.name for entry in os.scandir(path.parent) if entry.is_dir() == folders]
    except (OSError, ValueError):  # no such folder either, or a name that none can have
        names = []
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {path.parent / near[0]}?" if near else "check the path"
