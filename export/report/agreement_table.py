"""Comparison of .tflite files with their original: a table, verify.json and verify.png."""

import json
import os
import pathlib
from collections.abc import Iterator

from export.measure.agreement import Verification
from export.report import plots
from export.report.markdown import percent, table
from shufflenet_tf.files import write_text

JSON, PICTURE = "verify.json", "verify.png"
_HEADINGS = ("model", "top-1", "top-5", "agreement", "max error", "mean error", "divergence (nats)")


def text(verification: Verification) -> str:
    """Returns the report as a fragment of Markdown: a table, and the noisiest layers of int8 files."""
    rows = [(verification.name, *_percents(verification.top1, verification.top5), "", "", "", "")]
    for c in verification.comparisons:
        errors = (f"{value:.2g}" for value in (c.max_error, c.mean_error, c.divergence))
        rows.append((c.name, *_percents(c.top1, c.top5, c.agreement), *errors))
    lines = [table(_HEADINGS, rows)]
    accuracy = "" if verification.top1 is not None else " There is no accuracy, because the images lack the model's labels."
    lines.append(f"\n{verification.images:,} images; errors are differences of probabilities.{accuracy}")
    for c in verification.comparisons:
        if c.layers:
            poorest = sorted(c.layers, key=lambda layer: layer.sqnr)[:3]
            listed = ", ".join(f"`{layer.short_name}` {layer.sqnr:.1f} dB" for layer in poorest)
            lines.append(
                f"\n{c.name}: of {len(c.layers)} layers, the signal-to-quantization-noise ratio relative to {c.layers_against} "
                f"is lowest in {listed}."
            )
        elif c.layers_against:
            lines.append(f"\n{c.name}: {c.layers_against}")
    return "\n".join(lines)


def _percents(*fractions: float | None) -> Iterator[str]:
    return (percent(fraction, digits=2) for fraction in fractions)


def write(verification: Verification, folder: str | os.PathLike) -> None:
    """Writes verify.json and verify.png."""
    folder = pathlib.Path(folder)
    write_text(folder / JSON, json.dumps(verification.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    plots.verification(verification, folder / PICTURE)
