"""Accuracy against latency: every registered network that has a published error, exported and timed on this machine.

  python -m export.chart [--models='shufflenet_v2_*'] [--threads=1] [--output=chart.png] [--csv=chart.csv]

Accuracies are the published ones (top-1 on ImageNet); latencies are of the optimized int8 and float32 files at 224 px,
the fastest of runs that take turns in one process. Weights are random: time doesn't depend on them. About 15 seconds a network.
"""

import csv
import os
import pathlib
import sys
import tempfile
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from absl import flags

import shufflenet_tf as st
from export import pictures, program
from export.benchmark import Result, benchmark
from export.published import ERRORS
from export.quantize import Quantization
from export.tflite import export
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import atomic_path, check_writable

FLAGS = program.flag_values()
flags.DEFINE_string("models", "*", "Which networks, with shell wildcards.", flag_values=FLAGS)
flags.DEFINE_integer("image_size", 224, "Side of the input in pixels.", 32, flag_values=FLAGS)
flags.DEFINE_integer("threads", 1, "Threads of the interpreter.", 1, flag_values=FLAGS)
flags.DEFINE_integer("runs", 50, "Timed runs of each file.", 1, flag_values=FLAGS)
flags.DEFINE_string("output", "chart.png", "The picture to draw, .png, .pdf or .svg.", flag_values=FLAGS)
flags.DEFINE_string("csv", None, "A table to write, a line a file.", flag_values=FLAGS)

KINDS = ("int8", "float32")


def untrained(name: str, size: int) -> tuple[st.Bundle, list[np.ndarray]]:
    """Returns a network with random weights that computes at the speed of a trained one, and images to calibrate it with.

    Its batch statistics are measured, since those that it is born with let activations shrink to nothing.
    """
    bundle = st.Bundle(model := st.create_model(name, input_shape=(size, size, 3)), None, model.preprocessing)
    images = np.random.default_rng(0).integers(0, 256, (4, size, size, 3), np.uint8)
    norms = [layer for layer in model._flatten_layers() if hasattr(layer, "moving_mean")]
    for norm in norms:
        norm.momentum = 0.0  # one step sets the statistics
    model(bundle.preprocessing.normalize(images), training=True)
    return bundle, list(images)


def measure(names: Sequence[str], size: int, threads: int, runs: int) -> list[tuple[str, str, Result]]:
    """Exports networks and times all files in turns; returns (name, kind, result) of each."""
    files = []
    with tempfile.TemporaryDirectory() as folder:
        for i, name in enumerate(names):
            print(f"{i + 1} of {len(names)}: exporting {name} …", file=sys.stderr, flush=True)
            bundle, images = untrained(name, size)
            kinds = [Quantization(kind, calibration=images if kind == "int8" else ()) for kind in KINDS]
            made = [file for file in export(bundle, kinds, threads) if file.steps]
            for kind, file in zip(KINDS, made, strict=True):
                files.append((name, kind, pathlib.Path(folder) / f"{name}_{kind}.tflite"))
                files[-1][2].write_bytes(file.content)
        print("Timing them …", file=sys.stderr, flush=True)
        results = benchmark([path for _, _, path in files], threads, runs)
    return [(name, kind, result) for (name, kind, _), result in zip(files, results, strict=True)]


def main(arguments: list[str]) -> None:
    if arguments:
        raise UserError(f"Unexpected argument {arguments[0]!r}: all settings are flags, --name=value.")
    pictures.check_suffix(FLAGS.output)
    check_writable(pathlib.Path(FLAGS.output).parent)
    names = [name for name in st.list_models(FLAGS.models) if name in ERRORS]
    if not names:
        raise UserError(f"--models={FLAGS.models} matches no network with a published error: try 'shufflenet_v2_*'.")
    rows = measure(names, FLAGS.image_size, FLAGS.threads, FLAGS.runs)
    points = [(name, 100 - ERRORS[name][0], min(r.milliseconds), kind) for name, kind, r in rows]
    pictures.chart(points, FLAGS.output)
    if FLAGS.csv:
        with atomic_path(FLAGS.csv) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["network", "kind", "top1", "source", "min_ms", "median_ms", "bytes", "partitions", "not_delegated"])
            for (name, top1, fastest, kind), (_, _, r) in zip(points, rows, strict=True):
                figures = [
                    f"{fastest:.3f}",
                    f"{np.median(r.milliseconds):.3f}",
                    r.file_size,
                    r.partitions,
                    sum(r.outside.values()),
                ]
                table.writerow([name, kind, f"{top1:.1f}", ERRORS[name][1], *figures])
    for name, top1, fastest, kind in points:
        print(f"{name:34} {kind:8} {top1:5.1f} %  {fastest:7.2f} ms")
    print(f"The picture is {FLAGS.output}.")


def run(argv: list[str]) -> int:
    """Runs the program and returns its exit status."""
    return program.run("export.chart", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run(sys.argv))
