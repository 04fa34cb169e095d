"""A picture of classified photos: each above the bars of its likeliest classes."""

import os
from collections.abc import Sequence

import numpy as np

from shufflenet_tf.errors import UserError
from shufflenet_tf.evaluation.figure import QUIET, TEST, TRAIN, WRONG, headline, picture
from shufflenet_tf.evaluation.metrics import shorten

MAX_SHOWN, PHOTOS_A_ROW = 48, 6
_WIDTH, _BAR = 2.1, 0.21  # inches


def classified(
    images: Sequence[np.ndarray],
    names: Sequence[str],
    tops: Sequence[Sequence[tuple[str, float]]],
    path: str | os.PathLike,
    total: int | None = None,
    sure: Sequence[bool] | None = None,
) -> None:
    """Draws photos with a bar for each of their likeliest classes.

    Args:
      images: K of uint8 [H, W, 3], RGB; the first 48 are shown.
      names: captions of the K photos, such as their files' names.
      tops: for each photo its (label, probability), the likeliest first; as many for each.
      path: the picture to write; its suffix gives the format.
      total: number of all photos, if these are not all.
      sure: whether each of the K answers is sure; "not sure" is written on the others. None: all are.

    Raises:
      UserError: no photo, lengths that disagree, or matplotlib is not installed.
      OSError: the picture cannot be written.
    """
    if not len(images) == len(names) == len(tops) or not len(images):
        raise UserError(
            f"{len(images)} photos came with {len(names)} names and {len(tops)} results; give one or more, of each."
        )
    total, shown = max(total or 0, len(images)), min(len(images), MAX_SHOWN)
    columns = min(shown, PHOTOS_A_ROW)
    rows = -(-shown // columns)
    bars = max(map(len, tops))
    height, width = images[0].shape[:2]
    heights = (_WIDTH * min(height / width, 2), _BAR * bars)
    # One or two photos would leave no room for the headline.
    with picture(path, max(_WIDTH * columns, 3.4) + 0.3, (sum(heights) + 0.4) * rows + 0.5) as figure:
        figure.get_layout_engine().set(h_pad=0.02, hspace=0)
        headline(figure, f"{shown} of {total:,} photos" if shown < total else "1 photo" if total == 1 else f"{total} photos")
        grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=heights * rows)
        for axes in grid.flat:
            axes.axis("off")
        for index in range(shown):
            row, column = divmod(index, columns)
            photo, axes = grid[2 * row, column], grid[2 * row + 1, column]
            photo.imshow(images[index])
            photo.set_title(shorten(names[index], 26), loc="center", fontsize=8, pad=3, color=QUIET)
            answered = sure is None or sure[index]
            if not answered:
                box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 2}
                place = {"ha": "center", "va": "bottom", "transform": photo.transAxes}
                photo.text(0.5, 0.03, "not sure", fontsize=9, fontweight="bold", color=WRONG, bbox=box, **place)
            _draw_bars(axes, tops[index], bars, answered)


def _draw_bars(axes, top: Sequence[tuple[str, float]], bars: int, sure: bool) -> None:
    places = range(len(top))
    colours = [TEST if sure else QUIET] + [TRAIN if sure else QUIET] * (len(top) - 1)
    # Pale, as the labels are written on them: beside them there is no room for both.
    axes.barh(places, [1] * len(top), height=0.86, color="#F2F2F2")
    axes.barh(places, [probability for _, probability in top], height=0.86, color=colours, alpha=0.45)
    for place, (label, probability) in enumerate(top):
        weight = "bold" if place == 0 and sure else "normal"
        axes.text(0.02, place, shorten(label, 22), va="center", fontsize=7.5, fontweight=weight)
        axes.text(0.98, place, f"{probability:.1%}", va="center", ha="right", fontsize=7.5, fontweight=weight)
    axes.set(xlim=(0, 1), ylim=(bars - 0.5, -0.5))
