"""ShuffleNet V2's experiments on its four guidelines (tables 1-4 of the paper), and figure 2's breakdown, on this machine.

    python benchmarks/guidelines.py [--output=FOLDER] [--parts=G1,G2] [--threads=1] [--runs=50] [--quick]

Writes guidelines.png, guidelines.csv and breakdown.png, and says in words which guidelines hold. Graphs are the paper's:
10 blocks on 56x56 maps, with the channels of its ARM column, float32 and int8, as TensorFlow converts them: nothing is
optimized, so that what is compared stays what it is. TFLite fuses a ReLU with the convolution in front. All graphs of an
experiment take turns in one process; ratios are of the fastest runs. --files keeps
the graphs for the next time. --quick is small: 2 blocks on 14x14 maps.
"""

import csv
import os
import pathlib
import sys
import tempfile
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
from absl import flags

from export.convert.precision import Precision
from export.measure.benchmarking import benchmark
from export.pipeline import export
from export.report.timing_table import delegated
from papers.guidelines import draw, graphs, verdicts
from papers.guidelines.breakdown import Breakdown, breakdown
from papers.guidelines.experiments import BLOCKS, EXPERIMENTS, SIZE, Experiment
from papers.latency import untrained
from shufflenet_tf import cli
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import atomic_path, check_writable

PARTS = (*(experiment.key for experiment in EXPERIMENTS), "breakdown")
NETWORKS = ("shufflenet_v1_1.0x_g3", "shufflenet_v2_1.0x", "mobilenet_v2_1.0x")  # figure 2's two, and the paper's own


FLAGS = cli.flag_values()
cli.define_output(FLAGS, "Folder to write to.", "runs/guidelines")
flags.DEFINE_list("parts", list(PARTS), "Which guidelines, and whether the breakdown.", flag_values=FLAGS)
flags.DEFINE_string("files", None, "Folder for the graphs; those that it has are not built again.", flag_values=FLAGS)
cli.define_timing(FLAGS, runs=50)
flags.DEFINE_bool("quick", False, "Small graphs, to see that all works.", flag_values=FLAGS)


def measure(experiment: Experiment) -> tuple[dict[str, np.ndarray], list[dict]]:
    """Returns the times relative to the first variant by kind, [variants, columns], and the table's lines."""
    size, blocks, columns = (14, 2, 1) if FLAGS.quick else (SIZE, BLOCKS, 3)
    keys = graphs.keys([experiment], columns)
    with tempfile.TemporaryDirectory() as temporary:
        folder, paths = pathlib.Path(FLAGS.files or temporary), []
        for _, variant, column, kind in keys:
            label = variant.label.replace(":", "to").replace(" ", "_")
            paths.append(folder / f"{experiment.key}_{label}_{column}_{size}px_{blocks}_{kind}.tflite")
            if not paths[-1].exists():
                model = graphs.network(experiment, variant, column, size, blocks)
                with atomic_path(paths[-1]) as unfinished:
                    unfinished.write_bytes(graphs.convert(model, kind))
        results = benchmark(paths, FLAGS.threads, FLAGS.runs, cpu_time=FLAGS.cpu_time)
    times = np.array([result.minimum for result in results]).reshape(columns, len(graphs.KINDS), len(experiment.variants))
    lines = [
        {
            "guideline": experiment.key,
            "variant": variant.label,
            "channels": "x".join(map(str, variant.channels[column])),
            "kind": kind,
            "multiply_adds": result.multiply_adds,
            "min_ms": round(result.minimum, 4),
            "median_ms": round(result.median, 4),
            "ratio": round(result.minimum / float(times[column, graphs.KINDS.index(kind), 0]), 4),
            "paper_arm": round(float(experiment.paper("arm")[experiment.variants.index(variant), column]), 4),
            "paper_gpu": round(float(experiment.paper("gpu")[experiment.variants.index(variant), column]), 4),
            "delegated": delegated(result),
        }
        for (_, variant, column, kind), result in zip(keys, results, strict=True)
    ]
    return {kind: (times[:, i] / times[:, i, :1]).T for i, kind in enumerate(graphs.KINDS)}, lines


def breakdowns(threads: int, runs: int, cpu_time: bool) -> dict[str, Breakdown]:
    """Returns where the time of each network goes, as converted and optimized."""
    found = {}
    for name in NETWORKS:
        print(f"Taking {name} apart …", file=sys.stderr, flush=True)
        bundle, images = untrained(name, (224, 224))
        kinds = [Precision(kind, calibration=images if kind == "int8" else ()) for kind in graphs.KINDS]
        for exported in export(bundle, kinds, threads):
            for how, model in (("as converted", exported.converted), ("optimized", exported.optimized)):
                found[f"{name}, {exported.kind}, {how}"] = breakdown(model.content, threads, runs, cpu_time)
    return dict(sorted(found.items(), key=lambda item: "int8" in item[0]))


def main(arguments: list[str]) -> None:
    cli.refuse_arguments(arguments)
    parts, output = FLAGS.parts, pathlib.Path(FLAGS.output)
    if unknown := [part for part in parts if part not in PARTS]:
        raise UserError(f"--parts has {unknown[0]!r}, which is none of {', '.join(PARTS)}.")
    check_writable(output)
    measured, lines = {}, []
    chosen = [experiment for experiment in EXPERIMENTS if experiment.key in parts]
    for experiment in chosen:
        print(f"{experiment.key}: {experiment.guideline} …", file=sys.stderr, flush=True)
        ratios, own = measure(experiment)
        measured |= {(experiment.key, kind): values for kind, values in ratios.items()}
        lines += own
    if chosen:
        with atomic_path(output / "guidelines.csv") as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, lines[0])
            writer.writeheader()
            writer.writerows(lines)
        draw.guidelines(chosen, measured, output / "guidelines.png")
        print("\n".join(verdicts.sentences(chosen, measured)))
    if "breakdown" in parts:
        found = breakdowns(FLAGS.threads, FLAGS.runs, FLAGS.cpu_time)
        draw.breakdowns(found, output / "breakdown.png")
        for name, own in found.items():
            shares = ", ".join(f"{part} {share:.0%}" for part, share in own.shares.items() if share >= 0.005)
            total = sum(own.milliseconds.values())
            print(f"{name}: {own.whole:.2f} ms, its operators on their own {total:.2f} ms: {shares}.")
    print(f"Pictures and the table are in {output}.")


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("benchmarks/guidelines.py", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
