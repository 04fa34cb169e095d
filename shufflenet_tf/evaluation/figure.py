"""The project's style of pictures: colours, fonts, and a figure that is written whole or not at all.

matplotlib is imported when a picture is drawn, not before, and only its object-oriented side: no display, no pyplot.
"""

import contextlib
import os
import pathlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from shufflenet_tf.errors import UserError
from shufflenet_tf.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can tell apart.
TRAIN, TEST, WRONG, QUIET, INK = "#E69F00", "#0072B2", "#D55E00", "#8A8A8A", "#222222"
STYLE = {
    "figure.dpi": 120,
    "savefig.dpi": 120,
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a label such as "$5 or $10" is no formula
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
}
# DejaVu Sans, which comes with matplotlib, has no East Asian glyphs; those of these that are installed fill in.
FALLBACK_FONTS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Hiragino Sans",
    "PingFang SC",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "WenQuanYi Zen Hei",
    "Arial Unicode MS",
)


@contextlib.contextmanager
def picture(path: str | os.PathLike, width: float, height: float) -> Iterator["Figure"]:
    """Yields a figure of so many inches in the project's style, and writes it to `path` at the end."""
    try:
        from matplotlib import font_manager, style
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise UserError("Pictures need matplotlib, which is not installed; run `pip install matplotlib`.") from None
    installed = {font.name for font in font_manager.fontManager.ttflist}
    fonts = {"font.family": ["DejaVu Sans", *(name for name in FALLBACK_FONTS if name in installed)]}
    # "default" first: the user's own matplotlibrc would change sizes that are tuned to each other here.
    with style.context(["default", STYLE, fonts]), warnings.catch_warnings():
        # One warning a character and drawing; a box in place of the glyph says as much.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=pathlib.Path(path).suffix[1:] or "png")


def headline(figure: "Figure", text: str) -> None:
    """Writes a title above a figure."""
    figure.suptitle(text, x=0.01, ha="left", fontsize=11, fontweight="bold")
