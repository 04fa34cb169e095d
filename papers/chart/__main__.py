"""Accuracy against latency: every registered network that has a published error, exported and timed on this machine.

  python -m papers.chart [--network='shufflenet_v2_*'] [--output=chart.png] [--html=chart.html]
  python -m papers.chart --latency=latency.csv --html=chart.html        of what papers.latency has measured

Accuracies are the published ones (top-1 on ImageNet); latencies are of the optimized int8 and float32 files at 224 px,
the fastest of runs that take turns in one process. Weights are random: time doesn't depend on them. About 15 seconds a
network. The page needs nothing but a browser: point at a dot to see what it is, switch families and kinds on and off.
"""

import fnmatch
import pathlib
import sys
from collections.abc import Sequence

from absl import flags

import shufflenet_tf as st
from export.optimize.target_flag import define_target
from export.report import plots
from papers import latency
from papers.chart import page, picture
from papers.chart.points import points
from papers.published_errors import ERRORS
from papers.tables.latency import Latency, read
from papers.tables.rows import SQUARE
from shufflenet_tf import cli
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import check_writable

FLAGS = cli.flag_values()
cli.define_networks(FLAGS)
cli.define_alias(FLAGS, "models", "network")
flags.DEFINE_string("latency", None, "A table of papers.latency to draw; default: measure now.", flag_values=FLAGS)
cli.define_timing(FLAGS, runs=50)
define_target(FLAGS)
flags.DEFINE_string("output", "chart.png", "The picture to draw, .png, .pdf or .svg.", flag_values=FLAGS)
flags.DEFINE_string("html", None, "A page to write, .html.", flag_values=FLAGS)
flags.DEFINE_string("csv", None, "A table to write of what is measured, a line a file.", flag_values=FLAGS)


def main(arguments: list[str]) -> None:
    cli.refuse_arguments(arguments)
    plots.check_suffix(FLAGS.output)
    if FLAGS.html and not FLAGS.html.endswith(".html"):
        raise UserError(f"--html={FLAGS.html} is no page's name: give one that ends with .html.")
    for path in filter(None, (FLAGS.output, FLAGS.html, FLAGS.csv)):
        check_writable(pathlib.Path(path).parent)
    known = read(FLAGS.latency) if FLAGS.latency else []
    chosen = [name for name in st.list_models() if any(fnmatch.fnmatchcase(name, pattern) for pattern in FLAGS.network)]
    jobs = [(name, SQUARE) for name in chosen if name in ERRORS]
    if not jobs:
        raise UserError(f"--network={','.join(FLAGS.network)} has no network with a published error: try 'shufflenet_v2_*'.")
    measured = known if FLAGS.latency else _measured(jobs)
    measured = [own for own in measured if (own.network, own.size) in jobs and own.threads == FLAGS.threads]
    if FLAGS.csv:
        latency.write(measured, FLAGS.csv)
    shown = points(measured)
    picture.draw(shown, FLAGS.output)
    if FLAGS.html:
        page.write(shown, FLAGS.threads, FLAGS.html)
    for point in shown:
        print(f"{point.name:34} {point.kind:8} {point.accuracy:5.1f} %  {point.milliseconds:7.2f} ms")
    print(f"The picture is {FLAGS.output}{f', the page {FLAGS.html}' if FLAGS.html else ''}.")


def _measured(jobs: list[latency.Job]) -> list[Latency]:
    return latency.measure(jobs, FLAGS.threads, FLAGS.runs, cpu_time=FLAGS.cpu_time, target=FLAGS.target)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("papers.chart", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
