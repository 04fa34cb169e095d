"""How fast .tflite files are, compared with each other.

  python -m export.benchmark a.tflite b.tflite ... [--threads=1] [--runs=50] [--csv=out.csv] [--plot=out.png]

All files are open in one process and take turns, in another order each round, so that whatever else the machine does
meets all of them alike. Compare the ratios, which are to the first file, not the milliseconds of two days. A file that is
given twice shows how far chance goes. There is no profile by operator: LiteRT offers none to Python.
"""

import csv
import dataclasses
import os
import pathlib
import sys
import time
from collections import Counter
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from absl import flags

from export import cli
from export.flatbuffer import inspection
from export.measure import memory
from export.measure.timing import take_turns
from export.report import pictures
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import atomic_path, check_writable
from shufflenet_tf.tflite_classifier import _interpreter

FLAGS = cli.flag_values()
cli.define_timing(FLAGS, runs=50)
flags.DEFINE_integer("warmup", 5, "Runs of each file before these.", 0, flag_values=FLAGS)
flags.DEFINE_string("csv", None, "A table to write, a line a file.", flag_values=FLAGS)
flags.DEFINE_string("plot", None, "A picture to draw, .png, .pdf or .svg.", flag_values=FLAGS)


@dataclasses.dataclass(frozen=True)
class Result:
    """What `benchmark` found about one file.

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

    def row(self) -> dict[str, str | int | float]:
        """Returns the figures under the names of the table's columns; an unknown one is empty."""
        return {
            "file": self.path,
            "threads": self.threads,
            "runs": len(self.milliseconds),
            "min_ms": round(self.minimum, 4),
            "median_ms": round(self.median, 4),
            "p90_ms": round(self.p90, 4),
            "ratio": round(self.ratio, 4),
            "ratio_of_minima": round(self.ratio_of_minima, 4),
            "multiply_adds": self.multiply_adds,
            "gmac_per_s": round(self.rate, 2),
            "file_bytes": self.file_size,
            "peak_memory_bytes": "" if self.peak_memory is None else self.peak_memory,
            "delegate_partitions": self.partitions,
            "operators_outside": sum(self.outside.values()),
            "operators": sum(self.operators.values()),
            "operators_by_type": listed(self.operators),
            "outside_by_type": listed(self.outside),
        }


def benchmark(
    paths: Sequence[str | os.PathLike], threads: int = 1, runs: int = 50, warmup: int = 5, cpu_time: bool = False
) -> list[Result]:
    """Measures .tflite files on random input, taking turns.

    Args:
      paths: the files; the first is the one that ratios refer to.
      threads: of each interpreter.
      runs: timed runs of each file.
      warmup: runs of each file before these.
      cpu_time: whether to count what the calling thread computes, in place of what passes: on a machine that others use, the
        times of one thread are then nearly those of an idle one.

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
    # First, as it is what protects this process from files on which the interpreter crashes.
    peaks = {name: memory.peak(name, threads) for name in graphs}
    interpreters = [_ready(name, threads) for name in names]
    times = take_turns(interpreters, runs, warmup, time.thread_time_ns if cpu_time else time.perf_counter_ns)
    first = times[0]
    return [
        Result(
            path=name,
            milliseconds=tuple(own),
            ratio=float(np.median(own) / np.median(first)),
            ratio_of_minima=min(own) / min(first),
            operators=dict(Counter(graphs[name].counts()).most_common()),
            **dict(zip(("partitions", "outside"), inspection.delegation(interpreter), strict=True)),
            peak_memory=peaks[name],
            file_size=os.path.getsize(name),
            multiply_adds=inspection.multiply_adds(graphs[name]),
            threads=threads,
        )
        for name, interpreter, own in zip(names, interpreters, times, strict=True)
    ]


def table(results: Sequence[Result]) -> str:
    """Returns the results as an aligned table, a line a file, and below it the operators of each."""
    heading = ("file", "min", "median", "p90 ms", "ratio", "of minima", "GMAC/s", "MMAC", "MB", "memory MB", "delegated")
    rows = [heading]
    for r, name in zip(results, pictures.short_names([r.path for r in results]), strict=True):
        peak = "-" if r.peak_memory is None else f"{r.peak_memory / 1e6:.1f}"
        times = (f"{r.minimum:.3f}", f"{r.median:.3f}", f"{r.p90:.3f}", f"{r.ratio:.3f}", f"{r.ratio_of_minima:.3f}")
        size = (f"{r.rate:.1f}", f"{r.multiply_adds / 1e6:.1f}", f"{r.file_size / 1e6:.2f}", peak)
        rows.append((name, *times, *size, delegated(r)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0])] + [cell.rjust(w) for cell, w in zip(row[1:-1], widths[1:-1], strict=True)] + [row[-1]]
        )
        for row in rows
    ]
    lines.append("\nOperators:")
    for r, name in zip(results, pictures.short_names([r.path for r in results]), strict=True):
        outside = f"; not delegated: {listed(r.outside)}" if r.outside else ""
        lines.append(f"  {name}: {listed(r.operators)}{outside}")
    lines.append("Memory is the growth of a process that runs the file alone; multiply-adds include those with padded zeros.")
    return "\n".join(lines)


def delegated(result: Result) -> str:
    """Returns how much of a graph the delegate runs, as text."""
    outside = sum(result.outside.values())
    pieces = f"{result.partitions} partition{'' if result.partitions == 1 else 's'}"
    return f"all, in {pieces}" if not outside else f"all but {outside}, in {pieces}" if result.partitions else "none"


def write_csv(results: Sequence[Result], path: str | os.PathLike) -> None:
    """Writes the results as a table with a line a file."""
    rows = [result.row() for result in results]
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def listed(counts: dict[str, int]) -> str:
    """Returns operators by kind as text, such as "2 CONV_2D, 1 SOFTMAX"; nothing of none."""
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def _ready(path: str, threads: int):
    """An interpreter with random input in place."""
    interpreter = _interpreter(path, threads)
    rng = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        shape, dtype = tuple(detail["shape"]), np.dtype(detail["dtype"])
        if dtype.kind in "iu" and dtype.itemsize == 1:
            info = np.iinfo(dtype)
            values = rng.integers(info.min, info.max + 1, shape, dtype)
        elif dtype.kind == "f":
            values = rng.uniform(0, 1, shape).astype(dtype)
        else:
            raise UserError(f"{path} takes {dtype}: inputs of uint8, int8 and floats can be measured.")
        interpreter.set_tensor(detail["index"], values)
    return interpreter


def main(paths: list[str]) -> None:
    """Measures the files, prints the table and writes what the flags ask for."""
    if FLAGS.plot:
        pictures.check_suffix(FLAGS.plot)
    for path in filter(None, (FLAGS.csv, FLAGS.plot)):
        check_writable(pathlib.Path(path).parent)
    results = benchmark(paths, FLAGS.threads, FLAGS.runs, FLAGS.warmup, FLAGS.cpu_time)
    print(table(results))
    if FLAGS.csv:
        write_csv(results, FLAGS.csv)
    if FLAGS.plot:
        pictures.latencies(results, pictures.short_names([result.path for result in results]), FLAGS.plot)


if __name__ == "__main__":
    sys.exit(cli.run("export.benchmark", __doc__, FLAGS, main, sys.argv))
