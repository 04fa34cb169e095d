"""Cross-validation: a run for each fold, tested on photos that it was not trained on, so that every photo is tested once.

For small sets: 40 test photos say little, and which ones they are is luck.
"""

import json
import os
import pathlib
from collections.abc import Callable

import numpy as np

from shufflenet_tf.data import Source
from shufflenet_tf.errors import UserError
from shufflenet_tf.evaluation.intervals import mean_and_spread, wilson, with_interval
from shufflenet_tf.files import atomic_path
from shufflenet_tf.loading import METRICS

KEY = "cross_validation"  # in metrics.json


def parsed(fold: str) -> tuple[int, int] | None:
    """Returns the number and the number of all folds of a text such as "1/5"; None: it is empty."""
    number, _, folds = fold.partition("/")
    return (int(number), int(folds)) if fold else None


def check(folds: int, source: Source) -> None:
    """Raises a UserError if a source can't be divided into so many folds; 0: it need not be."""
    if folds == 1:
        raise UserError("--folds=1 would test on all photos that it trains on: give 2 or more, or 0 for no cross-validation.")
    if folds and not source.train.files:
        raise UserError(f"{source.name} can't be divided into folds: give a folder of photos, or no --folds.")


def cross_validate(train: Callable[..., object], folder: str | os.PathLike, folds: int) -> str:
    """Runs all folds, each in a folder of its own in `folder`, and adds the result to the run's metrics.json.

    Args:
      train: trains and tests one fold, given `fold`, such as "1/5", and `output`, its folder.
      folder: of the finished run.
      folds: number of folds, at least 2.

    Returns:
      The result, for a terminal.
    """
    folder = pathlib.Path(folder)
    figures = []
    for number in range(1, folds + 1):
        place = folder / f"fold{number}_of_{folds}"
        print(f"\nFold {number} of {folds}, into {place}", flush=True)
        train(fold=f"{number}/{folds}", output=os.fspath(place))
        figures.append(json.loads((place / METRICS).read_text(encoding="utf-8"))["test"])
    result = summary(figures)
    metrics = json.loads((folder / METRICS).read_text(encoding="utf-8")) | {KEY: result}
    with atomic_path(folder / METRICS) as temporary:
        temporary.write_text(json.dumps(metrics, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return text(result)


def summary(figures: list[dict]) -> dict:
    """Returns mean, spread and all photos' figures, as JSON types, of the folds' `Evaluation.to_json`."""
    shares = [fold["top1"] for fold in figures]
    mean, spread = mean_and_spread(shares)
    confusion = np.sum([fold["confusion"] for fold in figures], axis=0)
    right, total = int(np.trace(confusion)), int(confusion.sum())
    return {
        "folds": len(figures),
        "top1": shares,
        "mean": mean,
        "spread": spread,
        "right": right,
        "examples": total,
        "interval": list(wilson(right, total)),
        "loss": [fold["loss"] for fold in figures],
        "labels": figures[0]["labels"],
        "confusion": confusion.tolist(),
    }


def text(result: dict) -> str:
    """Returns the figures of `summary` for a terminal."""
    shares = ", ".join(f"{share:.1%}" for share in result["top1"])
    return (
        f"{result['folds']} folds: top-1 {result['mean']:.1%} ± {result['spread']:.1%}, mean and standard deviation of "
        f"{shares}; of all {result['examples']:,} photos {with_interval(result['right'], result['examples'])}\n"
        "The model of this run is none of the folds' models: it was trained and tested as without --folds."
    )
