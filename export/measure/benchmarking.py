"""Measures the speed of .tflite files: all are open in one process and run in turns."""

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
    """The speed and the operators of a file.

    Attributes:
      path: the file, as given.
      milliseconds: time of each timed run, in order.
      ratio, ratio_of_minima: median and minimum relative to those of the first file.
      operators: number of operators by kind, most frequent first.
      partitions: number of delegate (XNNPACK) partitions.
      outside: operators outside of these partitions, by kind.
      peak_memory: growth in bytes of a process that runs only this file (`export.measure.memory.peak`); None: unknown.
      file_size: size in bytes.
      multiply_adds: of convolutions and fully connected layers as executed, including those with zeros.
      threads: number of interpreter threads.
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
        """Billions of multiply-adds per second in the median run."""
        return self.multiply_adds / self.median / 1e6


def benchmark(
    paths: Sequence[str | os.PathLike], threads: int = 1, runs: int = 50, warmup: int = 5, cpu_time: bool = False
) -> list[Timing]:
    """Measures .tflite files in turns on random input.

    Args:
      paths: the files; ratios refer to the first one.
      threads: threads of each interpreter.
      runs: timed runs of each file.
      warmup: runs of each file before the timed runs.
      cpu_time: whether to measure the CPU time of the calling thread instead of wall time: on a shared machine, the CPU time
        of one thread is close to that on an idle machine.

    Raises:
      UserError: there is no file, CPU time is requested for several threads, a number is out of range, or a file is missing,
        damaged, has a dynamic shape or can't be run.
    """
    if not paths:
        raise UserError("There is nothing to measure: give one or more .tflite files.")
    if threads < 1 or runs < 1 or warmup < 0:
        raise UserError(f"threads={threads}, runs={runs}, warmup={warmup} can't be used: give at least 1, 1 and 0.")
    if cpu_time and threads > 1:
        raise UserError(f"CPU time can't be measured for {threads} threads: use one thread, or measure wall time.")
    names = [os.fspath(path) for path in paths]
    graphs = {name: inspection.read(name) for name in dict.fromkeys(names)}
    # This comes first because it protects this process from files that crash the interpreter.
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
    """Returns an interpreter whose inputs hold random values."""
    interpreter = _interpreter(path, threads)
    details = interpreter.get_input_details()
    for dtype in (np.dtype(detail["dtype"]) for detail in details):
        if dtype.kind != "f" and not (dtype.kind in "iu" and dtype.itemsize == 1):
            raise UserError(f"{path} has an input of type {dtype}: give a file with uint8, int8 or float inputs.")
    _, pixels = runtime.random_inputs(interpreter, 2)
    for detail, values in zip(details, pixels, strict=True):
        interpreter.set_tensor(detail["index"], values)
    return interpreter
