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

import argparse
import os
import sys
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pathlib

from papers.tables import TABLES, latency, report
from shufflenet_tf.cli import run_and_report
from shufflenet_tf.files import atomic_path, check_writable

SUFFIXES = {"markdown": ".md", "csv": ".csv"}


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m papers.tables", description=__doc__, formatter_class=form)
    parser.add_argument("--table", action="append", choices=list(TABLES), help="which one; again for more; default: all")
    parser.add_argument("--format", choices=list(SUFFIXES), default="markdown", help="default: markdown")
    parser.add_argument("--output", metavar="FOLDER", help="write a file a table there, not to the screen")
    parser.add_argument("--latency", metavar="FILE.csv", help="add the times in this file of papers.latency")
    return parser


def run(argv: Sequence[str]) -> int:
    """Runs the program with its arguments and returns its exit status."""
    args = _parser().parse_args(argv)
    return run_and_report("papers.tables", lambda: _main(args))


def _main(args: argparse.Namespace) -> None:
    tables = [TABLES[key] for key in dict.fromkeys(args.table or TABLES)]
    measured = latency.read(args.latency) if args.latency else []
    folder = args.output and pathlib.Path(args.output)
    if folder:
        check_writable(folder)
    counts = report.Counts()
    wanted = report.networks(tables)
    for i, (name, size) in enumerate(wanted):
        print(f"{i + 1} of {len(wanted)}: counting {name} …", file=sys.stderr, flush=True)
        counts[name, size]  # counted here, so that progress is seen
    for table in tables:
        rows = report.records(table, counts, measured)
        text = report.markdown(table, rows) if args.format == "markdown" else report.as_csv(rows)
        if folder:
            with atomic_path(folder / f"{table.key}{SUFFIXES[args.format]}") as temporary:
                temporary.write_text(text, encoding="utf-8")
        else:
            print(text)
    if folder:
        print(f"{len(tables)} table{'s are' if len(tables) > 1 else ' is'} in {folder}.")


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
