"""What is known of a finished run and its exported files: the facts that a model card states."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shufflenet_tf.errors import UserError
from shufflenet_tf.evaluation.intervals import of_share
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.origin import KEY, read_metrics

EXPORT = "export"  # folder of the exported files in a run's
PAIRS = 5  # of classes that are confused, in a card


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """An exported file: its path, its size in bytes, and, where they were measured, top-1 and the share of equal answers."""

    path: pathlib.Path
    size: int
    top1: float | None = None
    agreement: float | None = None


@dataclasses.dataclass(frozen=True)
class Facts:
    """A finished run.

    Attributes:
      model: the trained network, with its labels.
      metrics: of metrics.json; "test" are the figures on the test images.
      files: the exported .tflite files, the smallest first.
      images: number of test images that these were measured on.
    """

    model: ImageClassifier
    metrics: Mapping[str, Any]
    files: Sequence[ExportedFile]
    images: int = 0

    @classmethod
    def of(cls, run: pathlib.Path, model: ImageClassifier) -> "Facts":
        """Reads the figures of a run.

        Raises:
          UserError: the run has no figures that can be read, or they are another model's.
        """
        metrics = read_metrics(run)
        test = metrics.get("test")
        if not isinstance(test, dict) or not {"examples", "top1", "per_class", "labels", "confusion"} <= test.keys():
            raise UserError(f"{run} has no metrics.json with figures on test images: give the folder of a finished run.")
        if list(model.labels or ()) != test["labels"]:
            raise UserError(f"The model in {run} and its metrics.json have different labels: train it again.")
        return cls(model, metrics, *_exported(run / EXPORT))

    @property
    def test(self) -> Mapping[str, Any]:
        return self.metrics["test"]

    @property
    def accuracy(self) -> str:
        """Top-1 on the test images with its interval, as text."""
        return of_share(self.test["top1"], self.test["examples"])

    @property
    def started_from(self) -> Mapping[str, str] | None:
        """See `origin.origin`; {"source": "unrecorded"} of a run that doesn't say."""
        return self.metrics.get(KEY, {"weights": "", "source": "unrecorded"})

    @property
    def confused(self) -> list[tuple[str, str, int]]:
        """Up to 5 (true, predicted, number of test images), the most frequent first."""
        wrong = np.array(self.test["confusion"])
        np.fill_diagonal(wrong, 0)
        places = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
        pairs = zip(*np.unravel_index(places, wrong.shape), strict=True)
        labels = self.test["labels"]
        return [(labels[true], labels[other], int(wrong[true, other])) for true, other in pairs if wrong[true, other]]


def _exported(folder: pathlib.Path) -> tuple[tuple[ExportedFile, ...], int]:
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        rows = {row["name"]: row for row in report["files"]}
        images = int(report["images"])
    except (OSError, ValueError, KeyError, TypeError):
        rows, images = {}, 0
    paths = sorted(folder.glob("*.tflite"), key=lambda path: path.stat().st_size)
    figures = ({key: rows.get(path.name, {}).get(key) for key in ("top1", "agreement")} for path in paths)
    return tuple(ExportedFile(p, p.stat().st_size, **known) for p, known in zip(paths, figures, strict=True)), images
