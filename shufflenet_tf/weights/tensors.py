"""The tensors of a checkpoint file by name; each is read only when it is needed."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from shufflenet_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class Tensors(Mapping):
    """Arrays by name, each read when it is looked up.

    Attributes:
      shapes: shapes of the tensors that can be read, in the file's order.
      read: function that returns the array of a name; raises UserError.
      unreadable: descriptions of the other tensors, such as the type of a quantized one.
      remark: why there are no tensors, or fewer than expected, and what to do: a sentence without its subject; "": none.
    """

    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], np.ndarray]
    unreadable: Mapping[str, str] = dataclasses.field(default_factory=dict)
    remark: str = ""

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "Tensors":
        """Returns tensors for arrays that are already in memory."""
        return cls({name: array.shape for name, array in arrays.items()}, arrays.__getitem__)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.shapes:
            raise KeyError(name)
        return self.read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


@contextlib.contextmanager
def damage_named(path: str | os.PathLike, kind: str) -> Iterator[None]:
    """Turns any error that a hostile or damaged file causes in the block into a UserError that names the file.

    Args:
      path: path of the file.
      kind: expected kind of file, such as "PyTorch checkpoint".
    """
    try:
        yield
    except UserError as error:
        raise UserError(f"{os.fspath(path)} {error}") from None
    except Exception as error:
        reason = " ".join(ascii(str(error))[1:-1].split())[:200] or type(error).__name__
        raise UserError(f"{os.fspath(path)} is damaged or not a {kind} ({reason}): download it or save it again.") from None
