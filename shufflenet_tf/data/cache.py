"""Copies of a dataset's files, made when they are first read, for datasets on slow or distant disks: in memory or in a folder.

Only encoded files are kept, and each is found again by its path, its size and the time of its last change: what a cache gives
is what the dataset would give, in the same order, and files of another dataset are never taken for it.
"""

import dataclasses
import hashlib
import os
import pathlib
import shutil
import threading
import zlib
from collections.abc import Callable, Sequence

import tensorflow as tf

from shufflenet_tf.errors import UserError
from shufflenet_tf.files import check_writable

AUTO, NONE, MEMORY = "auto", "none", "memory"
_MEMORY_FILES = "ram://shufflenet_tf"  # TensorFlow's file system in memory
Stamp = tuple[int, int]  # a file's size in bytes and the nanosecond of its last change


@dataclasses.dataclass(frozen=True)
class Cache:
    """Where files are kept.

    Attributes:
      place: "auto" (small TensorFlow Datasets in memory, other files nowhere), "none", "memory", or the path of a folder, which
        several processes may share and later runs find again.

    Raises:
      UserError: the folder can't be written, or `place` seems to be a misspelled word.
    """

    place: str = AUTO
    _contents: dict[str, bytes] = dataclasses.field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self):
        if not self.keeps_files or self.place == MEMORY:
            return
        if not os.path.isdir(self.place) and os.path.basename(self.place) == self.place:
            raise UserError(
                f"cache={self.place!r} is no folder: give {AUTO}, {NONE}, {MEMORY}, or the path of a folder, "
                f"such as ./{self.place}."
            )
        check_writable(self.place)

    @property
    def keeps_files(self) -> bool:
        """Whether files are copied."""
        return self.place not in (AUTO, NONE)

    def check_fits(self, files: Sequence[tuple[str, Stamp]], name: str) -> None:
        """Raises a UserError if so many files, of these paths and stamps, have no room; `name` is the dataset's."""
        if not self.keeps_files:
            return
        room = _free_memory() if self.place == MEMORY else shutil.disk_usage(self.place).free
        size = sum(stamp[0] for _, stamp in files)
        if self.place != MEMORY and size > room:
            size = sum(stamp[0] for path, stamp in files if not self._path(path, stamp).exists())
        if room is not None and size > room:
            where = "memory" if self.place == MEMORY else f"the folder {self.place}"
            raise UserError(
                f"{name} takes {size / 1e9:.3g} GB, but {where} has room for {room / 1e9:.3g} GB: "
                f"give the folder of another disk with --cache=FOLDER, or --cache={NONE}."
            )

    def content(self, path: str, stamp: Stamp, read: Callable[[], bytes]) -> bytes:
        """Returns what `read` returned when it was first called for this file.

        A folder that has become full or unreadable meanwhile is no error: then the file itself is read.
        """
        if not self.keeps_files:
            return read()
        if self.place == MEMORY:
            name = _name(path, stamp)
            if name not in self._contents:
                self._contents[name] = read()
            return self._contents[name]
        copy = self._path(path, stamp)
        try:
            content = copy.read_bytes()
            if content[-4:] == _checksum(content[:-4]):
                return content[:-4]
        except OSError:  # not there yet
            pass
        content = read()
        self._write(copy, content + _checksum(content))
        return content

    def local(self, path: str) -> str:
        """Returns the path of a copy of a large file, such as of many records, which it makes if need be."""
        status = tf.io.gfile.stat(path)
        stamp = (status.length, status.mtime_nsec)
        in_memory = self.place == MEMORY
        copy = f"{_MEMORY_FILES}/{_name(path, stamp)}" if in_memory else os.fspath(self._path(path, stamp))
        try:
            if tf.io.gfile.stat(copy).length == status.length:
                return copy
        except tf.errors.NotFoundError:
            pass
        temporary = f"{copy}.{_unique()}"
        try:
            tf.io.gfile.makedirs(os.path.dirname(copy))
            tf.io.gfile.copy(path, temporary, overwrite=True)
            tf.io.gfile.rename(temporary, copy, overwrite=True)
        except tf.errors.OpError:  # the disk is full, for example
            if tf.io.gfile.exists(temporary):
                tf.io.gfile.remove(temporary)
            return path
        return copy

    def _path(self, path: str, stamp: Stamp) -> pathlib.Path:
        name = _name(path, stamp)
        return pathlib.Path(self.place, name[:2], name[2:])

    def _write(self, path: pathlib.Path, content: bytes) -> None:
        temporary = path.with_name(f"{path.name}.{_unique()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)


def _name(path: str, stamp: Stamp) -> str:
    key = f"{os.path.abspath(path) if '://' not in path else path}/{stamp[0]}/{stamp[1]}"
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()[:40]


def _checksum(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(4, "little")


def _unique() -> str:
    return f"{os.getpid()}.{threading.get_ident()}"


def _free_memory() -> int | None:
    """Returns how many bytes of memory are free for use; None: the system doesn't say."""
    try:
        lines = pathlib.Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None
