"""Compares the results of two processors for a .tflite file."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from export.flatbuffer import validation
from export.flatbuffer.graph import Graph

# Limit for float32 logits, relative to the largest: other kernels add in another order, and kernels without FMA round after
# each multiplication. README.md has measurements.
TOLERANCE = 5e-5


def logits(content: bytes) -> bytes | None:
    """Returns a classifier cut before its last SOFTMAX; None: it has none.

    With random weights, 8-bit probabilities round to 0 and 1, which hides differences.

    Raises:
      InvalidModel: the content is not a .tflite file.
    """
    validation.parse(content)
    graph = Graph(content)
    softmax = [operator for operator in graph.operators if graph.kind(operator) == "SOFTMAX"]
    if not softmax:
        return None
    graph.subgraph.outputs, graph.model.signatureDefs = [int(softmax[-1].inputs[0])], None
    return graph.pack()


@dataclasses.dataclass(frozen=True)
class Difference:
    """The difference between outputs.

    Attributes:
      equal: whether all bits are the same.
      quanta: largest difference of integers, in quanta (LSB).
      relative: largest difference of floats, relative to the largest value of the array; inf: one is NaN or infinite.
    """

    equal: bool
    quanta: int
    relative: float

    @property
    def tolerable(self) -> bool:
        return self.quanta == 0 and self.relative <= TOLERANCE

    def __str__(self) -> str:
        if self.equal:
            return "bit-equal"
        return f"off by {self.quanta}" if self.quanta else f"within {self.relative:.1e}"


def difference(expected: Sequence[np.ndarray], actual: Sequence[np.ndarray]) -> Difference:
    """Returns the difference between arrays that should be equal.

    Raises:
      ValueError: their number, types or shapes differ.
    """
    equal, quanta, relative = True, 0, 0.0
    for a, b in zip(expected, actual, strict=True):
        if a.dtype != b.dtype or a.shape != b.shape:
            raise ValueError(f"{a.dtype} {a.shape} and {b.dtype} {b.shape} can't be compared.")
        equal = equal and a.tobytes() == b.tobytes()
        if a.dtype.kind == "f":
            relative = max(relative, _relative(a.astype(np.float64), b.astype(np.float64)))
        else:
            quanta = max(quanta, int(np.abs(a.astype(np.int64) - b.astype(np.int64)).max(initial=0)))
    return Difference(equal, quanta, relative)


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return 0.0 if np.array_equal(a, b, equal_nan=True) else np.inf
    apart, largest = np.abs(a - b).max(initial=0.0), np.abs(a).max(initial=0.0)
    return float(apart / largest) if largest else (np.inf if apart else 0.0)
