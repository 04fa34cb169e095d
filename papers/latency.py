"""Measures the latency of registered networks on this machine, exported to float32 and int8, for the papers' tables.

  python -m papers.latency --output=latency.csv [--network=PATTERN,...] [--sizes=224,480x640,720x1280] [--files=FOLDER]
  python -m papers.tables --latency=latency.csv

The files are optimized, take uint8 pixels, return probabilities and have random weights, which don't affect the time. All files
are open in one process and run in turns; the table has the fastest and the median run of each. Lines for other files in an
existing --output are kept. An export takes about 15 seconds per network at 224 px, and a few times that at 720x1280; --files
keeps the exported files for the next time.
"""

import csv
import dataclasses
import fnmatch
import os
import pathlib
import re
import sys
import tempfile
from collections.abc import Iterable, Sequence

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from absl import flags

import shufflenet_tf as st
from export.convert.precision import Precision
from export.measure.benchmarking import benchmark
from export.optimize import resolve
from export.optimize.target_flag import define_target
from export.optimize.targets import PHONE, Target
from export.pipeline import export
from export.report.timing_table import listed
from papers.tables.latency import COLUMNS, KINDS, Latency, read
from shufflenet_tf import cli
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import atomic_path, check_writable

FLAGS = cli.flag_values()
cli.define_networks(FLAGS)
cli.define_alias(FLAGS, "models", "network")
flags.DEFINE_list("sizes", ["224"], "Input sizes in pixels: one side, or HEIGHTxWIDTH.", flag_values=FLAGS)
cli.define_timing(FLAGS, runs=30)
define_target(FLAGS)
flags.DEFINE_string("output", "latency.csv", "Table to write, one line per file.", flag_values=FLAGS)
flags.DEFINE_string("files", None, "Folder for the exported files; existing ones are reused.", flag_values=FLAGS)

LARGEST = 200_000_000  # parameters; VGG-16 has 138 million, AlexNet 302 million at 480x640

Job = tuple[str, tuple[int, int]]  # a registered network, (height, width) of its input


def untrained(name: str, size: tuple[int, int]) -> tuple[st.Bundle, list[np.ndarray]]:
    """Returns a network with random weights that runs at the speed of a trained one, and images to calibrate it with.

    Its batch statistics are measured, because with the initial ones activations vanish.

    Raises:
      UserError: the network has too many parameters to be converted.
    """
    bundle = st.Bundle(model := st.create_model(name, input_shape=(*size, 3)), None, model.preprocessing)
    if (count := st.complexity.parameters(model)) > LARGEST:
        raise UserError(
            f"{name} at {size[0]}x{size[1]} has {count / 1e6:,.0f} million parameters, and the conversion takes about 70 bytes "
            f"for each: give smaller --sizes, with up to {LARGEST / 1e6:,.0f} million parameters."
        )
    images = np.random.default_rng(0).integers(0, 256, (4, *size, 3), np.uint8)
    norms = [layer for layer in model._flatten_layers() if hasattr(layer, "moving_mean")]
    for norm in norms:
        norm.momentum = 0.0  # a single step sets the statistics
    model(bundle.preprocessing.normalize(images), training=True)
    return bundle, list(images)


def files(
    jobs: Sequence[Job], threads: int, folder: pathlib.Path, target: Target
) -> dict[tuple[str, tuple[int, int], str], pathlib.Path]:
    """Exports networks into `folder`; returns the optimized files by (name, size, kind).

    A network that can't be exported is reported on stderr and left out.
    """
    exported = {}
    for i, (name, size) in enumerate(jobs):
        height, width = size
        paths = {kind: folder / f"{name}_{height}x{width}_{threads}_{target.name}_{kind}.tflite" for kind in KINDS}
        if not all(path.exists() for path in paths.values()):
            print(f"{i + 1} of {len(jobs)}: exporting {name} at {height}x{width} …", file=sys.stderr, flush=True)
            try:
                _export(name, size, threads, paths, target)
            except UserError as error:
                print(f"Left out: {error}", file=sys.stderr, flush=True)
                continue
        exported |= {(name, size, kind): path for kind, path in paths.items()}
    return exported


