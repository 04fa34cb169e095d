"""Pictures of a training: curves and confusion matrix.

matplotlib is imported when a picture is drawn, not before, and only its object-oriented side: no display, no pyplot.
"""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from shufflenet_tf.errors import UserError
from shufflenet_tf.evaluation.figure import INK, QUIET, TEST, TRAIN, WRONG, headline, picture
from shufflenet_tf.evaluation.intervals import with_interval
from shufflenet_tf.evaluation.metrics import TOP, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_ANNOTATED, MAX_NAMED = 20, 60  # classes whose counts, and whose names, are readable in a confusion matrix
MAX_PIXELS = 150  # classes whose cells are larger than a pixel by so much that one sees them
MAX_PAIRS, MAX_DOTS = 20, 2000


def training_curves(
    history: Sequence[Mapping[str, float]],
    path: str | os.PathLike,
    kept: int = 0,
    classes: int | None = None,
    part: float = 1.0,
) -> None:
    """Draws loss, accuracy and learning rate by epoch, and marks the epoch whose weights are kept.

    Args:
      history: a row an epoch with any of the keys epoch (default: counted from 1), loss, val_loss (nats), top1,
        val_top1, val_top5 (fractions) and learning_rate; missing, None and non-finite values leave gaps.
      path: the picture to write; its suffix gives the format.
      kept: the epoch whose weights are kept; 0: unknown.
      classes: number of classes: of five or fewer, top-5 is always 100 % and left out; None: many.
      part: of the way from the layers' first weights to those of this epoch at which they were left; see `interpolation`.

    Raises:
      UserError: matplotlib is not installed.
      OSError: the picture cannot be written.
    """
    epochs = _column(history, "epoch")
    epochs = np.where(np.isfinite(epochs), epochs, np.arange(1, len(history) + 1))
    columns = {key: _column(history, key) for key in ("loss", "val_loss", "top1", "val_top1", "val_top5")}
    columns |= {"top1": columns["top1"] * 100, "val_top1": columns["val_top1"] * 100}
    columns |= {"val_top5": columns["val_top5"] * 100, "learning_rate": _column(history, "learning_rate")}
    panels = {
        "loss (nats)": [("loss", "train", TRAIN, "-"), ("val_loss", "validation", TEST, "-")],
        "accuracy (%)": [
            ("top1", "top-1 train", TRAIN, "-"),
            ("val_top1", "top-1 validation", TEST, "-"),
            *([("val_top5", "top-5 validation", TEST, ":")] if classes is None or classes > TOP else []),
        ],
        "learning rate": [("learning_rate", "", QUIET, "-")],
    }
    panels = {title: [line for line in lines if np.isfinite(columns[line[0]]).any()] for title, lines in panels.items()}
    panels = {title: lines for title, lines in panels.items() if lines}
    with picture(path, 1.0 + 3.6 * max(len(panels), 1), 3.6) as figure:
        headline(figure, _training_result(epochs, columns, kept, part))
        for position, (title, lines) in enumerate(panels.items(), start=1):
            axes = figure.add_subplot(1, len(panels), position)
            axes.set(title=title, xlabel="epoch")
            for key, name, colour, dash in lines:
                marker = "o" if len(epochs) <= 20 else ""
                axes.plot(epochs, columns[key], dash, color=colour, label=name, marker=marker)
            _scale(axes, np.concatenate([columns[key] for key, *_ in lines]), title)
            if kept in epochs:
                name = f"{'kept' if part == 1 else 'best'}: epoch {kept}" if lines[0][1] else ""
                axes.axvline(kept, color=QUIET, linestyle="--", linewidth=1, label=name)
            if lines[0][1]:
                axes.legend(loc="best")


def confusion(matrix: np.ndarray, labels: Sequence[str], path: str | os.PathLike) -> None:
    """Draws a confusion matrix, coloured by the share of each true class.

    Up to 20 classes the cells carry their counts, up to 60 the axes carry the names; beyond that a bar chart beside the
    matrix names the pairs that are confused most often.

    Args:
      matrix: int [C, C] counts, rows the true class, columns the predicted one.
      labels: names of the C classes.
      path: the picture to write; its suffix gives the format.

    Raises:
      UserError: the shapes disagree, or matplotlib is not installed.
      OSError: the picture cannot be written.
    """
    matrix, classes = np.asarray(matrix), len(labels)
    if matrix.shape != (classes, classes) or not classes:
        raise UserError(f"A confusion matrix {list(matrix.shape)} came with {classes} labels; give [C, C] and C labels.")
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1) * 100
    pairs = _most_confused(matrix)
    side = 3.6 + 0.42 * classes if classes <= MAX_ANNOTATED else 9.0 if classes <= MAX_NAMED else 8.0
    with picture(path, max(side + 1, 5.5) + (6.5 if classes > MAX_NAMED else 0), side) as figure:
        total, right = int(matrix.sum()), int(np.trace(matrix))
        result = f"top-1 {with_interval(right, total)}: {right:,} of {total:,} right" if total else "no examples"
        if pairs:
            count, true, predicted = pairs[0]
            names = f"{shorten(labels[true], 20)} taken for {shorten(labels[predicted], 20)}"
            result += f"\nmost often confused: {names} ({count:,}×)"
        headline(figure, result)
        if classes > MAX_NAMED:
            axes, bars = figure.subplots(1, 2, width_ratios=(8, 2.2))
            _draw_pairs(bars, pairs, matrix, labels)
        else:
            axes = figure.add_subplot()
            _name_classes(axes, labels)
        image = _draw_matrix(axes, share)
        if classes > MAX_PIXELS:
            _draw_dots(axes, share, image)
        bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02, ticks=(0, 1, 5, 25, 50, 100), label="% of true class")
        bar.outline.set_visible(False)
        if classes <= MAX_ANNOTATED:
            for row, column in np.argwhere(matrix):
                colour = "white" if share[row, column] > 35 else INK
                axes.text(column, row, f"{matrix[row, column]}", ha="center", va="center", color=colour, fontsize=7.5)


