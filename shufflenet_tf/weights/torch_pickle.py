"""The pickles within PyTorch checkpoint files, interpreted and spelled without running anything."""

import math
import pickle
import pickletools
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from shufflenet_tf.errors import UserError

_CODES = {"Float": "f4", "Double": "f8", "Half": "f2", "BFloat16": "u2", "Bool": "u1"}
_CODES |= {"Long": "i8", "Int": "i4", "Short": "i2", "Char": "i1", "Byte": "u1"}
DTYPES = {f"torch.{name}Storage": np.dtype(code).newbyteorder("<") for name, code in _CODES.items()}  # as in the file
KINDS = {"b1": "torch.BoolStorage"}  # to be written, by NumPy's code
KINDS |= {code: f"torch.{name}Storage" for name, code in _CODES.items() if name not in ("Bool", "BFloat16")}
_MAX_INSTRUCTIONS = 1_000_000  # 40,000 tensors; bounds the time and memory that a crafted file can take
_MAX_NAME = 10_000
_MAX_RANK = 32  # NumPy 1's own


class Storage(NamedTuple):
    kind: str
    key: str
    size: int  # in elements


class Tensor(NamedTuple):
    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements


def _tensor(storage: Storage, offset: int, shape: tuple, strides: tuple, *_: Any) -> Tensor:
    if not type(shape) is type(strides) is tuple or len(shape) != len(strides) or len(shape) > _MAX_RANK:
        raise ValueError("the shape of a tensor is wrong")
    if not isinstance(storage, Storage) or any(type(n) is not int or not 0 <= n < 2**63 for n in (offset, *shape, *strides)):
        raise ValueError("the place of a tensor is wrong")
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if last >= storage.size and 0 not in shape:
        raise ValueError("a tensor is larger than its storage")
    return Tensor(storage, offset, shape, strides)


def _storage(tag: str, kind: str, key: str, _device: str, size: int, view: None = None) -> Storage:
    if view is not None:
        raise UserError("was written by PyTorch 0.3 or older: load it with a newer one and save it again.")
    if tag != "storage" or not type(kind) is type(key) is str or kind not in DTYPES or type(size) is not int:
        raise ValueError("the description of a storage is wrong")
    return Storage(kind, key, size)


def _ordered_dict(items: list | None = None) -> dict:
    """Python 2 gives the items as a list; it is emptied, lest a crafted file have it copied a million times."""
    result: dict = {}
    _fill(result, items or [])
    if items:
        items.clear()
    return result


def _fill(target: dict, pairs: Iterable) -> None:
    """Keeps the entries whose keys are text: others are no weights, and hashing nested tuples may take for ever."""
    for key, value in pairs:
        if type(key) is str:
            if len(key) > _MAX_NAME:
                raise ValueError("a name is too long")
            dict.__setitem__(target, key, value)


_BUILDERS = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch.Size": lambda shape: shape,
    "collections.OrderedDict": _ordered_dict,
}
_LITERALS = {"INT", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"}
_LITERALS |= {"BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES"}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_EMPTY |= {"NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False}
_TAKEN = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "APPEND": 1, "SETITEM": 2}  # else all values since the last MARK
# What training scripts store beside the weights: passed over, nothing is built of it.
_SKIPPED = {"argparse.Namespace", "collections.Counter", "torch.device", "numpy.dtype", "_codecs.encode"}
_SKIPPED |= {"numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "torch.bfloat16"}
_SKIPPED |= {f"torch.{np.dtype(code).name}" for code in KINDS}


def _known(name: Any) -> str:
    if type(name) is not str:
        raise ValueError("its pickle is wrong")
    if not any(name in names for names in (_BUILDERS, DTYPES, _SKIPPED)):
        name = ascii(name)[1:-1][:100]
        raise UserError(f"asks for {name}, which is not needed to hold weights: it was refused and nothing was run.")
    return name


def unpickle(source: bytes | BinaryIO, storages: dict[str, Storage]) -> Any:
    """Interprets the few pickle instructions that checkpoints consist of; adds to `storages` those that it meets.

    `pickle.Unpickler` with a strict find_class would not do: it allocates by numbers in the file and hashes nested tuples for
    as long as the file likes. Here a class or function is no more than its name, so there is nothing that could be called.
    """
    stack: list[Any] = []
    below: list[list[Any]] = []  # for each open MARK, the stack under it
    memo: dict[int, Any] = {}
    for step, (opcode, arg, _) in enumerate(pickletools.genops(source)):
        if step > _MAX_INSTRUCTIONS:
            raise ValueError("its pickle is too long")
        name, items = opcode.name, []
        if name in ("TUPLE", "APPENDS", "SETITEMS"):
            items, stack = stack, below.pop()
        elif name in _TAKEN:
            items = [stack.pop() for _ in range(_TAKEN[name])][::-1]
        match name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case name if name in _LITERALS:
                stack.append(arg)
            case name if name in _EMPTY:
                stack.append(_EMPTY[name]())
            case "MARK":
                below.append(stack)
                stack = []
            case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(items))
            case "APPEND" | "APPENDS":
                list.extend(stack[-1], items)
            case "SETITEM" | "SETITEMS":
                _fill(stack[-1], zip(items[::2], items[1::2], strict=True))
            case "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                memo[len(memo) if arg is None else arg] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[arg])
            case "GLOBAL" | "INST":
                stack.append(_known(arg.replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                attribute, module = stack.pop(), stack.pop()
                stack.append(_known(str.__add__(module, "." + attribute)))
            case "REDUCE" | "NEWOBJ":
                arguments, function = stack.pop(), _known(stack.pop())
                stack.append(_BUILDERS[function](*arguments[:8]) if function in _BUILDERS else None)
            case "BUILD":  # attributes, such as the _metadata of a state dict: nothing needs them
                stack.pop()
            case "BINPERSID":
                storage = _storage(*stack.pop()[:6])
                if storages.setdefault(storage.key, storage) != storage:
                    raise ValueError("it describes a storage in two ways")
                stack.append(storage)
            case _:
                raise UserError(f"uses the pickle instruction {name}, which weights never need: nothing was run.")
    (content,) = stack
    return content


def code_of(array: np.ndarray) -> str:
    return f"{array.dtype.kind}{array.itemsize}"


def spell(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Spells out what torch.save would pickle; the classes, which are not at hand, occur as names only."""

    def plain(value: str | int | tuple) -> bytes:
        return pickle.dumps(value, 2)[2:-1]  # without protocol and STOP

    ordered_dict = b"ccollections\nOrderedDict\n)R"
    parts = [b"\x80\x02", ordered_dict, b"("]
    for number, (name, array) in enumerate(arrays.items()):
        strides = tuple(math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim))
        kind = b"c" + KINDS[code_of(array)].replace(".", "\n").encode() + b"\n"
        storage = b"(" + plain("storage") + kind + plain(str(number)) + plain("cpu") + plain(array.size) + b"tQ"
        place = plain(0) + plain(array.shape) + plain(strides) + b"\x89"  # False: requires no gradient
        parts += [plain(name), b"ctorch._utils\n_rebuild_tensor_v2\n(", storage, place, ordered_dict, b"tR"]
    return b"".join([*parts, b"u."])
