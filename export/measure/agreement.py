"""How far the outputs of one classifier are from those of another: metrics, and the images that differ most."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from export.measure.layer_noise import LayerNoise
from export.measure.logit_metrics import kl_divergence
from shufflenet_tf.evaluation.calibration import reliability_of
from shufflenet_tf.evaluation.metrics import SMALLEST_PROBABILITY, TOP, evaluate

WORST = 6  # number of images to keep per file


@dataclasses.dataclass(frozen=True, eq=False)
class WorstImage:
    """An image on which two models differ.

    Attributes:
      index: position of the image, from 0.
      difference: largest absolute difference of a probability.
      reference, candidate: top class of each model and its probability.
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
class Sureness:
    """What a model's threshold does to images.

    Attributes:
      answered: number of images whose likeliest class reaches the threshold.
      right: number of those whose true class it is; None: no labels.
      calibration_error: expected calibration error, of all images; None: no labels.
    """

    answered: int
    right: int | None
    calibration_error: float | None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How one .tflite file compares with the reference.

    Attributes:
      name, path: short name and path of the file.
      layers: noise of each layer in execution order; empty: not measured.
      layers_against: the float file that the noise is measured against, or why there is none; empty for a float file.
      worst: the images that differ most, largest difference first.
      top1, top5: fractions of the images whose true class ranks first, or among the first five; None: no labels, and top-5
        also of five classes or fewer.
      agreement: fraction of the images for which both models give the same top class.
      max_error, mean_error: absolute differences of probabilities.
      divergence: mean Kullback-Leibler divergence from the reference, in nats; probabilities are clipped to at least 1e-7.
      sureness: what the reference's threshold does; None: it has none.
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
    sureness: Sureness | None = None

    def to_json(self, labels: Sequence[str]) -> dict[str, Any]:
        """Returns the metrics as JSON types, without pixels."""
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
        sureness = self.sureness and dataclasses.asdict(self.sureness)
        return {**fields, "sureness": sureness, "worst": worst, "layers": layers}


@dataclasses.dataclass(frozen=True)
class Verification:
    """How several .tflite files compare with the reference.

    Attributes:
      name: name of the reference.
      images: number of images.
      labels: names of the classes.
      top1, top5: accuracy of the reference; None: see `Comparison`.
      comparisons: one per file, in the given order.
      threshold: least probability of a sure answer of the reference, or None.
      sureness: what it does in the reference; None: there is none.
    """

    name: str
    images: int
    labels: tuple[str, ...]
    top1: float | None
    top5: float | None
    comparisons: tuple[Comparison, ...]
    threshold: float | None = None
    sureness: Sureness | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the verification as JSON types."""
        files = [comparison.to_json(self.labels) for comparison in self.comparisons]
        accuracy = {"top1": self.top1, "top5": self.top5, "threshold": self.threshold}
        sureness = self.sureness and dataclasses.asdict(self.sureness)
        return {"model": self.name, "images": self.images, **accuracy, "sureness": sureness, "files": files}


class Tally:
    """Accumulates batches for the metrics of a comparison."""

    def __init__(self):
        self.images = self.labelled = self.classes = 0
        self.top1 = self.top5 = self.same = self.error = self.divergence = self.largest = 0.0
        self.worst: list[WorstImage] = []
        self.confidences: list[np.ndarray] = []
        self.right: list[np.ndarray] = []

    def add(self, pixels: np.ndarray, targets: np.ndarray | None, p: np.ndarray, q: np.ndarray, labels: Sequence[str]) -> None:
        """Adds a batch; `p` and `q` [N, C] are the probabilities of the reference and of the candidate."""
        count = len(pixels)
        if targets is not None:
            result = evaluate(q, targets, labels)
            self.labelled += count
            self.top1, self.top5 = self.top1 + result.top1 * count, self.top5 + result.top5 * count
            self.right.append(q.argmax(axis=1) == targets)
        self.confidences.append(q.max(axis=1))
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
        self.classes = len(labels)

    def sureness(self, threshold: float | None) -> Sureness | None:
        if threshold is None:
            return None
        confidence = np.concatenate(self.confidences)
        sure = confidence >= threshold
        if self.labelled < self.images:
            return Sureness(int(sure.sum()), None, None)
        right = np.concatenate(self.right)
        return Sureness(int(sure.sum()), int((sure & right).sum()), reliability_of(confidence, right).error)

    def figures(self) -> dict[str, float | None]:
        labelled = self.labelled == self.images
        return {
            "top1": self.top1 / self.images if labelled else None,
            "top5": self.top5 / self.images if labelled and self.classes > TOP else None,
            "agreement": self.same / self.images,
            "max_error": self.largest,
            "mean_error": float(self.error / self.images),
            "divergence": max(0.0, float(self.divergence / self.images)),  # rounding can make sums of probabilities less than 1
        }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
