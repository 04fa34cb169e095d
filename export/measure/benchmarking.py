"""How fast .tflite files are: all of them open in one process, taking turns."""

import dataclasses
import os
import time
from collections import Counter
from collections.abc import Sequence

import numpy as np

from export.flatbuffer import inspection, runtime
from export.measure import memory
from export.measure.timing import take_turns
from shufflenet_tf.errors import UserError
from shufflenet_tf.tflite_classifier import _interpreter


@dataclasses.dataclass(frozen=True)
class Timing:
    """The speed and the graph of one file.

    Attributes:
      path: of the file, as given.
      milliseconds: of each timed run, in order.
      ratio, ratio_of_minima: the median and the minimum, relative to the first file's.
      operators: how many there are of each kind, most first.
      partitions: pieces that the delegate (XNNPACK) runs as one.
      outside: operators that it leaves to the interpreter, by kind.
      peak_memory: bytes by which a process grows that runs this file alone (`export.measure.memory.peak`); None: not known.
      file_size: bytes.
      multiply_adds: of convolutions and fully connected layers as the graph performs them, zeros included.
      threads: of the interpreter.
    """

    path: str
    milliseconds: tuple[float, ...]
    ratio: float
    ratio_of_minima: float
    operators: dict[str, int]
    partitions: int
    outside: dict[str, int]
    peak_memory: int | None
    file_size: int
    multiply_adds: int
    threads: int

    @property
    def minimum(self) -> float:
        return min(self.milliseconds)

    @property
    def median(self) -> float:
        return float(np.median(self.milliseconds))

    @property
    def p90(self) -> float:
        return float(np.percentile(self.milliseconds, 90))

    @property
    def rate(self) -> float:
        """Billions of multiply-adds a second, in the median run."""
        return self.multiply_adds / self.median / 1e6


def benchmark(
    paths: Sequence[str | os.PathLike], threads: int = 1, runs: int = 50, warmup: int = 5, cpu_time: bool = False
) -> list[Timing]:
    """Measures .tflite files on random input, taking turns.

    Args:
      paths: the files; the first is the one that ratios refer to.
      threads: of each interpreter.
      runs: timed runs of each file.
      warmup: runs of each file before these.
      cpu_time: whether to measure the CPU time of the calling thread instead of wall time: on a shared machine, the CPU time
        of one thread is close to that on an idle machine.

    Raises:
      UserError: no file, CPU time of several threads, a number out of range, or a file that is missing, damaged, of dynamic
        shape or not to be run.
    """
    if not paths:
        raise UserError("There is nothing to measure: give one or more .tflite files.")
    if threads < 1 or runs < 1 or warmup < 0:
        raise UserError(f"threads={threads}, runs={runs}, warmup={warmup} can't be used: give at least 1, 1 and 0.")
    if cpu_time and threads > 1:
        raise UserError(f"CPU time can't be measured of {threads} threads: give 1, or measure the time that passes.")
    names = [os.fspath(path) for path in paths]
    graphs = {name: inspection.read(name) for name in dict.fromkeys(names)}
    # First, because it protects this process from files on which the interpreter crashes.
    peaks = {name: memory.peak(name, threads) for name in graphs}
    interpreters = [_ready(name, threads) for name in names]
    times = take_turns(interpreters, runs, warmup, time.thread_time_ns if cpu_time else time.perf_counter_ns)
    first = times[0]
    return [
        Timing(
            path=name,
            milliseconds=tuple(milliseconds),
            ratio=float(np.median(milliseconds) / np.median(first)),
            ratio_of_minima=min(milliseconds) / min(first),
            operators=dict(Counter(graphs[name].counts()).most_common()),
            **dict(zip(("partitions", "outside"), inspection.delegation(interpreter), strict=True)),
            peak_memory=peaks[name],
            file_size=os.path.getsize(name),
            multiply_adds=inspection.multiply_adds(graphs[name]),
            threads=threads,
        )
        for name, interpreter, milliseconds in zip(names, interpreters, times, strict=True)
    ]


def _ready(path: str, threads: int):
    """Returns an interpreter with random input in place."""
    interpreter = _interpreter(path, threads)
    details = interpreter.get_input_details()
    for dtype in (np.dtype(detail["dtype"]) for detail in details):
        if dtype.kind != "f" and not (dtype.kind in "iu" and dtype.itemsize == 1):
            raise UserError(f"{path} takes {dtype}: inputs of uint8, int8 and floats can be measured.")
    _, pixels = runtime.random_inputs(interpreter, 2)
    for detail, values in zip(details, pixels, strict=True):
        interpreter.set_tensor(detail["index"], values)
    return interpreter
