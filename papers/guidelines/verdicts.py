"""Verdicts: which guidelines hold on this machine, as sentences."""

from collections.abc import Mapping, Sequence

import numpy as np

from papers.guidelines.experiments import Experiment

EQUAL = 0.03  # smaller relative differences of time count as equal
Ratios = Mapping[tuple[str, str], np.ndarray]  # (guideline, kind) -> times relative to the first variant, [variants, columns]


def means(ratios: np.ndarray) -> np.ndarray:
    """Returns geometric means over the columns, one per variant."""
    return np.exp(np.log(ratios).mean(axis=1))


def verdict(ratios: np.ndarray) -> str:
    """Returns "holds", "holds in part" or "does not hold": whether all, some or no variants are slower than the first one.

    Args:
      ratios: times relative to the recommended variant, [variants, columns].
    """
    slower = means(ratios)[1:] > 1 + EQUAL
    return "holds" if slower.all() else "holds in part" if slower.any() else "does not hold"


def sentences(experiments: Sequence[Experiment], measured: Ratios) -> list[str]:
    """Returns a sentence for each guideline and kind, with the measured and the paper's ratios."""
    result = []
    for experiment in experiments:
        labels = [variant.label for variant in experiment.variants[1:]]
        paper = ", ".join(f"{ratio:.2f}" for ratio in means(experiment.paper("arm"))[1:])
        for kind in dict.fromkeys(kind for key, kind in measured if key == experiment.key):
            ratios = measured[experiment.key, kind]
            figures = ", ".join(f"{ratio:.2f} ({label})" for label, ratio in zip(labels, means(ratios)[1:], strict=True))
            result.append(
                f"{experiment.key} ({experiment.guideline}) {verdict(ratios)} in {kind}: {experiment.varied}, "
                f"time relative to {experiment.variants[0].label!r}: {figures} (paper's ARM: {paper})."
            )
    return result
