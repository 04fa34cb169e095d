"""What a .tflite file computes on a phone's processor, without a phone: LiteRT's own ARM kernels, emulated by QEMU.

    from benchmarks import arm
    if (reason := arm.available("a76")) is None:
        for record in arm.counts(["a.tflite", "b.tflite"], "a76"):
            print(record.path, record.instructions, record.outputs)

`python -m benchmarks.arm.install` installs what it needs, `python -m benchmarks.arm` prints tables. README.md says what the
numbers mean, and what they don't.
"""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from benchmarks.arm import blocks, emulate
from benchmarks.arm.cpus import CPUS, cpu
from benchmarks.arm.cycles import Timing
from benchmarks.arm.emulate import available
from benchmarks.arm.errors import Unavailable

__all__ = ["CPUS", "Record", "Unavailable", "available", "counts"]


@dataclasses.dataclass(frozen=True)
class Record:
    """One file on one processor.

    Attributes:
      path: the file.
      cpu: the processor's name.
      instructions: executed by one inference in one thread; None: on this machine itself, where none are counted.
      cycles: of that inference, as LLVM models the core; None: not asked for.
      outputs: of each random input in turn, all output arrays.
    """

    path: pathlib.Path
    cpu: str
    instructions: int | None
    cycles: float | None
    outputs: list[np.ndarray]


def counts(
    paths: Sequence[str | os.PathLike],
    cpu_name: str,
    cycles: bool = False,
    inputs: int = 1,
    folder: str | os.PathLike | None = None,
) -> list[Record]:
    """Runs files on an emulated processor, each in one thread, and counts one inference of each.

    Args:
      paths: .tflite files.
      cpu_name: a key of CPUS, or "native": this machine's own processor, where nothing is counted.
      cycles: whether to model cycles too, with LLVM; ARM only.
      inputs: how many random inputs to compute outputs of. The first one is counted.
      folder: where `install` has put things; None: the default.

    Returns:
      One record a file.

    Raises:
      Unavailable: something isn't installed, or LiteRT can't run a file there.
    """
    chosen, paths = cpu(cpu_name), [pathlib.Path(path) for path in paths]
    timing = Timing(chosen) if cycles else None
    marks, outputs = emulate.run(paths, chosen, inputs, folder)
    modelled = timing.cycles(marks) if timing else [None] * len(paths)
    totals = [blocks.instructions(mark) for mark in marks] if chosen.emulated else [None] * len(paths)
    return [Record(path, cpu_name, *row) for path, *row in zip(paths, totals, modelled, outputs, strict=True)]
