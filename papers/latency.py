"""How long the registered networks take on this machine, exported to float32 and int8: what the papers' tables need.

  python -m papers.latency --output=latency.csv [--network=PATTERN,...] [--sizes=224,480x640,720x1280] [--files=FOLDER]
  python -m papers.tables --latency=latency.csv

Files are the optimized ones, uint8 pixels in and probabilities out, with random weights: time doesn't depend on them. All files
are open in one process and take turns; the table has each one's fastest and median run. Lines of other files that
--output has already stay there. At 224 px an export takes about 15 seconds a network, which --files saves the next time;
at 720x1280 a few times that.
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
flags.DEFINE_list("sizes", ["224"], "Inputs in pixels: one side, or HEIGHTxWIDTH.", flag_values=FLAGS)
cli.define_timing(FLAGS, runs=30)
define_target(FLAGS)
flags.DEFINE_string("output", "latency.csv", "The table to write, a line a file.", flag_values=FLAGS)
flags.DEFINE_string("files", None, "Folder for the exported files; those that it has are not made again.", flag_values=FLAGS)

LARGEST = 200_000_000  # parameters; VGG-16 has 138 million, AlexNet 302 million at 480x640

Job = tuple[str, tuple[int, int]]  # a registered network, (height, width) of its input


def untrained(name: str, size: tuple[int, int]) -> tuple[st.Bundle, list[np.ndarray]]:
    """Returns a network with random weights that computes at the speed of a trained one, and images to calibrate it with.

    Its batch statistics are measured, since those that it is born with let activations shrink to nothing.

    Raises:
      UserError: it has too many parameters to be converted.
    """
    bundle = st.Bundle(model := st.create_model(name, input_shape=(*size, 3)), None, model.preprocessing)
    if (count := st.complexity.parameters(model)) > LARGEST:
        raise UserError(
            f"{name} at {size[0]}x{size[1]} has {count / 1e6:,.0f} million parameters, and converting takes some 70 bytes "
            f"for each: give it a smaller --sizes, with up to {LARGEST / 1e6:,.0f} million."
        )
    images = np.random.default_rng(0).integers(0, 256, (4, *size, 3), np.uint8)
    norms = [layer for layer in model._flatten_layers() if hasattr(layer, "moving_mean")]
    for norm in norms:
        norm.momentum = 0.0  # one step sets the statistics
    model(bundle.preprocessing.normalize(images), training=True)
    return bundle, list(images)


def files(
    jobs: Sequence[Job], threads: int, folder: pathlib.Path, target: Target
) -> dict[tuple[str, tuple[int, int], str], pathlib.Path]:
    """Exports networks into `folder`; returns the optimized files by (name, size, kind).

    A network that can't be exported is told of on stderr, and left out.
    """
    found = {}
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
        found |= {(name, size, kind): path for kind, path in paths.items()}
    return found


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
      jobs: networks and the sizes of their inputs.
      threads: of the interpreter.
      runs: timed runs of each file.
      folder: where files are kept, and taken from; None: a temporary one.
      cpu_time: see `benchmark`.
      target: the processor that the files are made for, whatever they are timed on; see `export.optimize.optimize`.

    Raises:
      UserError: no network can be exported, or the folder can't be written.
    """
    target = resolve(target)
    with tempfile.TemporaryDirectory() as temporary:
        check_writable(folder or temporary)
        made = files(jobs, threads, pathlib.Path(folder or temporary), target)
        if not made:
            raise UserError("None of the networks can be exported: see the reasons above.")
        print(f"Timing {len(made)} files …", file=sys.stderr, flush=True)
        results = benchmark(list(made.values()), threads, runs, cpu_time=cpu_time)
    return [
        Latency(name, kind, *size, threads, r.minimum, r.median, r.file_size, r.partitions, listed(r.outside), target.name)
        for (name, size, kind), r in zip(made, results, strict=True)
    ]


def write(latencies: Iterable[Latency], path: str | os.PathLike) -> None:
    """Writes measurements as a table that `papers.tables.latency.read` reads."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for own in latencies:
            values = dataclasses.asdict(own) | {name: f"{getattr(own, name):.4f}" for name in ("min_ms", "median_ms")}
            table.writerow([values[name] for name in COLUMNS])


def sizes(texts: Iterable[str]) -> list[tuple[int, int]]:
    """Returns (height, width) of texts such as "224" and "480x640".

    Raises:
      UserError: another form, or a side below 32 pixels.
    """
    found = []
    for text in texts:
        match = re.fullmatch(r"(\d+)(?:x(\d+))?", text.strip())
        sides = match and (int(match[1]), int(match[2] or match[1]))
        if not sides or min(sides) < 32:
            raise UserError(f"--sizes has {text!r}: give pixels, at least 32, as 224 or 480x640.")
        found.append(sides)
    return found


def main(arguments: list[str]) -> None:
    cli.refuse_arguments(arguments)
    names = [name for name in st.list_models() if any(fnmatch.fnmatchcase(name, pattern) for pattern in FLAGS.network)]
    if not names:
        raise UserError(f"--network={','.join(FLAGS.network)} matches no network: try 'shufflenet_v2_*'.")
    jobs = [(name, size) for size in sizes(FLAGS.sizes) for name in names]
    check_writable(pathlib.Path(FLAGS.output).parent)
    known = read(FLAGS.output) if os.path.exists(FLAGS.output) else []
    merged = {(own.network, own.kind, own.size, own.threads, own.target): own for own in known}
    for own in measure(jobs, FLAGS.threads, FLAGS.runs, FLAGS.files, FLAGS.cpu_time, FLAGS.target):
        merged[own.network, own.kind, own.size, own.threads, own.target] = own
        print(f"{own.network:34} {own.kind:8} {own.height:4} x {own.width:<4} {own.min_ms:8.2f} ms  {own.outside}")
    write(merged.values(), FLAGS.output)
    print(f"The table is {FLAGS.output}, {len(merged)} lines.")


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("papers.latency", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
