"""Pictures of the guidelines and of where the time goes."""

import os
from collections.abc import Mapping, Sequence

import numpy as np

from papers.guidelines.breakdown import CATEGORIES, OTHER, Breakdown
from papers.guidelines.experiments import Experiment
from papers.guidelines.verdicts import Ratios, means, verdict
from shufflenet_tf.evaluation.figure import INK, QUIET, TEST, WRONG, headline, picture

# The paper's bars are grey: what is measured here is what the eye should find.
_BARS = {"paper, GPU": "#D0D0D0", "paper, ARM": "#A0A0A0", "here, float32": TEST, "here, int8": WRONG}
_TICKS = (0.25, 0.5, 0.7, 1, 1.2, 1.5, 2, 3, 5, 7, 10, 20)
_PARTS = dict(zip((*CATEGORIES, OTHER), ("#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#CC79A7", "#009E73", QUIET), strict=True))


def guidelines(experiments: Sequence[Experiment], measured: Ratios, path: str | os.PathLike) -> None:
    """Draws a panel a guideline: times relative to the recommended variant, here and in the paper.

    Args:
      experiments: of the paper.
      measured: by (guideline, kind), [variants, columns]; a kind that's missing gets no bar.
      path: the picture to write.

    Raises:
      UserError: matplotlib is not installed.
    """
    rows = -(-len(experiments) // 2)
    with picture(path, 12, 3.7 * rows + 0.6) as figure:
        headline(figure, "ShuffleNet V2's guidelines: time relative to the recommended variant (bars: means; dots: the widths)")
        panels = list(figure.subplots(rows, min(2, len(experiments)), squeeze=False).flat)
        for axes in panels[len(experiments) :]:
            axes.axis("off")
        for axes, experiment in zip(panels, experiments, strict=False):
            _panel(axes, experiment, measured)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))


def _panel(axes, experiment: Experiment, measured: Ratios) -> None:
    own = {kind: measured[experiment.key, kind] for kind in ("float32", "int8") if (experiment.key, kind) in measured}
    bars = {"paper, GPU": experiment.paper("gpu"), "paper, ARM": experiment.paper("arm")}
    bars |= {f"here, {kind}": ratios for kind, ratios in own.items()}
    said = "; ".join(f"{verdict(ratios)} in {kind}" for kind, ratios in own.items())
    axes.set_title(f"{experiment.key}: {experiment.guideline}\n{said}", fontsize=9)
    at, width = np.arange(len(experiment.variants)), 0.8 / len(bars)
    for i, (name, ratios) in enumerate(bars.items()):
        x = at + (i - (len(bars) - 1) / 2) * width
        axes.bar(x, means(ratios) - 1, width * 0.92, bottom=1, color=_BARS[name], label=name)
        for column in ratios.T:
            axes.plot(x, column, ".", color=INK, markersize=3)
        above = {"xytext": (0, 3), "textcoords": "offset points", "ha": "center"}
        for place, mean, own in list(zip(x, means(ratios), ratios, strict=True))[1:]:  # the first one's is 1
            axes.annotate(f"{mean:.2f}", (place, max(mean, 1.0, *own)), fontsize=6.5, **above)
    axes.axhline(1, color=INK, linewidth=0.8)
    low, high = (extreme([extreme(ratios) for ratios in bars.values()]) for extreme in (np.min, np.max))
    axes.set(yscale="log", ylim=(0.88 * low, 1.2 * high), xlabel=experiment.varied, ylabel="times as long, logarithmic")
    axes.set_yticks([tick for tick in _TICKS if 0.88 * low <= tick <= 1.2 * high])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.minorticks_off()
    axes.set_xticks(at, [variant.label for variant in experiment.variants])
    axes.grid(visible=False, axis="x")


def breakdowns(found: Mapping[str, Breakdown], path: str | os.PathLike) -> None:
    """Draws a bar a file with the share of each category of operators.

    Args:
      found: by the file's name.
      path: the picture to write.

    Raises:
      UserError: matplotlib is not installed.
    """
    with picture(path, 11, 1.3 + 0.36 * len(found)) as figure:
        headline(figure, "Where the time goes, by kind of operator")
        axes = figure.add_subplot()
        left = np.zeros(len(found))
        for name, colour in _PARTS.items():
            shares = np.array([100 * own.shares.get(name, 0.0) for own in found.values()])
            if shares.any():
                axes.barh(range(len(found)), shares, 0.75, left, color=colour, label=name)
                for row, (start, share) in enumerate(zip(left, shares, strict=True)):
                    if share >= 4:
                        axes.text(start + share / 2, row, f"{share:.0f}", ha="center", va="center", color="white", fontsize=8)
                left += shares
        for row, own in enumerate(found.values()):
            axes.text(101, row, f"{own.whole:.2f} ms", va="center", fontsize=8)
        axes.set_yticks(range(len(found)), list(found))
        axes.set(xlim=(0, 100), ylim=(len(found) - 0.5, -0.5), xlabel="% of the sum of its operators")
        axes.grid(visible=False)
        figure.legend(loc="outside lower center", ncols=len(_PARTS))
