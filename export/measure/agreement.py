"""How far the answers of one classifier are from those of another: figures, and the images that differ most."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from export.measure.layer_noise import LayerNoise
from export.measure.logit_metrics import kl_divergence
from shufflenet_tf.evaluation.metrics import SMALLEST_PROBABILITY, evaluate

WORST = 6  # images that are kept of each file


@dataclasses.dataclass(frozen=True, eq=False)
class WorstImage:
    """An image on which two models differ.

    Attributes:
      index: in the order of the images, from 0.
      difference: the largest one of a probability.
      reference, candidate: each one's first class and its probability.
      label: the true class, or None.
      pixels: uint8 [H, W, 3].
    """

    index: int
    difference: float
    reference: tuple[int, float]
    candidate: tuple[int, float]
    label: int | None
    pixels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How one .tflite file compares with the reference.

    Attributes:
      name, path: of the file.
      layers: noise of each layer in the order of execution; empty: not measured.
      layers_against: the float file that it's measured against, or why there is none; empty for a float file.
      worst: the images that differ most, these first.
      top1, top5: fractions of the images whose true class is the first, or among the first five; None: no labels.
      agreement: fraction of the images with the same first class.
      max_error, mean_error: absolute differences of probabilities.
      divergence: mean Kullback-Leibler divergence from the reference, in nats; probabilities below 1e-7 count as that.
    """

    name: str
    path: str
    layers: tuple[LayerNoise, ...]
    layers_against: str
    worst: tuple[WorstImage, ...]
    top1: float | None
    top5: float | None
    agreement: float
    max_error: float
    mean_error: float
    divergence: float

    def to_json(self, labels: Sequence[str]) -> dict[str, Any]:
        """Returns the figures as JSON types, without pixels."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("worst", "layers")}
        worst = [
            {
                "index": image.index,
                "difference": image.difference,
                "label": None if image.label is None else labels[image.label],
                **{
                    key: {"label": labels[index], "probability": probability}
                    for key, (index, probability) in (("reference", image.reference), ("candidate", image.candidate))
                },
            }
            for image in self.worst
        ]
        layers = [{**dataclasses.asdict(layer), "sqnr": _finite(layer.sqnr)} for layer in self.layers]
        return {**fields, "worst": worst, "layers": layers}


@dataclasses.dataclass(frozen=True)
class Verification:
    """How several .tflite files compare with the reference.

    Attributes:
      name: of the reference.
      images: number of images.
      labels: names of the classes.
      top1, top5: of the reference; None: the images have no labels.
      comparisons: one a file, in the order given.
    """

    name: str
    images: int
    labels: tuple[str, ...]
    top1: float | None
    top5: float | None
    comparisons: tuple[Comparison, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns all as JSON types."""
        files = [comparison.to_json(self.labels) for comparison in self.comparisons]
        return {"model": self.name, "images": self.images, "top1": self.top1, "top5": self.top5, "files": files}


class Tally:
    """Sums over batches, from which the figures of a comparison follow."""

    def __init__(self):
        self.images = self.labelled = 0
        self.top1 = self.top5 = self.same = self.error = self.divergence = self.largest = 0.0
        self.worst: list[WorstImage] = []

    def add(self, pixels: np.ndarray, targets: np.ndarray | None, p: np.ndarray, q: np.ndarray, labels: Sequence[str]) -> None:
        """Adds a batch, whose probabilities are `p` [N, C] of the reference and `q` of the candidate."""
        count = len(pixels)
        if targets is not None:
            result = evaluate(q, targets, labels)
            self.labelled += count
            self.top1, self.top5 = self.top1 + result.top1 * count, self.top5 + result.top5 * count
        difference = np.abs(p.astype(np.float64) - q)
        largest = difference.max(axis=1)
        first, other = p.argmax(axis=1), q.argmax(axis=1)
        logs = [np.log(np.maximum(x.astype(np.float64), SMALLEST_PROBABILITY)) for x in (p, q)]
        self.same += int((first == other).sum())
        self.error += difference.mean(axis=1).sum()
        self.divergence += kl_divergence(p, *logs).sum()
        self.largest = max(self.largest, float(largest.max()))
        self.worst += [
            WorstImage(
                index=self.images + int(i),
                difference=float(largest[i]),
                reference=(int(first[i]), float(p[i, first[i]])),
                candidate=(int(other[i]), float(q[i, other[i]])),
                label=None if targets is None else int(targets[i]),
                pixels=pixels[i].copy(),
            )
            for i in np.argsort(-largest, kind="stable")[:WORST]
        ]
        self.worst = sorted(self.worst, key=lambda image: -image.difference)[:WORST]
        self.images += count

    def figures(self) -> dict[str, float | None]:
        labelled = self.labelled == self.images
        return {
            "top1": self.top1 / self.images if labelled else None,
            "top5": self.top5 / self.images if labelled else None,
            "agreement": self.same / self.images,
            "max_error": self.largest,
            "mean_error": float(self.error / self.images),
            "divergence": max(0.0, float(self.divergence / self.images)),  # rounded sums can fall short of 1
        }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
