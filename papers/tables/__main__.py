"""The comparison tables of the two ShuffleNet papers, counted again with the networks that are registered here.

  python -m papers.tables                                     all of them, on the screen
  python -m papers.tables --table=v1.5 --table=v2.8           some
  python -m papers.tables --format=csv --output=FOLDER        a file a table: FOLDER/v1.1.csv, ...
  python -m papers.tables --table=v1.8 --latency=latency.csv  with latencies measured on this machine, which
  python -m papers.latency --output=latency.csv                      writes (in a checkout; minutes to an hour)

v1.N is table N of Zhang et al. (CVPR 2018), v2.N of Ma et al. (ECCV 2018). MMAC: millions of multiply-adds of convolutions
and dense layers for one image, the papers' FLOPs. "differs by": our count less the paper's, where that is more than
the rounding of the printed figure; the last column says why. Memory access: elements that these layers read and write, V2
paper, equation 1. Errors are the published ones. Times in brackets are relative to the table's first row that has one.
A dash: not printed, not measured, or not registered. Counting takes about 3 seconds a network.
"""

import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from papers.tables import TABLES, latency, report
from shufflenet_tf import cli
from shufflenet_tf.files import atomic_path, check_writable

SUFFIXES = {"markdown": ".md", "csv": ".csv"}


FLAGS = cli.flag_values()
flags.DEFINE_multi_enum("table", None, list(TABLES), "Which one; again for more; without it, all.", flag_values=FLAGS)
flags.DEFINE_enum("format", "markdown", list(SUFFIXES), "How to write them.", flag_values=FLAGS)
cli.define_output(FLAGS, "Folder to write a file a table to; without it, the screen.")
flags.DEFINE_string("latency", None, "A .csv file of papers.latency, whose times are added.", flag_values=FLAGS)


def main(arguments: list[str]) -> None:
    """Prints or writes the tables."""
    cli.refuse_arguments(arguments)
    tables = [TABLES[key] for key in dict.fromkeys(FLAGS.table or TABLES)]
    measured = latency.read(FLAGS.latency) if FLAGS.latency else []
    folder = pathlib.Path(FLAGS.output) if FLAGS.output else None
    if folder:
        check_writable(folder)
    counts = report.Counts()
    wanted = report.networks(tables)
    for i, (name, size) in enumerate(wanted):
        print(f"{i + 1} of {len(wanted)}: counting {name} …", file=sys.stderr, flush=True)
        counts[name, size]  # counted here, so that progress is seen
    for table in tables:
        rows = report.records(table, counts, measured)
        text = report.markdown(table, rows) if FLAGS.format == "markdown" else report.as_csv(rows)
        if folder:
            with atomic_path(folder / f"{table.key}{SUFFIXES[FLAGS.format]}") as temporary:
                temporary.write_text(text, encoding="utf-8")
        else:
            print(text)
    if folder:
        print(f"{len(tables)} table{'s are' if len(tables) > 1 else ' is'} in {folder}.")


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("papers.tables", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
