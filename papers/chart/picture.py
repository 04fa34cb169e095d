"""The chart of accuracy against latency as a picture, a panel a kind of file."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from papers.chart.points import FAMILIES, Point, pareto_front
from shufflenet_tf.errors import UserError
from shufflenet_tf.evaluation.figure import INK, QUIET, headline, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, yellow replaced by a darker one; markers tell families apart without colours.
COLOURS = ("#0072B2", "#D55E00", "#CC79A7", "#009E73", "#E69F00", "#7A4FD0", "#8F7700", "#777777")
MARKERS = "osD^vP*X"
_FONT = 6.5  # points
_CHARACTER = (0.61, 1.25)  # width and height of a character as multiples of the font's size


def draw(points: Sequence[Point], path: str | os.PathLike) -> None:
    """Draws accuracy against latency, with a line through the networks that no other beats in both.

    Args:
      points: of files; each kind gets a panel.
      path: the picture to write.

    Raises:
      UserError: no points, a time that is not positive, or matplotlib is not installed.
    """
    if not points or min(point.milliseconds for point in points) <= 0:
        raise UserError("The chart needs measurements of one or more files, in milliseconds above 0.")
    kinds = sorted({point.kind for point in points}, reverse=True)
    with picture(path, 2 + 5.5 * len(kinds), 6.4) as figure:
        headline(figure, "Published accuracy against latency here; the line joins the networks that no other beats in both")
        panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
        for axes, kind in zip(panels, kinds, strict=True):
            _panel(axes, [point for point in points if point.kind == kind])
            axes.set_title(kind)
        panels[0].set_ylabel("top-1 accuracy on ImageNet (%)")
        shown = [family for family in FAMILIES if any(point.family == family for point in points)]
        figure.legend(handles=[_handle(family) for family in shown], loc="outside lower center", ncols=len(shown), fontsize=8)
        figure.draw_without_rendering()  # only then are places in pixels known
        for axes, kind in zip(panels, kinds, strict=True):
            _place_labels(figure, axes, [point for point in points if point.kind == kind])


def _style(family: str) -> dict[str, str]:
    i = FAMILIES.index(family)
    return {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}


def _handle(family: str):
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="", markersize=6, label=family, **_style(family))


def _panel(axes: "Axes", points: Sequence[Point]) -> None:
    axes.set(xscale="log", xlabel="ms a picture, 224 px, logarithmic")
    front = [points[i] for i in pareto_front([(point.milliseconds, point.accuracy) for point in points])]
    axes.step([p.milliseconds for p in front], [p.accuracy for p in front], where="post", color=QUIET, linewidth=1, zorder=1)
    for point in points:
        edge = INK if point in front else "none"
        style = {**_style(point.family), "markeredgecolor": edge, "markeredgewidth": 0.8}
        axes.plot(point.milliseconds, point.accuracy, markersize=6, zorder=3 if point in front else 2, **style)
    axes.margins(x=0.08, y=0.05)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(_sparse_minor(axes))
    axes.tick_params(axis="x", which="minor", labelsize=7)


def _sparse_minor(axes: "Axes"):
    """Labels 2 and 5 of each decade; all of them if there is little more than one."""

    def label(value: float, _) -> str:
        low, high = axes.get_xlim()
        digit = round(value / 10 ** np.floor(np.log10(value)))
        return f"{value:g}" if digit in (2, 5) or high < 4 * low else ""

    return label


def _place_labels(figure: "Figure", axes: "Axes", points: Sequence[Point]) -> None:
    """Writes each label beside its dot where it covers nothing; those of the front first, the last ones maybe not at all."""
    pixel = figure.dpi / 72
    width, height = (_FONT * pixel * factor for factor in _CHARACTER)
    front = set(pareto_front([(point.milliseconds, point.accuracy) for point in points]))
    dots = axes.transData.transform([(point.milliseconds, point.accuracy) for point in points])
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in dots]
    frame = axes.get_window_extent()
    for i in sorted(range(len(points)), key=lambda i: (i not in front, i)):
        point, (x, y) = points[i], dots[i]
        w = width * len(point.label)
        for dx, dy in _places(w, height, 5 * pixel, i in front):
            box = (x + dx, y + dy, x + dx + w, y + dy + height)
            inside = frame.x0 <= box[0] and box[2] <= frame.x1 and frame.y0 <= box[1] and box[3] <= frame.y1
            others = taken[:i] + taken[i + 1 :]
            if inside and not any(a < box[2] and box[0] < c and b < box[3] and box[1] < d for a, b, c, d in others):
                taken.append(box)
                shift = ((dx + w / 2) / pixel, (dy + height / 2) / pixel)
                place = {"xytext": shift, "textcoords": "offset points", "ha": "center", "va": "center"}
                colour = COLOURS[FAMILIES.index(point.family) % len(COLOURS)]
                weight = "bold" if i in front else "normal"
                at = (point.milliseconds, point.accuracy)
                text = axes.annotate(point.label, at, fontsize=_FONT, color=colour, fontweight=weight, **place)
                text.set_in_layout(False)  # it's inside already; the layout would weigh each
                break


def _places(width: float, height: float, gap: float, on_front: bool) -> list[tuple[float, float]]:
    """Returns where a label may stand, as its lower left corner relative to the dot, the best place first."""
    left, right, middle, above, below = -gap - width, gap, -width / 2, gap / 2, -height - gap / 2
    places = [(right, -height / 2), (left, -height / 2), (middle, gap), (middle, -gap - height)]
    places += [(right, above), (right, below), (left, above), (left, below)]
    # The line comes from below and goes to the right.
    return [(left, above), (middle, gap), (left, -height / 2), *places] if on_front else places
