"""The verdict of an export in a few sentences: which file to take, what it loses, and how fast it is on the target."""

import pathlib

from export.report.records import ExportedModel, ExportResults

ACCEPTED = 0.01  # drop of top-1 up to which int8 is worth its speed


def best(results: ExportResults) -> ExportedModel:
    """Returns the file to take: int8 unless it loses more than a point, else the smallest of the others."""
    by_kind = {exported.kind: exported for exported in results.models}
    int8 = by_kind.get("int8")
    if int8 is not None and (loss(results, int8) <= ACCEPTED or len(by_kind) == 1):
        return int8
    others = [exported for kind, exported in by_kind.items() if kind != "int8"]
    return min(others, key=lambda exported: len(exported.optimized.content))


def loss(results: ExportResults, exported: ExportedModel) -> float:
    """Returns the drop of top-1 from Keras (0-1; below zero: a gain); without labels, the share of other answers."""
    comparison = results.figures[exported.file_name].comparison
    if results.verification.top1 is None or comparison.top1 is None:
        return 1 - comparison.agreement
    return results.verification.top1 - comparison.top1


def text(results: ExportResults, folder: pathlib.Path) -> str:
    """Returns the verdict; `folder` holds the files."""
    taken, images = best(results), results.verification.images
    lines = [f"Take {folder / taken.file_name}, {len(taken.optimized.content) / 1e6:.2f} MB: {_quality(results, taken)}."]
    after = taken.predicted[1]
    if after is not None:
        lines[0] = f"{lines[0][:-1]}, and about {after:.1f} ms for a photo on the target {results.target.name} (predicted)."
    if taken.kind != "int8" and (int8 := {exported.kind: exported for exported in results.models}.get("int8")):
        lines.append(
            f"{int8.file_name} loses more: {_quality(results, int8)}. With --max_drop=0.5, export.tflite keeps the layers in "
            "floating point that lose most."
        )
    if images < 100:
        lines.append(f"{images} test photos say little: a photo more or less is {1 / images:.1%}.")
    return "\n".join(lines)


def _quality(results: ExportResults, exported: ExportedModel) -> str:
    comparison, images = results.figures[exported.file_name].comparison, results.verification.images
    if results.verification.top1 is None or comparison.top1 is None:
        return f"it agrees with Keras on {comparison.agreement:.1%} of {images:,} photos"
    points = loss(results, exported) * 100
    change = (
        "as in Keras" if round(points, 1) == 0 else f"{abs(points):.1f} points {'less' if points > 0 else 'more'} than in Keras"
    )
    return f"it names {comparison.top1:.1%} of {images:,} test photos rightly, {change}"
