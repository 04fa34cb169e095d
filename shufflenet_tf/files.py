"""Writes files so that a reader sees either the old content or the new one, never a part."""

import contextlib
import errno
import glob
import lzma
import os
import pathlib
import secrets
import shutil
import struct
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np

from shufflenet_tf.errors import UserError

# What NumPy and zipfile raise for damaged archives; NumPy parses the header of an array as Python source.
ARCHIVE_DAMAGE = (
    *(OSError, ValueError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError, MemoryError, RuntimeError),
    *(SyntaxError, tokenize.TokenError, struct.error),
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, lzma.LZMAError),
)
_MOST = 1 << 32  # maximum bytes of an archive's arrays: a small file can unpack to any size


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields a temporary path (same folder, same suffix) that becomes `path` when the block ends without an error.

    It works for files and folders, and replaces the previous content of `path`. After an error, the temporary is removed.

    Raises:
      OSError: the folder cannot be written, or the disk is full.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: writers such as Keras and matplotlib choose the format by it.
    temporary, old = (path.with_name(f".{path.stem}.{kind}{path.suffix}") for kind in (f"tmp{secrets.token_hex(4)}", "old"))
    if old.exists() and not path.exists():  # a process was killed between the two renames below
        os.replace(old, path)
    for left in path.parent.glob(f".{glob.escape(path.stem)}.tmp*{glob.escape(path.suffix)}"):  # by a process that was killed
        _remove(left)
    try:
        yield temporary
        if not temporary.exists():  # with one name for all, the other's half would have been put in place
            raise OSError(errno.EBUSY, "Another process is writing the same file", os.fspath(path))
        _flush(temporary)
        if path.is_dir():  # a folder can't be replaced by another in one step
            _remove(old)
            os.replace(path, old)
        os.replace(temporary, path)
    except BaseException:
        if old.exists() and not path.exists():
            os.replace(old, path)
        _remove(temporary)
        raise
    finally:
        if path.exists():
            _remove(old)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file in UTF-8, at once; see `atomic_path`.

    Bytes of files' names that are no UTF-8 become escapes such as \\udcff, which JSON reads as the same name again.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def _remove(path: pathlib.Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _flush(path: pathlib.Path) -> None:
    """Forces the bytes to the disk: after a power cut, a renamed but unwritten file would be empty."""
    for file in path.rglob("*") if path.is_dir() else (path,):
        if file.is_file():
            with open(file, "rb+") as handle:
                os.fsync(handle.fileno())


@contextlib.contextmanager
def open_npz(path: str | os.PathLike, remedy: str) -> Iterator[np.lib.npyio.NpzFile]:
    """Opens a .npz of plain arrays without executing anything in it.

    Raises:
      UserError: the file is missing or damaged, even if this shows only inside the block; `remedy` ends the sentence.
    """
    try:
        # Checked first: for any other file, NumPy suggests loading it as a pickle, which nobody should try.
        if not zipfile.is_zipfile(path):
            pathlib.Path(path).stat()
            raise ValueError("it is not a NumPy archive")
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MOST:
                raise ValueError("its arrays are larger than 4 GiB")
        with np.load(path, allow_pickle=False) as file:
            yield file
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"There is no file {os.fspath(path)}: {remedy}") from None
    except ARCHIVE_DAMAGE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{os.fspath(path)} is not a readable .npz file ({reason}): {remedy}") from None


def check_writable(folder: str | os.PathLike) -> None:
    """Creates `folder` and tries to write into it, so that hours of work aren't lost later.

    Raises:
      UserError: it can't be written, or its name is no text, of which TensorFlow makes no file.
    """
    try:
        os.fspath(folder).encode()
    except UnicodeEncodeError:
        raise UserError(f"The folder {folder} has a name that is not UTF-8: choose another output folder.") from None
    try:
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:  # without a name, so that nothing stays, whatever happens
            probe.write(b"\0")
    except OSError as error:
        raise UserError(f"The folder {folder} can't be written ({error.strerror}): choose another output folder.") from None
