"""A picture of where a network looks: each photo beside itself with the places that speak for the answer in colours."""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from shufflenet_tf.errors import UserError
from shufflenet_tf.evaluation.figure import INK, QUIET, WRONG, headline, picture
from shufflenet_tf.evaluation.metrics import shorten

MAX_SHOWN, PAIRS_A_ROW = 48, 3
_TILE, _GAP = 1.7, 4  # inches, pixels
_DIMMED, _OPAQUE = 0.6, 0.75  # of the photo's brightness; of the colours where most speaks for the answer


@dataclasses.dataclass(frozen=True, eq=False)
class Look:
    """A photo and where the network looked.

    Attributes:
      image: uint8 RGB [H, W, 3].
      heat: float [h, w], 0 to 1, of the answer.
      answer: label of the predicted class.
      probability: of the answer, 0 to 1.
      true: label of the true class; None: unknown.
      name: caption, such as the file's name.
    """

    image: np.ndarray
    heat: np.ndarray
    answer: str
    probability: float
    true: str | None = None
    name: str = ""


def attention(looks: Sequence[Look], path: str | os.PathLike, total: int | None = None) -> None:
    """Draws photos beside their heat maps; wrong answers are red and name the true class.

    Args:
      looks: the first 48 are shown.
      path: the picture to write; its suffix gives the format.
      total: number of all photos, if these are not all.

    Raises:
      UserError: there are no photos, or matplotlib is not installed.
      OSError: the picture cannot be written.
    """
    if not looks:
        raise UserError("There is no photo to draw: give one or more.")
    shown = looks[:MAX_SHOWN]
    total = max(total or 0, len(looks))
    columns = min(len(shown), PAIRS_A_ROW)
    rows = -(-len(shown) // columns)
    height, width = shown[0].image.shape[:2]
    tile = _TILE * min(height / width, 2)
    # Room for the headline even above one photo.
    with picture(path, max(2 * _TILE * columns, 5.2) + 0.3, (tile + 0.42) * rows + 0.45) as figure:
        some = f"{len(shown)} of {total:,} photos. " if len(shown) < total else ""
        headline(figure, f"{some}The brighter, the more it speaks for the answer")
        figure.get_layout_engine().set(h_pad=0.02, hspace=0)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.axis("off")
        for axes, look in zip(grid.flat, shown, strict=False):
            axes.imshow(_pair(look))
            wrong = look.true is not None and look.true != look.answer
            answer = f"{shorten(look.answer, 20)} {look.probability:.0%}"
            answer += f", but it is {shorten(look.true, 20)}" if wrong else ""
            axes.set_title(answer, loc="left", fontsize=8, pad=3, color=WRONG if wrong else INK)
            caption = {"fontsize": 7, "color": QUIET, "va": "top", "transform": axes.transAxes}
            axes.text(0, -0.02, shorten(look.name, 46), **caption)


def _pair(look: Look) -> np.ndarray:
    """The photo beside its heat map, uint8 [H, 2 W + gap, 3]."""
    from matplotlib import colormaps
    from PIL import Image

    image = look.image.astype(np.float32)
    height, width = image.shape[:2]
    heat = Image.fromarray(look.heat.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    heat = np.clip(np.asarray(heat), 0, 1)
    # Colours are mixed into a grey photo: mixed with its own, they would say something else on each photo.
    grey = image.mean(axis=-1, keepdims=True) * _DIMMED
    opacity = (_OPAQUE * heat)[..., None]
    beside = grey * (1 - opacity) + colormaps["inferno"](heat)[..., :3] * 255 * opacity
    gap = np.full((height, _GAP, 3), 255, np.float32)
    return np.concatenate([image, gap, beside], axis=1).astype(np.uint8)