def _column(history: Sequence[Mapping[str, float]], key: str) -> np.ndarray:
    """The values of one key, float64 [epochs], NaN where there is no finite one."""
    values = np.array([np.nan if row.get(key) is None else row[key] for row in history], dtype=np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _training_result(epochs: np.ndarray, columns: Mapping[str, np.ndarray], kept: int, part: float) -> str:
    """The headline: which epoch is kept, and how good it is; else the best figure that there is."""
    accuracy = [(key, where) for key, where in (("val_top1", "validation"), ("top1", "train")) if _known(columns[key])]
    losses = [(key, where) for key, where in (("val_loss", "validation"), ("loss", "train")) if _known(columns[key])]
    if not accuracy + losses:
        return "no finite figures" if len(epochs) else "no epochs"
    key, where = (accuracy + losses)[0]
    place = np.nanargmax(columns[key]) if accuracy else np.nanargmin(columns[key])
    if kept in epochs:
        place = int(np.flatnonzero(epochs == kept)[0])
    figure = f"top-1 {columns[key][place]:.1f} %" if accuracy else f"loss {columns[key][place]:.3g}"
    if kept in epochs and part < 1:
        those = "The layers' first weights are kept" if part == 0 else f"The layers are left {part:.0%} of the way"
        return f"{those}; the trained ones of epoch {kept} had {figure} on {where}"
    if kept in epochs:
        return f"Epoch {kept} is kept: {figure} on {where}"
    return f"{figure} on {where}, best at epoch {epochs[place]:g}"


def _known(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).any())


def _scale(axes: "Axes", values: np.ndarray, title: str) -> None:
    """Whole epochs below; a logarithmic scale where a linear one would flatten most of the curve."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    values = values[np.isfinite(values)]
    if title.startswith("loss") and values.min() > 0 and values.max() > 100 * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda value, _: "")
    if title.startswith("learning"):
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _draw_matrix(axes: "Axes", share: np.ndarray):
    from matplotlib.colors import PowerNorm

    axes.set(xlabel="predicted class", ylabel="true class")
    axes.grid(visible=False)
    axes.spines[["top", "right"]].set_visible(True)
    # The square root makes a share of 1 % visible: confusions are rare in a good model, and they are what one looks for.
    return axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, 0, 100), interpolation="nearest")


def _draw_dots(axes: "Axes", share: np.ndarray, image) -> None:
    """Makes the largest confusions of many classes visible, as their cells are smaller than a pixel."""
    wrong = share * (1 - np.eye(len(share)))
    places = np.argsort(wrong, axis=None, kind="stable")[::-1][:MAX_DOTS]
    places = places[wrong.flat[places] > 0]
    rows, columns = np.unravel_index(places, wrong.shape)
    # The smallest first, so that the largest lie above them.
    order = np.argsort(wrong.flat[places], kind="stable")
    shades = np.maximum(wrong.flat[places][order], 10)  # paler ones would not be seen
    axes.scatter(columns[order], rows[order], s=5, c=shades, cmap=image.cmap, norm=image.norm, linewidths=0)


def _name_classes(axes: "Axes", labels: Sequence[str]) -> None:
    names = [shorten(label, 18) for label in labels]
    size = 9 if len(names) <= MAX_ANNOTATED else 7
    upright = len(names) <= MAX_ANNOTATED and max(map(len, names)) <= 4
    rotation = {} if upright else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(len(names)), names, fontsize=size, **rotation)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.tick_params(length=0)


def _most_confused(matrix: np.ndarray) -> list[tuple[int, int, int]]:
    """Up to 20 (count, true, predicted) off the diagonal, the highest counts first."""
    wrong = matrix * (1 - np.eye(len(matrix), dtype=matrix.dtype))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MAX_PAIRS]
    pairs = zip(wrong.flat[order], *np.unravel_index(order, wrong.shape), strict=True)
    return [(int(count), int(true), int(predicted)) for count, true, predicted in pairs if count]


def _draw_pairs(axes: "Axes", pairs: Sequence[tuple[int, int, int]], matrix: np.ndarray, labels: Sequence[str]) -> None:
    axes.set_title("most confused: true class (its number) → predicted class", loc="right")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    names = [
        f"{shorten(labels[true], 24)} ({true}) → {shorten(labels[predicted], 24)} ({predicted})" for _, true, predicted in pairs
    ]
    axes.barh(range(len(pairs)), [count for count, *_ in pairs], color=WRONG, height=0.6)
    axes.set_yticks(range(len(pairs)), names, fontsize=8)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.set_ylim(MAX_PAIRS - 0.5, -0.5)
    for row, (count, true, _) in enumerate(pairs):
        axes.text(count, row, f" {count:,} ({count / matrix[true].sum():.0%})", va="center", fontsize=8)
    if not pairs:
        axes.text(0, 0, "nothing was confused", va="center")
    axes.margins(x=0.25)
