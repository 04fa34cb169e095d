"""The tensors of a checkpoint file by name, of which only those that are asked for are read."""

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
      shapes: of the tensors that can be read, in the file's order.
      read: name -> array; raises UserError.
      unreadable: what stands at the other names, such as the type of a quantized tensor.
      remark: why there are no tensors, or fewer than expected, and what to do: a sentence without its subject; "": nothing.
    """

    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], np.ndarray]
    unreadable: Mapping[str, str] = dataclasses.field(default_factory=dict)
    remark: str = ""

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "Tensors":
        """Returns arrays that are in memory already as the tensors of a file."""
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
    """Turns whatever a hostile or damaged file provokes within the block into a UserError that names the file.

    Args:
      path: of the file.
      kind: what it should be, such as "PyTorch checkpoint".
    """
    try:
        yield
    except UserError as error:
        raise UserError(f"{os.fspath(path)} {error}") from None
    except Exception as error:
        reason = " ".join(ascii(str(error))[1:-1].split())[:200] or type(error).__name__
        raise UserError(f"{os.fspath(path)} is damaged or no {kind} ({reason}): download it or save it again.") from None
