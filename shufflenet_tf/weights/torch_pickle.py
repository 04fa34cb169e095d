"""Interprets and writes the pickles in PyTorch checkpoint files without running anything.

`pickle.load` runs any function that a file names. Here, nothing is imported, and nothing that the file names is called: a
class or function is represented by its name (`Global`), and a call by an empty placeholder (`Inert`). Only the functions in
`_BUILDERS` are called; they are defined in this file and check their arguments.
"""

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
# Bytes of an element of the storages that are not read.
OTHER_SIZES = {"QInt8": 1, "QUInt8": 1, "QUInt4x2": 1, "QInt32": 4, "ComplexFloat": 8, "ComplexDouble": 16, "Untyped": 1}
OTHER_SIZES = {f"torch.{name}Storage": size for name, size in OTHER_SIZES.items()}
KINDS = {"b1": "torch.BoolStorage"}  # for writing, by NumPy's code
KINDS |= {code: f"torch.{name}Storage" for name, code in _CODES.items() if name not in ("Bool", "BFloat16")}
_MAX_INSTRUCTIONS = 1_000_000  # 40,000 tensors; bounds the time and memory that a crafted file can take
_MAX_NAME = 10_000
_MAX_UNKNOWN = 100  # names that are kept for messages
MAX_RANK = 32  # NumPy 1's limit


class Global(str):
    """The dotted name of a class or function; it is only text."""


class Inert(dict):
    """A placeholder for an object that a pickle asks to build; nothing is built.

    Attributes:
      name: name of the class or function that pickle would have called.
      is_module: whether the object is a PyTorch module, which is a whole model.
    """

    def __init__(self, name: str):
        self.name, self.is_module = ascii(name)[1:-1][:100], False


class Storage(NamedTuple):
    kind: str
    key: str
    size: int  # in elements


class Tensor(NamedTuple):
    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements


class Unpickled(NamedTuple):
    """The content of a pickle.

    Attributes:
      content: dicts, lists, tuples, texts, numbers, `Tensor`, `Global` and `Inert`.
      storages: storages of the tensors, by key.
      inert: the placeholders, in order.
      unknown: names of classes and functions that the pickle asks for but that don't belong to tensors.
    """

    content: Any
    storages: dict[str, Storage]
    inert: list[Inert]
    unknown: list[str]


def _tensor(storage: Storage, offset: int, shape: tuple, strides: tuple, *_: Any) -> Tensor:
    if not type(shape) is type(strides) is tuple or len(shape) != len(strides) or len(shape) > MAX_RANK:
        raise ValueError("the shape of a tensor is wrong")
    if not isinstance(storage, Storage) or any(type(n) is not int or not 0 <= n < 2**63 for n in (offset, *shape, *strides)):
        raise ValueError("the position of a tensor is wrong")
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if last >= storage.size and 0 not in shape:
        raise ValueError("a tensor is larger than its storage")
    return Tensor(storage, offset, shape, strides)


def _storage(tag: str, kind: str, key: str, _device: str, size: int, view: None = None) -> Storage:
    if view is not None:
        raise UserError("was written by PyTorch 0.3 or older: load it with a newer version and save it again.")
    if tag != "storage" or not isinstance(kind, Global) or type(key) is not str or type(size) is not int or size < 0:
        raise ValueError("the description of a storage is wrong")
    return Storage(str(kind), key, size)


def _ordered_dict(items: list | None = None) -> dict:
    """Takes Python 2's list of items, and empties it so that a crafted file can't have it copied a million times."""
    result: dict = {}
    _fill(result, items or [])
    if items:
        items.clear()
    return result


def _typed_tensor(function: str, _type: str, arguments: tuple, *_: Any) -> Any:
    """Returns a tensor of a subclass, or one with attributes, as `function` rebuilds it."""
    if function not in _BUILDERS or function == "torch._tensor._rebuild_from_type_v2":
        return Inert(str(function))
    return _BUILDERS[function](*arguments[:8])


def _fill(target: dict, pairs: Iterable) -> None:
    """Keeps the entries whose keys are text: others aren't weights, and hashing nested tuples can take forever."""
    for key, value in pairs:
        if type(key) is str:
            if len(key) > _MAX_NAME:
                raise ValueError("a name is too long")
            dict.__setitem__(target, key, value)


