"""Charts of exported models: latency, and differences between an export and its original."""

import os
import pathlib
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from shufflenet_tf.errors import UserError
from shufflenet_tf.evaluation.figure import INK, QUIET, TEST, TRAIN, WRONG, headline, picture
from shufflenet_tf.evaluation.intervals import wilson
from shufflenet_tf.evaluation.metrics import shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from export.measure.agreement import Comparison, Verification
    from export.measure.benchmarking import Timing

SUFFIXES = (".png", ".pdf", ".svg")
TILES = 6  # images per row
SLIGHT = 0.02  # smaller differences of probabilities are not worth looking at, unless the answer changes
_ROW, _CHART = 2.1, 3.6  # height in inches of a row of images, a chart
_TITLE = 88  # characters of a line of the headline
_CONVERTED = " as converted"  # how the names of files end that were made on the way to the finished ones
GOOD_DB, POOR_DB = 20, 10  # signal-to-noise ratios: the noise has 1 and 10 % of the signal's power


def check_suffix(path: str | os.PathLike) -> None:
    """Raises a UserError if `path` doesn't have the suffix of a picture."""
    if pathlib.Path(path).suffix.lower() not in SUFFIXES:
        raise UserError(f"{os.fspath(path)} can't be drawn: give a name that ends with .png, .pdf or .svg.")


def latencies(results: "Sequence[Timing]", names: Sequence[str], path: str | os.PathLike) -> None:
    """Draws the latency of each file: each run as a dot, the median as a line.

    Args:
      results: results of `benchmark`.
      names: short names of the files.
      path: the picture to write.

    Raises:
      UserError: matplotlib is not installed.
    """
    with picture(path, 8.5, 1.5 + 0.5 * len(results)) as figure:
        fastest = min(range(len(results)), key=lambda i: results[i].median)
        ratio = results[fastest].ratio
        result = f": {names[fastest]} takes {ratio:.2f} of the time of {names[0]}" if fastest else ""
        headline(figure, f"Milliseconds per run, {_threads(results[0].threads)}{result}")
        axes = figure.add_subplot()
        rng = np.random.default_rng(0)
        # One interrupted run would compress all others into a corner.
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
    """Draws how good each file is, the images on which it differs most from its original, and the noise of int8 layers.

    Args:
      report: result of `verify`.
      path: the picture to write.

    Raises:
      UserError: matplotlib is not installed.
    """
    differing = [c for c in report.comparisons if c.max_error >= SLIGHT or c.agreement < 1]
    with_layers = [c for c in report.comparisons if c.layers]
    rows = len(report.comparisons) + (report.top1 is not None)
    heights = [0.8 + 0.24 * rows] + [_ROW] * len(differing) + [_CHART] * len(with_layers)
    title = textwrap.fill(_verdict(report), _TITLE)
    with picture(path, 9, sum(heights) + 0.3 + 0.2 * len(title.splitlines())) as figure:
        headline(figure, title)
        panels = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        _draw_figures(panels[0], report)
        for panel, comparison in zip(panels[1:], differing, strict=False):
            _draw_worst(panel, comparison, report.labels)
        for panel, comparison in zip(panels[1 + len(differing) :], with_layers, strict=True):
            _draw_layers(panel, comparison)


def _short(name: str) -> str:
    return name.removesuffix(".tflite")


def _verdict(report: "Verification") -> str:
    """The headline: how good each finished file is, or all of them where they are many."""
    finished = [c for c in report.comparisons if not _short(c.name).endswith(_CONVERTED)] or report.comparisons
    shares = [c.agreement if report.top1 is None else c.top1 for c in finished]
    if len(finished) > 4:
        files = f"the {len(finished)} files {min(shares):.1%} to {max(shares):.1%}"
    else:
        files = ", ".join(f"{shorten(_short(c.name), 30)} {share:.1%}" for c, share in zip(finished, shares, strict=True))
    if report.top1 is None:
        return f"The same answer as the original on {report.images:,} images: {files}"
    return f"Right on {report.images:,} images: the original {report.top1:.1%}, {files}"


def _draw_figures(figure: "Figure", report: "Verification") -> None:
    """A row for each file: its accuracy with the interval of 95 %, or its agreement where the images have no labels."""
    labelled = report.top1 is not None
    rows = [("original", report.top1, "", INK)] if labelled else []
    for c in report.comparisons:
        same = f"same answer as the original on {c.agreement:.1%}" if c.agreement < 1 else "always the original's answer"
        colour = QUIET if _short(c.name).endswith(_CONVERTED) else TEST
        rows.append((_short(c.name), c.top1 if labelled else c.agreement, same, colour))
    axes = figure.subplots()
    for row, (_, share, same, colour) in enumerate(rows):
        low, high = (100 * bound for bound in wilson(round(share * report.images), report.images))
        axes.plot([low, high], [row, row], color=colour, alpha=0.35, linewidth=5, solid_capstyle="butt")
        axes.plot(100 * share, row, "o", color=colour, markersize=6)
        text = f"{share:.1%}{', ' + same if same else ''}" if labelled else same
        axes.text(1.02, row, text, va="center", fontsize=8, transform=axes.get_yaxis_transform())
    axes.set_yticks(range(len(rows)), [shorten(name, 36) for name, *_ in rows], fontsize=8)
    what = "top-1 (%)" if labelled else "same answer as the original (%)"
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel=f"{what}; pale: interval of 95 % confidence")
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _draw_worst(figure: "Figure", comparison: "Comparison", labels: Sequence[str]) -> None:
    shown = "where it differs most; the original's answer above, the file's below"
    figure.suptitle(f"{_short(comparison.name)}: {shown}", x=0.01, ha="left", fontsize=9)
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
        f"{_short(comparison.name)}: how far each layer's signal is above the noise of quantization, in dB; the higher, the "
        f"better\norange: below {GOOD_DB}, red: below {POOR_DB}; measured against {_short(comparison.layers_against)}",
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
