"""Runs .tflite files on a phone's processor without a phone: LiteRT's ARM kernels, emulated by QEMU.

    from benchmarks import arm
    if (reason := arm.available("a76")) is None:
        for record in arm.counts(["a.tflite", "b.tflite"], "a76"):
            print(record.path, record.instructions, record.outputs)

`python -m benchmarks.arm.install` installs the requirements, and `python -m benchmarks.arm` prints tables. README.md explains
what the numbers mean, and what they don't.
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
    """The measurement of one file on one processor.

    Attributes:
      path: the file.
      cpu: name of the processor.
      instructions: instructions of one inference in one thread; None: on this machine itself, where they are not counted.
      cycles: cycles of that inference in LLVM's model of the core; None: not requested.
      outputs: for each random input, all output arrays.
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
    """Runs files on an emulated processor, each in one thread, and counts the instructions of one inference of each.

    Args:
      paths: .tflite files.
      cpu_name: a key of CPUS, or "native": this machine's processor, for which nothing is counted.
      cycles: whether to model cycles with LLVM too; ARM only.
      inputs: number of random inputs for which to compute outputs. The first one is counted.
      folder: installation folder of `install`; None: the default.

    Returns:
      One record per file.

    Raises:
      Unavailable: a requirement isn't installed, or LiteRT can't run a file there.
    """
    chosen, paths = cpu(cpu_name), [pathlib.Path(path) for path in paths]
    timing = Timing(chosen) if cycles else None
    marks, outputs = emulate.run(paths, chosen, inputs, folder)
    modelled = timing.cycles(marks) if timing else [None] * len(paths)
    totals = [blocks.instructions(mark) for mark in marks] if chosen.emulated else [None] * len(paths)
    return [Record(path, cpu_name, *row) for path, *row in zip(paths, totals, modelled, outputs, strict=True)]