_BUILDERS = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
    "torch._tensor._rebuild_from_type_v2": _typed_tensor,
    "torch.Size": lambda shape: shape,
    "collections.OrderedDict": _ordered_dict,
}
_LITERALS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_LITERALS |= {"UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"}
_LITERALS |= {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": lambda: Inert("builtins.set")}
_EMPTY |= {"NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False}
_SINCE_MARK = {"TUPLE", "LIST", "DICT", "FROZENSET", "APPENDS", "SETITEMS", "ADDITEMS", "OBJ", "INST", "POP_MARK"}
_POPPED = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "APPEND": 1, "SETITEM": 2, "BUILD": 1, "STACK_GLOBAL": 2, "BINPERSID": 1}
_POPPED |= {"REDUCE": 2, "NEWOBJ": 2, "NEWOBJ_EX": 3}
_IGNORED = {"PROTO", "FRAME", "STOP", "ADDITEMS", "POP_MARK", "READONLY_BUFFER"}


def unpickle(source: bytes | BinaryIO) -> Unpickled:
    """Interprets a pickle without importing or calling anything that it names.

    `pickle.Unpickler` with a strict find_class is not safe enough: numbers in the file decide how much memory it allocates,
    and a crafted file can keep it hashing nested tuples forever.

    Raises:
      UserError: it was written by PyTorch 0.3 or older.
      Exception: any other exception means that the pickle is damaged.
    """
    machine = _Machine()
    for step, (opcode, argument, _) in enumerate(pickletools.genops(source)):
        if step > _MAX_INSTRUCTIONS:
            raise ValueError("its pickle is too long")
        machine.execute(opcode.name, argument)
    (content,) = machine.stack
    return Unpickled(content, machine.storages, machine.inert, list(machine.unknown))


class _Machine:
    """The stack and the memo of a pickle."""

    def __init__(self):
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # for each open MARK, the stack under it
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.inert: list[Inert] = []
        self.unknown: dict[str, None] = {}

    def execute(self, name: str, argument: Any) -> None:
        """Executes one instruction."""
        items: list[Any] = []
        if name in _SINCE_MARK:
            items, self.stack = self.stack, self.below.pop()
        elif name in _POPPED:
            items = [self.stack.pop() for _ in range(_POPPED[name])][::-1]
        stack = self.stack
        match name:
            case name if name in _LITERALS:
                stack.append(argument)
            case name if name in _EMPTY:
                stack.append(_EMPTY[name]())
            case "MARK":
                self.below.append(stack)
                self.stack = []
            case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(items))
            case "LIST":
                stack.append(items)
            case "APPEND" | "APPENDS":
                if isinstance(stack[-1], list):
                    stack[-1].extend(items)
            case "DICT" | "SETITEM" | "SETITEMS":
                if name == "DICT":
                    stack.append({})
                if isinstance(stack[-1], dict):  # an Inert too: it may be a special kind of dict
                    _fill(stack[-1], zip(items[::2], items[1::2], strict=True))
            case "BINPUT" | "LONG_BINPUT" | "PUT" | "MEMOIZE":
                self.memo[len(self.memo) if argument is None else argument] = stack[-1]
            case "BINGET" | "LONG_BINGET" | "GET":
                stack.append(self.memo[argument])
            case "DUP":
                stack.append(stack[-1])
            case "POP":
                if stack:
                    stack.pop()
                else:
                    self.stack = self.below.pop()
            case name if name not in _IGNORED:
                self._name_or_call(name, argument, items)

    def _name_or_call(self, name: str, argument: Any, items: list[Any]) -> None:
        """Executes an instruction for which `pickle` would import or call something."""
        match name:
            case "GLOBAL":
                self.stack.append(self._global(argument.replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                self.stack.append(self._global(str.__add__(items[0], "." + items[1])))
            case "REDUCE":
                function, arguments = items
                build = _BUILDERS.get(function) if isinstance(function, Global) else None
                self.stack.append(build(*arguments[:8]) if build else self._placeholder(function))
            case "NEWOBJ":  # Python 2's OrderedDict
                self.stack.append({} if items[0] == "collections.OrderedDict" else self._placeholder(items[0]))
            case "NEWOBJ_EX" | "OBJ" | "FROZENSET":
                self.stack.append(self._placeholder(items[0] if items else name))
            case "INST":
                self.stack.append(self._placeholder(self._global(argument.replace(" ", ".", 1))))
            case "BUILD":  # attributes, such as the _metadata of a state dict, which are not needed
                state = items[0]
                if isinstance(self.stack[-1], Inert) and isinstance(state, dict):
                    self.stack[-1].is_module = "_parameters" in state or "_modules" in state
            case "BINPERSID":
                self.stack.append(self._persistent(items[0]))
            case _:  # extension codes, persistent identities as text, buffers outside of the pickle
                self.stack.append(self._placeholder(self._global(f"the instruction {name}")))

    def _global(self, name: str) -> Global:
        if name not in _BUILDERS and name not in DTYPES and name not in OTHER_SIZES and len(self.unknown) < _MAX_UNKNOWN:
            self.unknown[ascii(name)[1:-1][:100]] = None
        return Global(name)

    def _placeholder(self, function: Any) -> Inert:
        self.inert.append(Inert(function if isinstance(function, Global) else type(function).__name__))
        return self.inert[-1]

    def _persistent(self, identity: Any) -> Any:
        if type(identity) is tuple and identity[:1] == ("module",):  # the class of a whole model, with its source code
            return identity[1]
        storage = _storage(*identity[:6])
        if self.storages.setdefault(storage.key, storage) != storage:
            raise ValueError("it describes a storage in two ways")
        return storage


def from_bfloat16(array: np.ndarray) -> np.ndarray:
    """Returns float32 numbers, given their upper halves as uint16."""
    return np.asarray(array.astype(np.uint32) << np.uint32(16)).view(np.float32)


def code_of(array: np.ndarray) -> str:
    return f"{array.dtype.kind}{array.itemsize}"


def spell(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Returns the pickle that torch.save would write; classes occur only as names, since PyTorch is not available."""

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
