"""A picture of calibration: how often answers of each confidence are right, before and after temperature scaling."""

import os

import numpy as np

from shufflenet_tf.evaluation.calibration import Reliability
from shufflenet_tf.evaluation.figure import INK, QUIET, TEST, TRAIN, headline, picture


def draw(before: Reliability, after: Reliability, temperature: float, path: str | os.PathLike) -> None:
    """Draws accuracy by confidence in bins, beside the diagonal of a model that knows how sure it may be.

    Args:
      before: of the network as trained.
      after: of the calibrated network.
      temperature: by which its logits were divided.
      path: the picture to write; its suffix gives the format.

    Raises:
      UserError: matplotlib is not installed.
      OSError: the picture cannot be written.
    """
    photos = int(after.counts.sum())
    with picture(path, 7.6, 4.6) as figure:
        errors = f"calibration error {before.error:.1%} before, {after.error:.1%} after"
        headline(figure, f"{errors} dividing the logits by {temperature:.2f}\n{photos:,} test photos, {len(after.counts)} bins")
        rows = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=(3, 1))
        limit = max(before.counts.max(), after.counts.max())
        for column, (result, title, colour) in enumerate(((before, "before", TRAIN), (after, "after", TEST))):
            _draw_bins(rows[0][column], result, title, colour)
            _draw_counts(rows[1][column], result, colour, limit)
        rows[0][0].set_ylabel("share that is right")
        rows[1][0].set_ylabel("photos")


def _draw_bins(axes, result: Reliability, title: str, colour: str) -> None:
    bins = len(result.counts)
    full = np.flatnonzero(result.counts)
    axes.plot([0, 1], [0, 1], "--", color=QUIET, linewidth=1)
    axes.bar((full + 0.5) / bins, result.accuracy[full], width=0.9 / bins, color=colour, alpha=0.45)
    # The gap that the error counts: from the mean confidence on the diagonal to the share that is right.
    axes.vlines(result.confidence[full], result.confidence[full], result.accuracy[full], color=INK, linewidth=1.2)
    axes.plot(result.confidence[full], result.accuracy[full], "o", color=INK, markersize=3)
    axes.set(title=f"{title}: error {result.error:.1%}", xlim=(0, 1), ylim=(0, 1.02))


def _draw_counts(axes, result: Reliability, colour: str, limit: int) -> None:
    bins = len(result.counts)
    axes.bar((np.arange(bins) + 0.5) / bins, result.counts, width=0.9 / bins, color=colour, alpha=0.45)
    axes.set(xlabel="probability of the likeliest class", ylim=(0, limit * 1.05))
