"""The export report: size, accuracy, and predicted and measured latency of each file."""

import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from export.measure.agreement import Comparison, Verification
from export.report import agreement_table, layer_table
from export.report.markdown import percent, table
from export.report.records import ExportedModel, ExportResults, Figures
from export.report.timing_table import listed
from shufflenet_tf.evaluation.intervals import of_share
from shufflenet_tf.files import write_text


def write(results: ExportResults, folder: str | os.PathLike) -> None:
    """Writes the finished files, labels.txt, report.md, report.json, verify.json and verify.png."""
    folder = pathlib.Path(folder)
    for exported in results.models:
        exported.optimized.write(folder / exported.file_name)
    write_text(folder / "labels.txt", "".join(f"{label}\n" for label in results.verification.labels))
    write_text(folder / "report.md", text(results))
    agreement_table.write(results.verification, folder)
    write_text(folder / "report.json", json.dumps(to_json(results), indent=1) + "\n")


def to_json(results: ExportResults) -> dict[str, Any]:
    """Returns all measurements as JSON types."""
    about = {
        "model": results.network,
        "target": results.target.name,
        "threads": results.threads,
        "top1": results.verification.top1,
        "images": results.verification.images,
    }
    return {**about, "files": [row for exported in results.models for row in _rows(exported, results.figures)]}


def _rows(exported: ExportedModel, figures: dict[str, Figures]) -> Iterator[dict[str, Any]]:
    """Yields the measurements of both versions of a model as JSON types; the optimized version holds the predictions."""
    for name, model in exported.versions.items():
        comparison, timing = figures[name].comparison, figures[name].timing
        before, after = exported.predicted if model.optimized else (None, None)
        yield {
            "name": name,
            "bytes": len(model.content),
            "multiply_adds": timing.multiply_adds,
            "top1": comparison.top1,
            "top5": comparison.top5,
            "agreement": comparison.agreement,
            "max_error": comparison.max_error,
            "milliseconds": timing.median,
            "predicted_milliseconds": after,
            "predicted_as_converted": before,
            "predicted_ratio": exported.optimization.ratio if model.optimized else None,
            "partitions": timing.partitions,
            "not_delegated": timing.outside,
            "steps": [[step.name, step.text] for step in model.steps],
        }


def text(results: ExportResults) -> str:
    """Returns, as Markdown, the table of all files and the steps of each."""
    target, verification = results.target, results.verification
    accuracies = ("top-1", *["top-5"] * (verification.top5 is not None))
    headings = ("file", "MB", "MMAC", *accuracies, "same top-1 as Keras", "largest error")
    headings += (f"{target.name}, predicted: ms", "ratio to converted", "this machine, measured: ms", "ratio to converted")
    count = verification.images
    rows = [("Keras", "", "", *_accuracies(verification, count), *[""] * 6)]
    rows += [row for exported in results.models for row in _cells(exported, results.figures, count)]
    source = "measured there, operator by operator" if target.measured else "a model, not a measurement"
    height, width = results.size
    lines = [
        f"# {results.network}, {height}x{width} px",
        "",
        table(headings, rows),
        "",
        f"{count:,} images; in parentheses, the 95 % interval of the accuracy. "
        f"{target.name}: {target.processor} ({source}: {target.source}). This machine: "
        f"{results.threads} thread(s), medians of {results.runs} interleaved runs"
        f"{', CPU time' if results.threads == 1 else ''}.",
        *agreement_table.sure_text(verification),
        "",
    ]
    for exported in results.models:
        lines += _details(exported, results.figures[exported.file_name])
    return "\n".join(lines)


def _cells(exported: ExportedModel, figures: dict[str, Figures], images: int) -> Iterator[tuple[str, ...]]:
    """Yields the table rows of a model as converted and as optimized, whose accuracy was measured on so many images."""
    converted = figures[exported.converted_name].timing.median
    ratios = (1.0, exported.optimization.ratio)
    for (name, model), predicted, ratio in zip(exported.versions.items(), exported.predicted, ratios, strict=True):
        comparison, timing = figures[name].comparison, figures[name].timing
        yield (
            name,
            f"{len(model.content) / 1e6:.2f}",
            f"{timing.multiply_adds / 1e6:.1f}",
            *_accuracies(comparison, images),
            percent(comparison.agreement),
            f"{comparison.max_error:.1e}",
            *(("", "") if predicted is None else (f"{predicted:.2f}", f"{ratio:.2f}")),
            f"{timing.median:.2f}",
            f"{timing.median / converted:.2f}",
        )


def _accuracies(measured: Verification | Comparison, images: int) -> list[str]:
    """Top-1 and, where it says something, top-5."""
    return [of_share(measured.top1, images), *([] if measured.top5 is None else [percent(measured.top5)])]


def _details(exported: ExportedModel, figures: Figures) -> list[str]:
    """Returns the steps of a model and the noise of its layers."""
    outside = listed(figures.timing.outside)
    delegated = f"{figures.timing.partitions} delegate partition(s){f', without {outside}' if outside else ''}."
    lines = [f"{exported.file_name}: {delegated}"]
    lines += [f"- {step.name}: {step.text}" for step in exported.optimized.steps if step.text] + [""]
    return [*lines, layer_table.markdown(exported.noise), ""] if exported.noise else lines
