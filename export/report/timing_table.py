"""Latencies of .tflite files: a table for people, and one for programs."""

import csv
import os
from collections.abc import Sequence

from export.measure.benchmarking import Timing
from export.measure.file_names import short_names
from shufflenet_tf.files import atomic_path

_HEADINGS = ("file", "min", "median", "p90 ms", "ratio", "of minima", "GMAC/s", "MMAC", "MB", "memory MB", "delegated")


def table(timings: Sequence[Timing]) -> str:
    """Returns the figures as an aligned table, a line a file, and below it the operators of each."""
    names = short_names([timing.path for timing in timings])
    rows = [_HEADINGS, *(_cells(name, timing) for name, timing in zip(names, timings, strict=True))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *cells, last in rows:
        aligned = [cell.rjust(width) for cell, width in zip(cells, widths[1:-1], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *aligned, last]))
    lines.append("\nOperators:")
    for name, timing in zip(names, timings, strict=True):
        outside = f"; not delegated: {listed(timing.outside)}" if timing.outside else ""
        lines.append(f"  {name}: {listed(timing.operators)}{outside}")
    lines.append("Memory is the growth of a process that runs the file alone; multiply-adds include those with padded zeros.")
    return "\n".join(lines)


def _cells(name: str, timing: Timing) -> tuple[str, ...]:
    peak = "-" if timing.peak_memory is None else f"{timing.peak_memory / 1e6:.1f}"
    times = (timing.minimum, timing.median, timing.p90, timing.ratio, timing.ratio_of_minima)
    size = (f"{timing.rate:.1f}", f"{timing.multiply_adds / 1e6:.1f}", f"{timing.file_size / 1e6:.2f}", peak)
    return (name, *(f"{value:.3f}" for value in times), *size, delegated(timing))


def delegated(timing: Timing) -> str:
    """Returns how much of a graph the delegate runs, as text."""
    outside = sum(timing.outside.values())
    pieces = f"{timing.partitions} partition{'' if timing.partitions == 1 else 's'}"
    return f"all, in {pieces}" if not outside else f"all but {outside}, in {pieces}" if timing.partitions else "none"


def listed(counts: dict[str, int]) -> str:
    """Returns operators by kind as text, such as "2 CONV_2D, 1 SOFTMAX"; nothing of none."""
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def write_csv(timings: Sequence[Timing], path: str | os.PathLike) -> None:
    """Writes the figures as a table with a line a file; an unknown one is empty."""
    rows = [_row(timing) for timing in timings]
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def _row(timing: Timing) -> dict[str, str | int | float]:
    return {
        "file": timing.path,
        "threads": timing.threads,
        "runs": len(timing.milliseconds),
        "min_ms": round(timing.minimum, 4),
        "median_ms": round(timing.median, 4),
        "p90_ms": round(timing.p90, 4),
        "ratio": round(timing.ratio, 4),
        "ratio_of_minima": round(timing.ratio_of_minima, 4),
        "multiply_adds": timing.multiply_adds,
        "gmac_per_s": round(timing.rate, 2),
        "file_bytes": timing.file_size,
        "peak_memory_bytes": "" if timing.peak_memory is None else timing.peak_memory,
        "delegate_partitions": timing.partitions,
        "operators_outside": sum(timing.outside.values()),
        "operators": sum(timing.operators.values()),
        "operators_by_type": listed(timing.operators),
        "outside_by_type": listed(timing.outside),
    }
