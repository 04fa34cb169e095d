"""Pictures of exported models: latency, and where an export differs from its original."""

import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from shufflenet_tf.errors import UserError
from shufflenet_tf.evaluation.figure import INK, TEST, TRAIN, WRONG, headline, picture
from shufflenet_tf.evaluation.metrics import shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from export.measure.agreement import Comparison, Verification
    from export.measure.benchmarking import Timing

SUFFIXES = (".png", ".pdf", ".svg")
TILES = 6  # images a row
EQUAL = 1e-5  # differences of probabilities below this are rounding
_ROW, _LINE, _CHART = 2.1, 0.3, 3.6  # inches: a row of images, a line of text, a chart
GOOD_DB, POOR_DB = 20, 10  # signal-to-noise ratios: the noise has 1 and 10 % of the signal's power


def check_suffix(path: str | os.PathLike) -> None:
    """Raises a UserError if `path` doesn't end as a picture's name does."""
    if pathlib.Path(path).suffix.lower() not in SUFFIXES:
        raise UserError(f"{os.fspath(path)} can't be drawn: give a name that ends with .png, .pdf or .svg.")


def latencies(results: "Sequence[Timing]", names: Sequence[str], path: str | os.PathLike) -> None:
    """Draws the time of each file: every run as a dot, the median as a line.

    Args:
      results: of `benchmark`.
      names: of the files.
      path: the picture to write.

    Raises:
      UserError: matplotlib is not installed.
    """
    with picture(path, 8.5, 1.5 + 0.5 * len(results)) as figure:
        fastest = min(range(len(results)), key=lambda i: results[i].median)
        ratio = results[fastest].ratio
        result = f": {names[fastest]} takes {ratio:.2f} of the time of {names[0]}" if fastest else ""
        headline(figure, f"Milliseconds a run, {_threads(results[0].threads)}{result}")
        axes = figure.add_subplot()
        rng = np.random.default_rng(0)
        # A run that something else interrupted would squeeze all others into a corner.
        limit = 1.08 * max(float(np.percentile(r.milliseconds, 95)) for r in results)
        for row, r in enumerate(results):
            times = np.asarray(r.milliseconds)
            shown = times[times <= limit]
            axes.plot(shown, row + rng.uniform(-0.2, 0.2, len(shown)), ".", color=TEST, alpha=0.35, markersize=5, mew=0)
            axes.plot([r.median] * 2, [row - 0.34, row + 0.34], color=WRONG, linewidth=2)
            out = f"   {len(times) - len(shown)} slower" if len(shown) < len(times) else ""
            text = f"{r.median:.3f} ms   ×{r.ratio:.2f}   {r.rate:.0f} GMAC/s{out}"
            axes.text(1.01, row, text, va="center", fontsize=8, transform=axes.get_yaxis_transform())
        axes.set_yticks(range(len(results)), [shorten(name, 40) for name in names])
        axes.set(ylim=(len(results) - 0.5, -0.5), xlim=(0, limit), xlabel=f"ms; line: median of {len(results[0].milliseconds)}")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)


def _threads(number: int) -> str:
    return "1 thread" if number == 1 else f"{number} threads"


def verification(report: "Verification", path: str | os.PathLike) -> None:
    """Draws, for each file, the images on which it differs most from its original, and the noise by layer of int8 files.

    Args:
      report: of `verify`.
      path: the picture to write.

    Raises:
      UserError: matplotlib is not installed.
    """
    with_layers = [c for c in report.comparisons if c.layers]
    heights = [_ROW if c.max_error >= EQUAL else _LINE for c in report.comparisons] + [_CHART] * len(with_layers)
    with picture(path, 9, sum(heights) + 0.5) as figure:
        closest = min(c.agreement for c in report.comparisons)
        headline(
            figure, f"{report.name} against its exports, {report.images:,} images: the answer is the same on {closest:.2%}"
        )
        rows = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        for row, comparison in zip(rows, report.comparisons, strict=False):
            _draw_worst(row, comparison, report.labels)
        for row, comparison in zip(rows[len(report.comparisons) :], with_layers, strict=True):
            _draw_layers(row, comparison)


def _draw_worst(figure: "Figure", comparison: "Comparison", labels: Sequence[str]) -> None:
    equal = comparison.max_error < EQUAL
    shown = f"probabilities differ by {comparison.max_error:.1e} at most" if equal else "original's answer above, file's below"
    figure.suptitle(f"{comparison.name}: {shown}", x=0.01, ha="left", fontsize=9)
    if equal:
        return
    images = [*comparison.worst, *[None] * (TILES - len(comparison.worst))]
    for axes, image in zip(figure.subplots(1, TILES), images, strict=True):
        axes.axis("off")
        if image is None:
            continue
        axes.imshow(image.pixels)
        before, after = (f"{shorten(labels[i], 13)} {p:.1%}" for i, p in (image.reference, image.candidate))
        axes.set_title(before, loc="center", fontsize=7.5, pad=3)
        text = f"{after}\nlargest error {image.difference:.1%}"
        colour = INK if image.reference[0] == image.candidate[0] else WRONG
        axes.text(0.5, -0.04, text, ha="center", va="top", fontsize=7.5, color=colour, transform=axes.transAxes)


def _draw_layers(figure: "Figure", comparison: "Comparison") -> None:
    layers = comparison.layers
    axes = figure.subplots()
    axes.set_title(
        f"{comparison.name}: signal to quantization noise of each layer, against {comparison.layers_against}\n"
        f"orange: below {GOOD_DB} dB, red: below {POOR_DB}",
        fontsize=9,
    )
    ratios = np.array([layer.sqnr for layer in layers])
    bars = np.clip(ratios, -5, 60)  # a layer without any error would be infinitely high
    colours = [TEST if value >= GOOD_DB else TRAIN if value >= POOR_DB else WRONG for value in ratios]
    axes.bar(range(len(layers)), bars, color=colours, width=0.8)
    axes.set(ylabel="dB", xlim=(-0.7, len(layers) - 0.3))
    axes.grid(visible=False, axis="x")
    step = -(-len(layers) // 80)
    names = [shorten(layer.short_name, 28) for layer in layers[::step]]
    axes.set_xticks(range(0, len(layers), step), names, fontsize=6, rotation=90)
    axes.tick_params(axis="x", length=0)
