"""Reads and writes PyTorch checkpoint files without PyTorch, and without running any code from them.

`torch_pickle` interprets the pickle inside and calls nothing that the file names.
"""

import io
import math
import os
import pathlib
import struct
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from shufflenet_tf.errors import UserError
from shufflenet_tf.files import ARCHIVE_DAMAGE, atomic_path
from shufflenet_tf.weights.tensors import Tensors, damage_named
from shufflenet_tf.weights.torch_pickle import (
    DTYPES,
    KINDS,
    OTHER_SIZES,
    Inert,
    Tensor,
    Unpickled,
    code_of,
    from_bfloat16,
    spell,
    unpickle,
)

_STREAM_MAGIC = 0x1950A86A20F9469CFC6C
_STREAM_HEAD = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the same number, pickled
_ALIGNMENT = 64
_MAX_DEPTH = 12  # dicts within dicts
_STATE_DICT = "in PyTorch, torch.save(model.state_dict(), 'weights.pth'), and give that file."


def is_torch_file(path: str | os.PathLike) -> bool:
    """Returns whether a file is a PyTorch checkpoint, by its content; False also if there is no file."""
    head = b""
    try:
        with open(path, "rb") as file:
            head = file.read(512)
            if head.startswith(b"PK\3\4"):
                return any(name.endswith((".pkl", "/version")) for name in zipfile.ZipFile(file).namelist())
    except ARCHIVE_DAMAGE:  # the first entry shows what it was
        return b"/data.pkl" in head[30:256]
    return _STREAM_HEAD in head[:32] or _is_tar(head) or head[:2] in (b"\x80\2", b"\x80\3", b"\x80\4", b"\x80\5")


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


def load(path: str | os.PathLike) -> Tensors:
    """Opens a .pth, .pt, .bin or .ckpt file, in PyTorch's zip format or the stream format before 1.6.

    Returns:
      All tensors in the dicts and lists of the file by path, such as "state_dict.conv1.0.weight"; bfloat16 is read as
      float32. Everything else (epochs, optimizers, arguments, objects of any class) is ignored and never built.

    Raises:
      UserError: the file is missing, damaged or not a checkpoint.
    """
    path = pathlib.Path(path)
    with damage_named(path, "PyTorch checkpoint"):
        if not path.is_file():
            raise UserError("does not exist or is not a file: give the path of a PyTorch checkpoint.")
        size = path.stat().st_size
        unpickled, records = _read(path)
        found = dict(_flatten(unpickled.content, "", _MAX_DEPTH, set()))
    tensors = {name: value for name, value in found.items() if isinstance(value, Tensor) and value.storage.kind in DTYPES}
    unreadable = {
        name: f"stored as {value.storage.kind}" if isinstance(value, Tensor) else f"made by {value.name}"
        for name, value in found.items()
        if name not in tensors
    }
    arrays: dict[Tensor, np.ndarray] = {}  # by place, so that shared weights count once

    def read(name: str) -> np.ndarray:
        nonlocal size
        tensor = tensors[name]
        with damage_named(path, "PyTorch checkpoint"):
            if tensor not in arrays:
                size -= math.prod(tensor.shape) * DTYPES[tensor.storage.kind].itemsize
                if size < 0:
                    raise ValueError("its tensors are larger than the file")
                arrays[tensor] = _array(tensor, records[tensor.storage.key])
        return arrays[tensor]

    return Tensors(
        {name: tensor.shape for name, tensor in tensors.items()}, read, unreadable, _remark(unpickled, bool(tensors))
    )


def _read(path: pathlib.Path) -> tuple[Unpickled, Mapping[str, bytes | memoryview]]:
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(512)
        file.seek(0)
        if head.startswith(b"PK\3\4"):
            return _read_zip(file, size)
        if _STREAM_HEAD in head[:32]:
            return _read_stream(file.read())
    if _is_tar(head):
        raise UserError(
            "is a tar archive: unpack it and give the file inside; if PyTorch before 0.2 wrote the archive, load it with "
            "PyTorch and save it again."
        )
    if head[:1] == b"\x80":
        raise UserError(f"is a pickle that torch.save did not write: {_STATE_DICT}")
    raise ValueError("its first bytes belong to no known format")


def _flatten(value: Any, path: str, depth: int, seen: set[int]) -> Iterator[tuple[str, Tensor | Inert]]:
    """Yields the tensors, and objects in their place, in dicts and lists; each dict and list once."""
    if isinstance(value, Tensor) or (isinstance(value, Inert) and not value):
        yield path, value
    elif isinstance(value, dict | list | tuple) and depth and id(value) not in seen:
        seen.add(id(value))
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _flatten(item, f"{path}.{key}" if path else str(key), depth - 1, seen)


def _remark(unpickled: Unpickled, has_tensors: bool) -> str:
    """Returns a message for the case that the file turns out to have no weights of a known network."""
    if module := next((inert.name for inert in unpickled.inert if inert.is_module), None):
        return f"holds a whole pickled model, a {module}, which can't be read without running code from the file: {_STATE_DICT}"
    if quantized := next((name for name in unpickled.unknown if "qtensor" in name), None):
        return f"holds quantized weights ({quantized}), which are not read: save the float model that they come from."
    if has_tensors:
        return ""
    asked = f" and asks for {', '.join(unpickled.unknown[:3])}; nothing was run" if unpickled.unknown else ""
    return f"holds no state dict{asked}: {_STATE_DICT}"


