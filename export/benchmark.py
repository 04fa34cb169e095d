"""Compares the speed of .tflite files.

  python -m export.benchmark a.tflite b.tflite ... [--threads=1] [--runs=50] [--csv=out.csv] [--plot=out.png]

All files are open in one process and take turns, in another order each round, so that other load on the machine affects
all of them alike. Compare the ratios, which are to the first file, not the milliseconds of two days. A file given twice
shows the spread of chance. There is no profile by operator: LiteRT offers none to Python.
"""

import pathlib
import shlex
import sys
from collections.abc import Sequence

from absl import flags

from export.cli import phone_step
from export.measure.benchmarking import benchmark
from export.measure.file_names import short_names
from export.report import plots, timing_table
from shufflenet_tf import cli
from shufflenet_tf.files import check_writable

FLAGS = cli.flag_values()
cli.define_timing(FLAGS, runs=50)
flags.DEFINE_integer("warmup", 5, "Runs of each file before the timed ones.", 0, flag_values=FLAGS)
flags.DEFINE_string("csv", None, "Table to write, one line a file.", flag_values=FLAGS)
flags.DEFINE_string("plot", None, "Picture to draw, .png, .pdf or .svg.", flag_values=FLAGS)


def main(paths: list[str]) -> None:
    """Measures the files, prints the table and writes what the flags ask for."""
    if FLAGS.plot:
        plots.check_suffix(FLAGS.plot)
    for path in filter(None, (FLAGS.csv, FLAGS.plot)):
        check_writable(pathlib.Path(path).parent)
    timings = benchmark(paths, FLAGS.threads, FLAGS.runs, FLAGS.warmup, FLAGS.cpu_time)
    print(timing_table.table(timings))
    if FLAGS.csv:
        timing_table.write_csv(timings, FLAGS.csv)
    if FLAGS.plot:
        plots.latencies(timings, short_names([timing.path for timing in timings]), FLAGS.plot)
    fastest = min(timings, key=lambda timing: timing.median).path
    classify = f"python -m shufflenet_tf.classify --model={shlex.quote(fastest)} PHOTO.jpg"
    print(f"\n{cli.next_steps([('classify with the fastest file', classify), *phone_step([fastest])])}")


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("export.benchmark", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
