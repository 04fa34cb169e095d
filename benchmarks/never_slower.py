"""No network is predicted to be slower after the optimizer than before, on any target: shown for the whole registry.

Usage:
  python benchmarks/never_slower.py [--network='shufflenet_*,…'] [--size=224] [--targets=phone,phone_old,…] [--csv=FILE]

Each network is converted to float32 and int8 with random weights, and taken through the optimizer once a target, without timing
anything; a line says what the target is predicted to need relative to the file as converted, and how multiply-adds and bytes
changed. The exit status is 1 if anything is above 1.00. All 90 networks at 224 px take hours; --network takes shell wildcards.
"""

import csv
import fnmatch
import os
import pathlib
import sys
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags

from export.flatbuffer.graph import Graph
from export.optimize.pass_manager import Pipeline
from export.optimize.predict import account
from export.optimize.targets import Target, names
from export.optimize.targets.cost_model import CostModel
from shufflenet_tf import cli

FLAGS = cli.flag_values()
cli.define_networks(FLAGS)
cli.define_alias(FLAGS, "models", "network")
flags.DEFINE_list("targets", names(), "Targets to optimize for.", flag_values=FLAGS)
flags.DEFINE_integer("size", 224, "Side of the input in pixels.", 32, flag_values=FLAGS)
flags.DEFINE_string("csv", None, "A table to write, a line a file.", flag_values=FLAGS)


def conversions(name: str, size: int):
    """Yields (kind, flatbuffer) of a network with random weights, as converted."""
    from export.convert.from_keras import convert, trace
    from export.convert.precision import Precision
    from papers.latency import untrained

    bundle, images = untrained(name, (size, size))
    traced = trace(bundle.model)
    for kind in ("float32", "int8"):
        yield kind, convert(traced, Precision(kind, calibration=images if kind == "int8" else ()))


def rows(name: str, size: int, targets: list[str]):
    """Yields a row for each conversion and target."""
    for kind, model in conversions(name, size):
        for target in targets:
            cost = CostModel(1, Target.of(target))
            result, _ = Pipeline(cost, reference=False, limit=cost.target.growth * len(model)).run(model)
            before, after = account(Graph(model), cost), account(Graph(result), cost)
            yield {
                "network": name,
                "kind": kind,
                "target": target,
                "cost": after.cost / before.cost,
                "multiply_adds": after.multiply_adds / max(1, before.multiply_adds),
                "bytes": len(result) / len(model),
            }


def main(arguments: list[str]) -> int:
    """Prints the table; returns 1 if a file is predicted to be slower."""
    cli.refuse_arguments(arguments)
    import shufflenet_tf as st

    found = []
    for name in st.list_models():
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in FLAGS.network):
            for row in rows(name, FLAGS.size, FLAGS.targets):
                found.append(row)
                changes = f"{row['multiply_adds']:.2f} of the multiply-adds, {row['bytes']:.3f} of the bytes"
                figures = f"{row['cost']:.3f} of the cost, {changes}"
                print(f"{name:34} {row['kind']:8} {row['target']:11} {figures}", flush=True)
    if FLAGS.csv:
        with open(FLAGS.csv, "w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, found[0])
            table.writeheader()
            table.writerows(found)
    slower = [row for row in found if row["cost"] > 1]
    print(f"{len(found)} files; the dearest after optimization: {max((row['cost'] for row in found), default=1.0):.3f}.")
    return 1 if slower else 0


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("benchmarks/never_slower.py", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
