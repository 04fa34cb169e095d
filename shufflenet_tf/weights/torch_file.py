"""PyTorch checkpoint files, read and written without PyTorch and without running anything that they hold."""

import io
import math
import os
import pathlib
import struct
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from shufflenet_tf.errors import UserError
from shufflenet_tf.files import atomic_path
from shufflenet_tf.weights.torch_pickle import DTYPES, KINDS, Storage, Tensor, code_of, spell, unpickle

_HOLDERS = ("state_dict", "model", "model_state_dict", "net", "network", "model_ema", "state_dict_ema")

_STREAM_MAGIC = 0x1950A86A20F9469CFC6C
_STREAM_HEAD = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the same number, pickled
_ALIGNMENT = 64


def is_torch_file(path: str | os.PathLike) -> bool:
    """Tells by the first bytes of a file whether it is a PyTorch checkpoint; False also where no file is."""
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError:
        return False
    first_entry = head[30 : 30 + int.from_bytes(head[26:28], "little")]  # the name of a zip's
    return _STREAM_HEAD in head[:32] or (head.startswith(b"PK\3\4") and first_entry.endswith(b"/data.pkl"))


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the state dict of a .pth or .pth.tar file, in PyTorch's zip format or the stream format before 1.6.

    Args:
      path: a file that holds a state dict, or a checkpoint that has one under `state_dict`, `model` or a like key.

    Returns:
      Arrays by name, in the file's order, without the `module.` that all names may begin with; bfloat16 as float32.

    Raises:
      UserError: the file is missing, damaged, no checkpoint, or asks for more than weights need.
    """
    path = pathlib.Path(path)
    try:
        if not path.is_file():
            raise UserError("is not there or is no file: give the path of a PyTorch checkpoint.")
        return _read(path)
    except UserError as error:
        raise UserError(f"{path} {error}") from None
    except Exception as error:  # whatever a hostile or damaged file provokes, the caller gets one kind of error
        reason = " ".join(ascii(str(error))[1:-1].split())[:200] or type(error).__name__
        raise UserError(f"{path} is damaged or no PyTorch checkpoint ({reason}): fetch it or save it again.") from None


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(512)
        file.seek(0)
        if head.startswith(b"PK\3\4"):
            content, records = _read_zip(file, size)
        elif _STREAM_HEAD in head[:32]:
            content, records = _read_stream(file.read())
        elif head[257:262] == b"ustar":
            raise UserError("is a tar archive, PyTorch's oldest format: load it with PyTorch and save it again.")
        else:
            raise ValueError("its first bytes are of no known format")

    if isinstance(content, dict):
        content = next((content[key] for key in _HOLDERS if isinstance(content.get(key), dict)), content)
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, dict) else {}
    if not tensors:
        raise UserError("holds no state dict: save model.state_dict() or {'state_dict': model.state_dict()}.")
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}

    arrays: dict[Tensor, np.ndarray] = {}  # by place, so that shared weights count once
    for tensor in tensors.values():
        if tensor not in arrays:
            size -= math.prod(tensor.shape) * DTYPES[tensor.storage.kind].itemsize
            if size < 0:
                raise ValueError("its tensors are larger than the file")
            arrays[tensor] = _array(tensor, records[tensor.storage.key])
    return {name: arrays[tensor] for name, tensor in tensors.items()}


def _read_zip(file: BinaryIO, size: int) -> tuple[Any, dict[str, bytes]]:
    archive = zipfile.ZipFile(file)
    entries = {entry.filename: entry for entry in archive.infolist()}
    root = next(
        (name.removesuffix("data.pkl") for name in entries if name.endswith("/data.pkl") and name.count("/") == 1), None
    )
    if root is None:
        raise UserError("is a zip archive without a data.pkl inside: give the path of a PyTorch checkpoint.")
    if root + "constants.pkl" in entries:
        raise UserError("is a TorchScript program: save model.state_dict() instead.")
    # PyTorch compresses nothing; a zip bomb needs compression, false sizes or entries that overlap.
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size for entry in entries.values()):
        raise UserError("is a zip archive with compressed entries, which PyTorch never writes: save it again with PyTorch.")
    if sum(entry.file_size for entry in entries.values()) > size:
        raise ValueError("its entries are larger than the file")
    if root + "byteorder" in entries:
        _check_little_endian(archive.read(root + "byteorder") == b"little")
    data = root + "data/"
    records = {name.removeprefix(data): archive.read(name) for name in entries if name.startswith(data)}
    return unpickle(archive.read(root + "data.pkl"), {}), records


def _read_stream(data: bytes) -> tuple[Any, dict[str, memoryview]]:
    """Reads five pickles, then the length and the bytes of each storage that the last of them lists."""
    file = io.BytesIO(data)
    storages: dict[str, Storage] = {}
    magic, version, system = (unpickle(file, {}) for _ in range(3))
    if magic != _STREAM_MAGIC or version != 1001 or not isinstance(system, dict):
        raise ValueError("its header is wrong")
    _check_little_endian(system.get("little_endian") is True)
    content = unpickle(file, storages)
    keys = unpickle(file, {})
    if not isinstance(keys, list) or not all(type(key) is str for key in keys):
        raise ValueError("its list of storages is wrong")
    records = {}
    for key in keys:
        (elements,) = struct.unpack("<q", file.read(8))
        start, length = file.tell(), elements * DTYPES[storages[key].kind].itemsize
        if not 0 <= length <= len(data) - start:
            raise ValueError("it ends too early")
        records[key] = memoryview(data)[start : start + length]
        file.seek(start + length)
    return content, records


def _check_little_endian(little: bool) -> None:
    if not little:
        raise UserError("has big-endian numbers, and only little-endian files are read: save it again on another machine.")


def _array(tensor: Tensor, record: bytes | memoryview) -> np.ndarray:
    """Copies `tensor`, whose place within the storage `_tensor` has checked, out of the bytes of that storage."""
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
    if kind == "torch.BFloat16Storage":  # the upper half of a float32
        return np.asarray(array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return np.asarray(array != 0) if kind == "torch.BoolStorage" else array


def write(path: str | os.PathLike, state_dict: Mapping[str, np.ndarray]) -> None:
    """Writes a state dict in PyTorch's zip format; `torch.load(path, weights_only=True)` gives an OrderedDict of tensors.

    Args:
      path: the file, replaced at once when all is written.
      state_dict: arrays by name, of any floating-point, integer or bool type that PyTorch and NumPy share.

    Raises:
      UserError: an array has another type.
      OSError: the file can't be written.
    """
    arrays = {name: np.asarray(array) for name, array in state_dict.items()}
    for name, array in arrays.items():
        if code_of(array) not in KINDS:
            raise UserError(f"{name} is of type {array.dtype}, which is none of {', '.join(KINDS)}: convert it.")
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
