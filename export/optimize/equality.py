"""Compares two models: both run on the same random inputs, and their outputs are compared."""

import dataclasses

import numpy as np

from export.flatbuffer import runtime

# Of float outputs, relative to the largest value (at least 1): another order of summation. A network that magnifies
# rounding shows it in the difference between two sets of kernels too; `LIMIT` is far below one quantum of anything.
TOLERANCE, LIMIT = 1e-5, 1e-4


@dataclasses.dataclass(frozen=True)
class OutputDifference:
    """The largest differences of the outputs of two models.

    Attributes:
      quanta: of integer outputs, in units of the last place.
      relative: of float outputs, relative to the largest value of the tensor (at least 1).
      inputs: number of random inputs tried.
      noise: relative difference of the first model's own outputs with XNNPACK and with the reference kernels.
    """

    quanta: int
    relative: float
    inputs: int
    noise: float = 0.0

    @property
    def tolerable(self) -> bool:
        return self.quanta == 0 and self.relative <= min(LIMIT, max(TOLERANCE, 10 * self.noise))

    def __str__(self) -> str:
        if self.quanta == 0 and self.relative == 0:
            return f"bit-identical on {self.inputs} random inputs"
        quanta = f"{self.quanta} quanta, " if self.quanta else ""
        return f"differs by at most {quanta}{self.relative:.1e} on {self.inputs} random inputs"


def compare(before: bytes, after: bytes, count: int = 8, threads: int = 1, reference: bool = True) -> OutputDifference:
    """Returns the difference of two models on `count` random inputs, the first of them with the `reference` kernels too.

    Raises:
      ValueError, RuntimeError: the runtime refuses the second model, or inputs and outputs do not correspond.
    """
    quanta, relative, firsts = 0, 0.0, []
    for kernels, n in ((runtime.XNNPACK, count), (runtime.REFERENCE, 1))[: 1 + reference]:
        one, other = (runtime.interpreter(model, threads, kernels) for model in (before, after))
        for i, inputs in enumerate(runtime.random_inputs(one, n)):
            outputs = runtime.run(one, inputs)
            if i == 0:
                firsts.append(outputs)
            for a, b in zip(outputs, runtime.run(other, inputs), strict=True):
                if a.shape != b.shape or a.dtype != b.dtype:
                    raise ValueError("outputs of another shape")
                if a.dtype.kind in "iub":
                    quanta = max(quanta, int(np.abs(a.astype(np.int64) - b.astype(np.int64)).max(initial=0)))
                else:
                    relative = max(relative, _relative(a.astype(np.float64), b.astype(np.float64)))
    floats = [(a, b) for a, b in zip(firsts[0], firsts[-1], strict=True) if a.dtype.kind == "f"]
    noise = max((_relative(a.astype(np.float64), b.astype(np.float64)) for a, b in floats), default=0.0)
    return OutputDifference(quanta, relative, count, noise)


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return np.inf
    a, b = np.nan_to_num(a), np.nan_to_num(b)
    return float(np.abs(a - b).max(initial=0) / max(1.0, np.abs(a).max(initial=0)))
