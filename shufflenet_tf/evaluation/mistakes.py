"""What a classifier gets wrong, photo by photo: a contact sheet, and a table of the files.

A mistake that the network is sure of is often a photo in the wrong folder; the table's first rows are the place to look.
"""

import csv
import os
from collections.abc import Sequence

import numpy as np

from shufflenet_tf.errors import UserError
from shufflenet_tf.evaluation.figure import QUIET, WRONG, headline, picture
from shufflenet_tf.evaluation.metrics import shorten
from shufflenet_tf.files import atomic_path

MAX_TILES, TILES_A_ROW = 96, 8


def mistakes(
    images: np.ndarray,
    true: Sequence[int],
    predicted: Sequence[int],
    probabilities: Sequence[float],
    labels: Sequence[str],
    path: str | os.PathLike,
    names: Sequence[str] = (),
    total: int | None = None,
) -> None:
    """Draws a contact sheet of wrongly classified images, in the order given.

    Args:
      images: uint8 RGB [K, H, W, 3]; the first 96 are shown, and K = 0 gives a picture that says so.
      true, predicted: K class indices each.
      probabilities: K probabilities of the predicted class.
      labels: names of the classes.
      path: the picture to write; its suffix gives the format.
      names: K captions, such as the files' names; empty: none.
      total: number of all mistakes, if these are not all.

    Raises:
      UserError: the lengths disagree, or matplotlib is not installed.
      OSError: the picture cannot be written.
    """
    count = len(images)
    if not count == len(true) == len(predicted) == len(probabilities) or len(names) not in (0, count):
        raise UserError(
            f"{count} images came with {len(true)} true classes, {len(predicted)} predicted ones, {len(probabilities)} "
            f"probabilities and {len(names)} names; give as many of each."
        )
    if not count:
        with picture(path, 6, 1.2) as figure:
            figure.text(0.5, 0.5, "No mistakes: every image was classified correctly.", ha="center", va="center")
        return
    total, shown = max(total or 0, count), min(count, MAX_TILES)
    columns = min(max(shown, 4), TILES_A_ROW)
    rows = -(-shown // columns)
    height, width = images[0].shape[:2]
    tile_height = 1.5 * min(height / width, 2) + (0.58 if names else 0.45)
    with picture(path, 1.5 * columns + 0.2, tile_height * rows + 0.5) as figure:
        number = f"{shown} of {total:,} mistakes" if shown < total else "1 mistake" if total == 1 else f"{total} mistakes"
        headline(figure, f"{number}, predicted above, true class below, the surest first")
        for index, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
            axes.axis("off")
            if index < shown:
                axes.imshow(images[index])
                name = shorten(labels[predicted[index]], 14)
                axes.set_title(f"{name} {probabilities[index]:.0%}", loc="center", color=WRONG, fontsize=8, pad=3)
                below = {"ha": "center", "va": "top", "transform": axes.transAxes}
                caption = f"\n{_end(names[index], 22)}" if names else ""
                axes.text(0.5, -0.03, shorten(labels[true[index]], 18), fontsize=8, **below)
                axes.text(0.5, -0.05, caption, fontsize=6.5, color=QUIET, **below)


def mistakes_table(
    probabilities: np.ndarray, targets: np.ndarray, labels: Sequence[str], path: str | os.PathLike, files: Sequence[str] = ()
) -> None:
    """Writes a CSV file of all wrongly classified images, those first that the network is surest of.

    Its columns are file (or, without files, index), true, predicted, probability and probability_of_true.

    Args:
      probabilities: float [N, C].
      targets: int [N], true classes.
      labels: names of the C classes.
      path: the file to write.
      files: the path of each of the N images; empty: the table has their indices, from 0.

    Raises:
      OSError: the file cannot be written.
    """
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != targets)
    wrong = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")]
    # The mark at the start tells spreadsheets that names are in UTF-8; not every file's name is text.
    with (
        atomic_path(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8-sig", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(("file" if files else "index", "true", "predicted", "probability", "probability_of_true"))
        for i in wrong.tolist():
            true, answer = int(targets[i]), int(predicted[i])
            figures = (f"{probabilities[i, answer]:.4f}", f"{probabilities[i, true]:.4f}")
            writer.writerow((files[i] if files else i, labels[true], labels[answer], *figures))


def _end(name: str, columns: int) -> str:
    """The end of a long name, where files differ."""
    name = name.encode(errors="replace").decode()
    return name if len(name) <= columns else f"…{name[1 - columns :]}"
