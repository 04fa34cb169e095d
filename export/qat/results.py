"""The output files of quantization-aware training, and the comparison of several conversions of the network."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

import shufflenet_tf as st
from export import pipeline
from export.measure.agreement import Verification
from export.measure.logit_metrics import distance, expected_drop, logits
from export.measure.verification import Batch
from export.optimize.targets import PHONE, Target
from export.pipeline import Conversion
from export.qat import fake_quantization, folding, loop
from export.qat.learning import LearntNetwork
from export.report import agreement_table, layer_table
from export.report.markdown import percent, table
from export.report.records import ExportedModel, Figures
from shufflenet_tf.evaluation import pictures
from shufflenet_tf.files import write_text
from shufflenet_tf.weights import canonical

FINISHED = "model_int8.tflite"  # optimized from `pipeline.QAT_GRAPH`
_HEADINGS = (
    "conversion", "MB", "top-1", "as in Keras", "expected drop", "divergence, nats", "largest error", "ms", "partitions",
)  # fmt: skip
_NOISE_IMAGES = 12  # for measuring the noise of layers


def write(
    bundle: st.Bundle,
    learnt: LearntNetwork,
    images: Sequence[Batch],
    folder: pathlib.Path,
    output: str = "uint8",
    threads: int = 1,
    runs: int = 30,
    target: str | Target = PHONE,
) -> str:
    """Writes the files of a finished run, and returns its report.

    Args:
      bundle: the float network; this function replaces its weights by the trained ones.
      learnt: result of `learning.learn` in `folder`.
      images: batches of (uint8 [N, H, W, 3], class indices [N] or None) for the report.
      folder: folder of the run.
      output: type of the int8 files' probabilities.
      threads: interpreter threads to optimize the files for.
      runs: timed runs of each file.
      target: the processor to optimize the files for; see `export.optimize.optimize`.

    Raises:
      UserError: see `pipeline.finish` and `pipeline.measure`.
    """
    model, progress = bundle.model, learnt.progress
    graph = fake_quantization.to_tflite(learnt.student, output)
    contents = {
        "float32": learnt.minmax.reference,
        "int8, post-training, min-max": learnt.minmax.model,
        "int8, post-training, best": learnt.best.model,
        "int8, trained": graph,
    }
    conversions = [Conversion.unchanged(content, name) for name, content in contents.items()]
    exported = list(pipeline.finish(bundle, conversions, threads, target))
    verification, figures = pipeline.measure(bundle, {one.kind: one.optimized for one in exported}, images, threads, runs)
    rows = _rows(exported, figures, np.concatenate([pixels for pixels, _ in images]), threads)
    noise = layer_table.layer_rows({"min-max": learnt.minmax, "best": learnt.best}, images[0][0][:_NOISE_IMAGES])
    variables = {name: variable.numpy() for name, variable in fake_quantization.named_variables(learnt.student).items()}
    canonical.assign(model, folding.unfolded(model, variables))
    report = "\n".join(
        [
            f"# {model.name}, {bundle.size[0]}x{bundle.size[1]} px, int8\n",
            _text(rows, verification, threads, runs),
            f"Step {loop.best_step(progress)} of {progress.step} was kept: {loop.WHY}.\n",
            f"Post-training, layer by layer:\n\n{layer_table.markdown(noise)}\n",
        ]
    )
    about = {"model": model.name, "images": verification.images, "steps": progress.step, "kept": loop.best_step(progress)}
    ranges = {name: float(value) for name, value in variables.items() if name.endswith(("/low", "/high"))}
    canonical.save(model, folder / "model.npz")
    write_text(folder / "ranges.json", json.dumps(ranges, indent=1) + "\n")
    conversions[-1].converted.write(folder / pipeline.QAT_GRAPH)
    exported[-1].optimized.write(folder / FINISHED)
    write_text(folder / "labels.txt", "".join(f"{label}\n" for label in verification.labels))
    write_text(folder / "report.md", report)
    write_text(folder / "report.json", json.dumps({**about, "files": rows}, indent=1) + "\n")
    pictures.training_curves(progress.history, folder / "training.png")
    agreement_table.write(verification, folder)
    return report


def _rows(
    exported: Sequence[ExportedModel], figures: dict[str, Figures], pixels: np.ndarray, threads: int
) -> list[dict[str, Any]]:
    """Returns the measurements of each conversion as JSON types; divergence and drop are relative to the first one."""
    rows, expected = [], None
    for one in exported:
        # Use logits: most of many classes have a probability of zero in 8 bits.
        answers = logits(one.optimized.content, pixels, threads)
        expected = answers if expected is None else expected
        comparison, timing = figures[one.kind].comparison, figures[one.kind].timing
        rows.append(
            {
                "name": one.kind,
                "divergence": distance(expected, answers)[1],
                "drop": expected_drop(expected, answers),
                "milliseconds": timing.median,
                "partitions": timing.partitions,
                "bytes": len(one.optimized.content),
                "top1": comparison.top1,
                "agreement": comparison.agreement,
                "max_error": comparison.max_error,
            }
        )
    return rows


def _text(rows: Sequence[dict[str, Any]], verification: Verification, threads: int, runs: int) -> str:
    """Returns the rows as a table in Markdown, with a note on its columns."""
    cells = [("Keras", "", percent(verification.top1), *[""] * 6)]
    cells += [
        (
            row["name"],
            f"{row['bytes'] / 1e6:.2f}",
            percent(row["top1"]),
            percent(row["agreement"]),
            f"{row['drop']:.2%}",
            f"{row['divergence']:.2g}",
            f"{row['max_error']:.1e}",
            f"{row['milliseconds']:.2f}",
            str(row["partitions"]),
        )
        for row in rows
    ]
    return f"""{table(_HEADINGS, cells)}

{verification.images:,} images, {threads} thread(s), medians of {runs} interleaved runs{", CPU time" if threads == 1 else ""}.
The divergence is that of the logits' softmax; the expected drop is the accuracy lost by changed answers if the float network's
probabilities are right. Both are relative to the float32 file, and neither needs labels."""
