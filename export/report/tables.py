"""The report of an export: what each file is, how right it is, and how fast, predicted and measured."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import shufflenet_tf as st
from export import verify
from export.benchmark import Result
from export.optimize.targets import Target


@dataclasses.dataclass(frozen=True)
class About:
    """What all files of an export have in common.

    Attributes:
      target: the processor that they were made for.
      threads: of the interpreter.
      runs: timed runs of each file.
      proven: their comparison with Keras.
    """

    bundle: st.Bundle
    target: Target
    threads: int
    runs: int
    proven: verify.Report

    def to_json(self) -> dict[str, Any]:
        """Returns what a program may want to know of it."""
        return {
            "model": self.bundle.model.name,
            "target": self.target.name,
            "threads": self.threads,
            "top1": self.proven.top1,
            "images": self.proven.images,
        }


def row(file: Any, proven: verify.Comparison, timed: Result) -> dict[str, Any]:
    """Returns the figures of one file (`tflite.File`) as JSON types."""
    predicted = file.optimized.predicted if file.optimized else None
    predicted_ms = [own.milliseconds for own in predicted] if predicted else [None, None]
    return {
        "name": file.name,
        "bytes": len(file.content),
        "multiply_adds": timed.multiply_adds,
        "top1": proven.top1,
        "top5": proven.top5,
        "agreement": proven.agreement,
        "max_error": proven.max_error,
        "milliseconds": float(np.median(timed.milliseconds)),
        "predicted_milliseconds": predicted_ms[1],
        "predicted_as_converted": predicted_ms[0],
        "predicted_ratio": file.optimized.ratio if file.optimized else None,
        "partitions": timed.partitions,
        "not_delegated": timed.outside,
        "steps": [dataclasses.asdict(step) for step in file.steps],
    }


def text(about: About, rows: Sequence[dict[str, Any]], layers: Mapping[str, str]) -> str:
    """Returns the table of all files and what was done in each, as Markdown."""
    target, size = about.target, about.bundle.size
    lines = [
        f"# {about.bundle.model.name}, {size[0]}x{size[1]} px",
        "",
        "| file | MB | MMAC | top-1 | top-5 | same answer as Keras | largest error "
        f"| {target.name}, predicted: ms | of as converted | this machine, measured: ms | of as converted |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        f"| Keras | | | {_percent(about.proven.top1)} | {_percent(about.proven.top5)} | | | | | | |",
    ]
    for before, after in zip(rows[::2], rows[1::2], strict=True):
        as_converted = {**before, "predicted_milliseconds": after["predicted_as_converted"], "predicted_ratio": 1.0}
        lines += [_line(as_converted, before), _line(after, before)]
    kind = "measured there, operator by operator" if target.measured else "a model, not a measurement"
    lines += [
        "",
        f"{about.proven.images:,} images. {target.name}: {target.processor} ({kind}: {target.source}). This machine: "
        f"{about.threads} thread(s), medians of {about.runs} interleaved runs"
        f"{', CPU time' if about.threads == 1 else ''}.",
        "",
    ]
    for after in rows[1::2]:
        outside = ", ".join(f"{count} {kind}" for kind, count in after["not_delegated"].items())
        lines += [f"{after['name']}: {after['partitions']} delegate partition(s){f', without {outside}' if outside else ''}."]
        lines += [f"- {step['name']}: {step['text']}" for step in after["steps"] if step["text"]] + [""]
        lines += [layers[after["name"]], ""] if layers[after["name"]] else []
    return "\n".join(lines)


def _line(row_: dict[str, Any], before: dict[str, Any]) -> str:
    ratio = row_["milliseconds"] / before["milliseconds"]
    predicted = row_["predicted_milliseconds"]
    told = " | " if predicted is None else f"{predicted:.2f} | {row_['predicted_ratio']:.2f}"
    return (
        f"| {row_['name']} | {row_['bytes'] / 1e6:.2f} | {row_['multiply_adds'] / 1e6:.1f} | {_percent(row_['top1'])} "
        f"| {_percent(row_['top5'])} | {_percent(row_['agreement'])} | {row_['max_error']:.1e} | {told} "
        f"| {row_['milliseconds']:.2f} | {ratio:.2f} |"
    )


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
