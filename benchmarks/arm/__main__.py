"""Counts the instructions of one inference of .tflite files on phone processors emulated by QEMU.

    python -m benchmarks.arm a.tflite b.tflite … [--cpu=a76,a72] [--cycles] [--equal] [--csv=FILE]

CPUs are a53, a55, a72, a76 and a710 (Cortex), haswell (AVX2, no AVX-512) and nehalem (SSE4.2, no AVX). Instruction counts are
exact and for one thread. --cycles adds cycles from LLVM's model of an ARM core, which are not measurements. --equal compares
the outputs, and the logits before the last softmax, with this machine's on three random inputs: int8 must be bit-identical,
float32 within 5e-5 of the largest logit. With several files, the table has ratios to the first one, or to --baseline.
`python -m benchmarks.arm.install` installs the requirements.

The exit status is 1 if a requirement is missing or a file can't be run, and 3 if --equal finds a difference.
"""

import argparse
import csv
import dataclasses
import pathlib
import sys
import tempfile
from collections.abc import Sequence

from benchmarks.arm import CPUS, Record, Unavailable, counts, equal
from export.flatbuffer.validation import InvalidModel

INPUTS = 3  # for --equal


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table; see `Record`. Ratios are to the baseline on the same CPU; None: not requested."""

    file: str
    cpu: str
    instructions: int
    instructions_ratio: float | None
    cycles: float | None
    cycles_ratio: float | None
    outputs: equal.Difference | None
    logits: equal.Difference | None

    @property
    def differs(self) -> bool:
        """Whether a difference exceeds rounding. For float32, the logits decide: softmax amplifies small differences."""
        judged = (self.logits,) if self.logits and self.outputs and not self.outputs.quanta else (self.outputs, self.logits)
        return any(difference is not None and not difference.tolerable for difference in judged)


def measure(paths: Sequence[pathlib.Path], cpus: Sequence[str], baseline: int, args: argparse.Namespace) -> list[Row]:
    """Returns the lines of the table.

    Args:
      cpus: names of processors.
      baseline: index of the file that ratios refer to.
      args: arguments of the program.

    Raises:
      Unavailable: a requirement isn't installed, or LiteRT can't run a file there.
    """
    with tempfile.TemporaryDirectory() as folder:
        cut = _cut(paths, pathlib.Path(folder)) if args.equal else {}
        files, inputs = [*paths, *cut.values()], INPUTS if args.equal else 1
        expected = counts(files, "native", inputs=inputs, folder=args.folder) if args.equal else []
        rows = []
        for cpu in cpus:
            print(f"{CPUS[cpu].title} …", file=sys.stderr, flush=True)
            records = counts(files, cpu, args.cycles, inputs, args.folder)
            differences = [equal.difference(a.outputs, b.outputs) for a, b in zip(expected, records, strict=bool(expected))]
            logits = dict(zip(cut, differences[len(paths) :], strict=True))
            rows += [
                _row(record, records[baseline], len(paths) > 1, differences[i] if differences else None, logits.get(i))
                for i, record in enumerate(records[: len(paths)])
            ]
    return rows


def _cut(paths: Sequence[pathlib.Path], folder: pathlib.Path) -> dict[int, pathlib.Path]:
    """Writes files that end with the logits; returns them by the index of their original. Files without softmax are omitted."""
    cut = {}
    for i, path in enumerate(paths):
        if not path.is_file():
            raise Unavailable(f"There is no file {path}.")
        try:
            content = equal.logits(path.read_bytes())
        except InvalidModel as error:
            raise Unavailable(f"{path} can't be read: {error}.") from None
        if content is not None:
            cut[i] = folder / f"{i}.tflite"
            cut[i].write_bytes(content)
    return cut


def _row(record: Record, base: Record, ratios: bool, outputs: equal.Difference | None, logits: equal.Difference | None) -> Row:
    cycles = record.cycles / base.cycles if ratios and record.cycles is not None and base.cycles else None
    instructions = record.instructions / base.instructions if ratios else None
    return Row(record.path.name, record.cpu, record.instructions, instructions, record.cycles, cycles, outputs, logits)


def table(rows: Sequence[Row]) -> str:
    """Returns the lines as a table in Markdown, without empty columns."""
    columns = {
        "file": [row.file for row in rows],
        "emulated CPU": [CPUS[row.cpu].title for row in rows],
        "million instructions": [f"{row.instructions / 1e6:.2f}" for row in rows],
        "ratio": [f"{row.instructions_ratio:.3f}" if row.instructions_ratio else "" for row in rows],
        "million cycles, modelled": [f"{row.cycles / 1e6:.2f}" if row.cycles is not None else "" for row in rows],
        "ratio of cycles": [f"{row.cycles_ratio:.3f}" if row.cycles_ratio else "" for row in rows],
        "outputs, vs. this machine's": ["" if row.outputs is None else str(row.outputs) for row in rows],
        "logits": ["" if row.logits is None else str(row.logits) for row in rows],
    }
    used = {name: cells for name, cells in columns.items() if any(cells)}
    lines = [list(used), ["---"] * len(used), *zip(*used.values(), strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_csv(rows: Sequence[Row], path: pathlib.Path) -> None:
    """Writes the lines with full precision; differences of outputs are as in the table."""
    names = [field.name for field in dataclasses.fields(Row)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([getattr(row, name) for name in names] for row in rows)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.arm", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", type=pathlib.Path, nargs="+", help=".tflite files")
    parser.add_argument("--cpu", default="a76", help=f"processors, separated by commas: {', '.join(CPUS)}")
    parser.add_argument("--cycles", action="store_true", help="model cycles too; needs LLVM")
    parser.add_argument("--equal", action="store_true", help="compare outputs with this machine's")
    parser.add_argument("--baseline", type=pathlib.Path, help="file that ratios refer to; default: the first one")
    parser.add_argument("--csv", type=pathlib.Path, help="CSV file for the table")
    parser.add_argument("--folder", help="installation folder; default: see benchmarks.arm.install")
    args = parser.parse_args(argv)
    args.cpu = args.cpu.split(",")
    if unknown := [cpu for cpu in args.cpu if cpu not in CPUS]:
        parser.error(f"--cpu has {unknown[0]!r}: use {', '.join(CPUS)}")
    if args.baseline and args.baseline not in args.files:
        parser.error(f"--baseline={args.baseline} is not one of the files")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    try:
        rows = measure(args.files, args.cpu, args.files.index(args.baseline) if args.baseline else 0, args)
        print(table(rows))
        if args.csv:
            write_csv(rows, args.csv)
    except (Unavailable, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 3 if any(row.differs for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