def _export(name: str, size: tuple[int, int], threads: int, paths: dict[str, pathlib.Path], target: Target) -> None:
    bundle, images = untrained(name, size)
    kinds = [Precision(kind, calibration=images if kind == "int8" else ()) for kind in paths]
    for path, exported in zip(paths.values(), export(bundle, kinds, threads, target), strict=True):
        exported.optimized.write(path)


def measure(
    jobs: Sequence[Job],
    threads: int,
    runs: int,
    folder: str | os.PathLike | None = None,
    cpu_time: bool = False,
    target: str | Target = PHONE,
) -> list[Latency]:
    """Exports networks and times all their files in turns.

    Args:
      jobs: networks and their input sizes.
      threads: number of interpreter threads.
      runs: timed runs of each file.
      folder: folder in which files are kept and reused; None: a temporary one.
      cpu_time: see `benchmark`.
      target: the processor to optimize the files for, regardless of this machine; see `export.optimize.optimize`.

    Raises:
      UserError: no network can be exported, or the folder can't be written.
    """
    target = resolve(target)
    with tempfile.TemporaryDirectory() as temporary:
        check_writable(folder or temporary)
        exported = files(jobs, threads, pathlib.Path(folder or temporary), target)
        if not exported:
            raise UserError("None of the networks can be exported: see the reasons above.")
        print(f"Timing {len(exported)} files …", file=sys.stderr, flush=True)
        results = benchmark(list(exported.values()), threads, runs, cpu_time=cpu_time)
    return [
        Latency(name, kind, *size, threads, r.minimum, r.median, r.file_size, r.partitions, listed(r.outside), target.name)
        for (name, size, kind), r in zip(exported, results, strict=True)
    ]


def write(latencies: Iterable[Latency], path: str | os.PathLike) -> None:
    """Writes measurements as a table for `papers.tables.latency.read`."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for row in latencies:
            values = dataclasses.asdict(row) | {name: f"{getattr(row, name):.4f}" for name in ("min_ms", "median_ms")}
            table.writerow([values[name] for name in COLUMNS])


def sizes(texts: Iterable[str]) -> list[tuple[int, int]]:
    """Returns (height, width) for texts such as "224" and "480x640".

    Raises:
      UserError: a text has another form, or a side is below 32 pixels.
    """
    parsed = []
    for text in texts:
        match = re.fullmatch(r"(\d+)(?:x(\d+))?", text.strip())
        sides = match and (int(match[1]), int(match[2] or match[1]))
        if not sides or min(sides) < 32:
            raise UserError(f"--sizes has {text!r}: give pixels, at least 32, such as 224 or 480x640.")
        parsed.append(sides)
    return parsed


def main(arguments: list[str]) -> None:
    cli.refuse_arguments(arguments)
    names = [name for name in st.list_models() if any(fnmatch.fnmatchcase(name, pattern) for pattern in FLAGS.network)]
    if not names:
        raise UserError(f"--network={','.join(FLAGS.network)} matches no network: try 'shufflenet_v2_*'.")
    jobs = [(name, size) for size in sizes(FLAGS.sizes) for name in names]
    check_writable(pathlib.Path(FLAGS.output).parent)
    known = read(FLAGS.output) if os.path.exists(FLAGS.output) else []
    merged = {(row.network, row.kind, row.size, row.threads, row.target): row for row in known}
    for row in measure(jobs, FLAGS.threads, FLAGS.runs, FLAGS.files, FLAGS.cpu_time, FLAGS.target):
        merged[row.network, row.kind, row.size, row.threads, row.target] = row
        print(f"{row.network:34} {row.kind:8} {row.height:4} x {row.width:<4} {row.min_ms:8.2f} ms  {row.outside}")
    write(merged.values(), FLAGS.output)
    print(f"The table is {FLAGS.output}, {len(merged)} lines.")


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("papers.latency", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
