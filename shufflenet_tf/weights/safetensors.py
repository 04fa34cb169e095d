"""Files in Hugging Face's safetensors format: the length of a header, the header (JSON), the data.

Source: https://github.com/huggingface/safetensors#format
"""

import json
import math
import os
import pathlib

import numpy as np

from shufflenet_tf.errors import UserError
from shufflenet_tf.weights.tensors import Tensors, damage_named
from shufflenet_tf.weights.torch_pickle import MAX_RANK, from_bfloat16

_DTYPES = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8", "BOOL": "|b1", "U8": "|u1", "U16": "<u2", "U32": "<u4"}
_DTYPES |= {"I8": "|i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "U64": "<u8"}
_MAX_HEADER = 100_000_000  # bytes; the official library's limit
_METADATA = "__metadata__"


def is_safetensors(path: str | os.PathLike) -> bool:
    """Returns whether a file has this format, by its first bytes; False also if there is no file."""
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            head = file.read(9)
    except OSError:
        return False
    return len(head) == 9 and head[8:] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= size - 8


def load(path: str | os.PathLike) -> Tensors:
    """Opens a .safetensors file.

    Returns:
      Its tensors; bfloat16 is read as float32.

    Raises:
      UserError: the file is missing or damaged, which includes tensors that overlap or lie outside of the data.
    """
    path = pathlib.Path(path)
    with damage_named(path, "safetensors file"):
        data = path.read_bytes()
        length = int.from_bytes(data[:8], "little")
        if len(data) < 8 or length > min(len(data) - 8, _MAX_HEADER):
            raise ValueError("its header is longer than the file")
        header = json.loads(data[8 : 8 + length], object_pairs_hook=_without_duplicates)
        if not isinstance(header, dict):
            raise ValueError("its header is not a JSON object")
        header.pop(_METADATA, None)
        numbers = memoryview(data)[8 + length :]
        places = {name: _place(name, entry, len(numbers)) for name, entry in header.items()}
        _check_apart(places)
        shapes = {name: shape for name, (dtype, shape, *_) in places.items() if dtype in _DTYPES}
        unreadable = {name: f"of type {place[0]}"[:100] for name, place in places.items() if name not in shapes}

    def read(name: str) -> np.ndarray:
        dtype, shape, begin, end = places[name]
        array = np.frombuffer(numbers[begin:end], _DTYPES[dtype]).reshape(shape)
        return from_bfloat16(array) if dtype == "BF16" else array.astype(array.dtype.newbyteorder("="))

    return Tensors(shapes, read, unreadable)


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("its header has a name twice")
    return result


def _place(name: str, entry: object, size: int) -> tuple[str, tuple[int, ...], int, int]:
    """Returns type, shape, start and end of a tensor; the end is the byte after its last."""
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str):
        raise ValueError(f"{name[:100]} is not described")
    shape, offsets = entry.get("shape"), entry.get("data_offsets")
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or any(type(number) is not int or number < 0 for number in numbers):
            raise ValueError(f"{name[:100]} has a wrong shape or place")
    if len(offsets) != 2 or not offsets[0] <= offsets[1] <= size or len(shape) > MAX_RANK:
        raise ValueError(f"{name[:100]} lies outside of the data")
    dtype = _DTYPES.get(entry["dtype"])
    if dtype and math.prod(shape) * np.dtype(dtype).itemsize != offsets[1] - offsets[0]:
        raise ValueError(f"{name[:100]} has a length that doesn't fit its shape")
    return entry["dtype"], tuple(shape), *offsets


def _check_apart(places: dict[str, tuple[str, tuple[int, ...], int, int]]) -> None:
    taken = 0
    for name, (_, _, begin, end) in sorted(places.items(), key=lambda item: item[1][2:]):
        if begin < taken:
            raise ValueError(f"{name[:100]} overlaps another tensor")
        taken = end


def refuse_index(path: str | os.PathLike) -> None:
    """Raises a UserError if a file is the index of a checkpoint in several parts, which has no weights itself."""
    try:
        with open(path, "rb") as file:
            index = json.loads(file.read(10_000_000)) if file.peek(1)[:1] == b"{" else {}
    except (OSError, ValueError, RecursionError):
        return
    if isinstance(index, dict) and isinstance(index.get("weight_map"), dict):
        parts = sorted({str(part)[:100] for part in index["weight_map"].values()})
        raise UserError(
            f"{os.fspath(path)} is the index of a checkpoint in {len(parts)} parts ({', '.join(parts[:2])}, …), "
            "but only checkpoints in one file are read: save the model as one file."
        )
