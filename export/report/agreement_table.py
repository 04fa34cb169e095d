"""Comparison of .tflite files with their original: a table, verify.json and verify.png."""

import json
import os
import pathlib
from collections.abc import Iterator

from export.measure.agreement import Verification
from export.report import plots
from export.report.markdown import percent, table
from shufflenet_tf.evaluation.intervals import of_share, with_interval
from shufflenet_tf.files import write_text

JSON, PICTURE = "verify.json", "verify.png"
_HEADINGS = ("agreement", "max error", "mean error", "divergence (nats)")


def text(verification: Verification) -> str:
    """Returns the report as a fragment of Markdown: a table, and the noisiest layers of int8 files."""
    with_top5 = verification.top5 is not None
    top1 = of_share(verification.top1, verification.images, 2)
    rows = [(verification.name, top1, *_percents(*[verification.top5] * with_top5), "", "", "", "")]
    for c in verification.comparisons:
        errors = (f"{value:.2g}" for value in (c.max_error, c.mean_error, c.divergence))
        top1 = of_share(c.top1, verification.images, 2)
        rows.append((c.name, top1, *_percents(*[c.top5] * with_top5, c.agreement), *errors))
    lines = [table(("model", "top-1", *["top-5"] * with_top5, *_HEADINGS), rows)]
    accuracy = "" if verification.top1 is not None else " There is no accuracy, because the images lack the model's labels."
    interval = "" if accuracy else " In parentheses: the 95 % interval of the accuracy."
    lines.append(f"\n{verification.images:,} images; errors are differences of probabilities.{interval}{accuracy}")
    lines += sure_text(verification)
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


def sure_text(verification: Verification) -> list[str]:
    """Returns what the model's threshold does in each file, as lines of Markdown; none where it has no threshold."""
    if verification.threshold is None:
        return []
    lines = [f'\n"Not sure" below {verification.threshold:.1%}:\n']
    for name, sureness in [
        (verification.name, verification.sureness),
        *((c.name, c.sureness) for c in verification.comparisons),
    ]:
        line = f"- {name}: {with_interval(sureness.answered, verification.images)} of the images are answered"
        if sureness.right is not None:
            line += f", of those {with_interval(sureness.right, sureness.answered) or 'none'} rightly"
            line += f"; calibration error {sureness.calibration_error:.1%}"
        lines.append(line)
    return lines


def _percents(*fractions: float | None) -> Iterator[str]:
    return (percent(fraction, digits=2) for fraction in fractions)


def write(verification: Verification, folder: str | os.PathLike) -> None:
    """Writes verify.json and verify.png."""
    folder = pathlib.Path(folder)
    write_text(folder / JSON, json.dumps(verification.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    plots.verification(verification, folder / PICTURE)