def _read_zip(file: BinaryIO, size: int) -> tuple[Unpickled, dict[str, bytes]]:
    archive = zipfile.ZipFile(file)
    entries = {entry.filename: entry for entry in archive.infolist()}
    roots = [name.removesuffix("data.pkl") for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
    root = min(roots, key=len, default=None)
    if root is None:
        raise UserError("is a zip archive without a data.pkl inside: give the path of a PyTorch checkpoint.")
    if root + "constants.pkl" in entries:
        raise UserError(f"is a TorchScript program: {_STATE_DICT}")
    # PyTorch compresses nothing; a zip bomb needs compression, false sizes or entries that overlap.
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size for entry in entries.values()):
        raise UserError("is a zip archive with compressed entries, which PyTorch never writes: save it again with PyTorch.")
    if sum(entry.file_size for entry in entries.values()) > size:
        raise ValueError("its entries are larger than the file")
    if root + "byteorder" in entries:
        _check_little_endian(archive.read(root + "byteorder") == b"little")
    data = root + "data/"
    records = {name.removeprefix(data): archive.read(name) for name in entries if name.startswith(data)}
    return unpickle(archive.read(root + "data.pkl")), records


def _read_stream(data: bytes) -> tuple[Unpickled, dict[str, memoryview]]:
    """Reads five pickles, then the length and the bytes of each storage that the last pickle lists."""
    file = io.BytesIO(data)
    magic, version, system = (unpickle(file).content for _ in range(3))
    if magic != _STREAM_MAGIC or version != 1001 or not isinstance(system, dict):
        raise ValueError("its header is wrong")
    _check_little_endian(system.get("little_endian") is True)
    unpickled = unpickle(file)
    keys = unpickle(file).content
    if not isinstance(keys, list) or not all(type(key) is str for key in keys):
        raise ValueError("its list of storages is wrong")
    records = {}
    for key in keys:
        (elements,) = struct.unpack("<q", file.read(8))
        start, length = file.tell(), elements * _size(unpickled.storages[key].kind)
        if not 0 <= length <= len(data) - start:
            raise ValueError("it ends too early")
        records[key] = memoryview(data)[start : start + length]
        file.seek(start + length)
    return unpickled, records


def _size(kind: str) -> int:
    """Returns the bytes of an element of a storage."""
    return DTYPES[kind].itemsize if kind in DTYPES else OTHER_SIZES[kind]


def _check_little_endian(little: bool) -> None:
    if not little:
        raise UserError("has big-endian numbers, but only little-endian files are read: save it again on another machine.")


def _array(tensor: Tensor, record: bytes | memoryview) -> np.ndarray:
    """Copies `tensor` from the bytes of its storage; `torch_pickle` has checked its position there."""
    kind, _, size = tensor.storage
    stored = DTYPES[kind]
    if len(record) != size * stored.itemsize:
        raise ValueError("a storage has the wrong length")
    if 0 in tensor.shape:
        array = np.empty(tensor.shape, stored)
    else:
        flat = np.frombuffer(record, stored)[tensor.offset :]
        array = np.lib.stride_tricks.as_strided(flat, tensor.shape, [stride * stored.itemsize for stride in tensor.strides])
    array = array.astype(stored.newbyteorder("="), order="C")
    if kind == "torch.BFloat16Storage":
        return from_bfloat16(array)
    return np.asarray(array != 0) if kind == "torch.BoolStorage" else array


def write(path: str | os.PathLike, state_dict: Mapping[str, np.ndarray]) -> None:
    """Writes a state dict in PyTorch's zip format; `torch.load(path, weights_only=True)` returns an OrderedDict of tensors.

    Args:
      path: the file; it is replaced in one step when all is written.
      state_dict: arrays by name, of any floating-point, integer or bool type that PyTorch and NumPy share.

    Raises:
      UserError: an array has another type.
      OSError: the file can't be written.
    """
    arrays = {name: np.asarray(array) for name, array in state_dict.items()}
    for name, array in arrays.items():
        if code_of(array) not in KINDS:
            raise UserError(f"{name} is of type {array.dtype}: convert it to one of {', '.join(KINDS)}.")
    with atomic_path(path) as temporary, open(temporary, "wb") as file, zipfile.ZipFile(file, "w") as archive:

        def add(name: str, data: bytes) -> None:
            entry = zipfile.ZipInfo(f"archive/{name}")
            # PyTorch can map the data into memory: an extra field "FB" fills the gap before a multiple of 64 bytes.
            gap = -(file.tell() + 30 + len(entry.filename) + 4) % _ALIGNMENT
            entry.extra = b"FB" + struct.pack("<H", gap) + b"Z" * gap
            archive.writestr(entry, data)

        add("data.pkl", spell(arrays))
        add("byteorder", b"little")
        for number, array in enumerate(arrays.values()):
            add(f"data/{number}", array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
        add("version", b"3\n")
