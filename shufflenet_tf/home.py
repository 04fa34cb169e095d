"""A person's home folder, which not every process has: containers often run under a user that the system doesn't know."""

import os
import pathlib
import tempfile


def folder() -> pathlib.Path:
    """Returns the home folder, or else the folder for temporary files."""
    try:
        return pathlib.Path.home()
    except RuntimeError:
        return pathlib.Path(tempfile.gettempdir())


def expand(path: str | os.PathLike) -> pathlib.Path:
    """Returns a path with ~ replaced by the home folder; one such as ~backup, of which there is no user, as it is."""
    path = pathlib.Path(path)
    try:
        return path.expanduser()
    except RuntimeError:
        return path
