"""How good a classifier is: top-k, loss, calibration, and which classes it confuses."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shufflenet_tf.errors import UserError
from shufflenet_tf.evaluation.calibration import reliability
from shufflenet_tf.evaluation.intervals import of_share, wilson

TOP = 5  # of top-5, which says nothing where there are no more classes
SMALLEST_PROBABILITY = 1e-7  # a quantized softmax returns exact zeros; Keras's loss clips at the same value


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What `evaluate` found over N examples of C classes.

    Attributes:
      top1, top5: fractions of the examples whose true class is the first, or among the first min(5, C), predictions.
      loss: mean cross entropy, in nats.
      expected_calibration_error: mean distance between confidence and accuracy, in 0..1 (15 equal bins).
      confusion: int64 [C, C] counts, rows the true class, columns the predicted one.
      labels: names of the C classes.
    """

    top1: float
    top5: float
    loss: float
    expected_calibration_error: float
    confusion: np.ndarray
    labels: tuple[str, ...]

    @property
    def per_class(self) -> list[dict[str, str | float | int]]:
        """Label, precision, recall, f1 and support of every class; a figure with no examples to divide by is 0."""
        right = np.diagonal(self.confusion)
        support, predicted = self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        # Precision and recall are undefined exactly when `right` is 0 too, so a divisor of at least 1 gives the 0.
        precision, recall = right / np.maximum(predicted, 1), right / np.maximum(support, 1)
        f1 = 2 * right / np.maximum(support + predicted, 1)
        columns = zip(self.labels, precision.tolist(), recall.tolist(), f1.tolist(), support.tolist(), strict=True)
        return [dict(zip(("label", "precision", "recall", "f1", "support"), row, strict=True)) for row in columns]

    @property
    def interval(self) -> tuple[float, float]:
        """Bounds between which the true top-1 lies, with 95 % confidence (Wilson's)."""
        return wilson(int(np.trace(self.confusion)), int(self.confusion.sum()))

    def to_json(self) -> dict:
        """All figures as plain Python numbers, lists and strings, without NaN; top-5 only of more than five classes."""
        return {
            "examples": int(self.confusion.sum()),
            "top1": self.top1,
            "top1_interval": list(self.interval),
            **({"top5": self.top5} if len(self.labels) > TOP else {}),
            "loss": self.loss,
            "expected_calibration_error": self.expected_calibration_error,
            "per_class": self.per_class,
            "labels": list(self.labels),
            "confusion": self.confusion.tolist(),
        }

    def text_table(self, max_classes: int = 30) -> str:
        """An aligned table for a terminal: a line a class, then the overall figures.

        Args:
          max_classes: with more classes than this, only so many are shown, those with the lowest f1 first.
        """
        classes = self.per_class
        if len(classes) > max_classes:
            # A class without test examples has f1 = 0, but that says nothing about the model: such come last.
            shown = sorted(classes, key=lambda row: (row["support"] == 0, row["f1"]))[:max_classes]
            heading = f"class ({len(shown)} worst of {len(classes)})"
        else:
            shown, heading = classes, "class"
        names = [shorten(row["label"], 40) for row in shown]
        width = max(map(display_width, [*names, heading]))
        lines = [f"{heading:<{width}}  precision  recall      f1  examples"]
        for name, row in zip(names, shown, strict=True):
            padded = name + " " * (width - display_width(name))
            figures = f"{row['precision']:9.1%}  {row['recall']:6.1%}  {row['f1']:6.1%}  {row['support']:8d}"
            lines.append(f"{padded}  {figures}")
        top = f"top-1 {of_share(self.top1, int(self.confusion.sum()), 2)}"
        top += f", top-5 {self.top5:.2%}" if len(classes) > TOP else ""  # of five classes or fewer, it is always 100 %
        lines.append(
            f"overall: {top}, loss {self.loss:.4f}, "
            f"calibration error {self.expected_calibration_error:.2%}, {self.confusion.sum()} examples"
        )
        return "\n".join(lines)


def evaluate(probabilities: np.ndarray, targets: np.ndarray, labels: Sequence[str]) -> Evaluation:
    """Compares predicted probabilities with the true classes.

    Equal probabilities rank by class index, the lowest first (as `argmax` does), in top-1, top-5 and confusion alike.

    Args:
      probabilities: float [N, C], in 0..1 (rows of a quantized model need not sum to exactly 1).
      targets: int [N], true classes in 0..C-1.
      labels: names of the C classes.

    Raises:
      UserError (a ValueError): nothing to evaluate, shapes that disagree, targets or probabilities out of range.
    """
    probabilities, targets = _checked(probabilities, targets)
    classes = probabilities.shape[1]
    if len(labels) != classes:
        raise UserError(f"{len(labels)} labels came with probabilities of {classes} classes; give one label a class.")

    true = np.take_along_axis(probabilities, targets[:, None], axis=1)  # [N, 1]
    ahead = probabilities > true
    ahead |= (probabilities == true) & (np.arange(classes) < targets[:, None])
    rank = ahead.sum(axis=1)  # 0: the true class is predicted

    predicted = probabilities.argmax(axis=1)
    pairs = np.bincount(targets * classes + predicted, minlength=classes * classes)
    return Evaluation(
        top1=float(np.mean(rank == 0)),
        top5=float(np.mean(rank < TOP)),
        loss=float(-np.log(np.maximum(true.astype(np.float64), SMALLEST_PROBABILITY)).mean()),
        expected_calibration_error=reliability(probabilities, targets).error,
        confusion=pairs.reshape(classes, classes).astype(np.int64),
        labels=tuple(labels),
    )


def worst_mistakes(probabilities: np.ndarray, targets: np.ndarray, count: int = 48) -> np.ndarray:
    """Indices int64 [≤ count] of the wrong predictions, the most confident first; equal ones in the order given.

    Args and errors as in `evaluate`.
    """
    probabilities, targets = _checked(probabilities, targets)
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != targets)
    order = np.argsort(-probabilities[wrong].max(axis=1), kind="stable") if wrong.size else []
    return wrong[order][:count] if wrong.size else wrong


def shorten(text: str, columns: int) -> str:
    """`text` on one line, cut with an ellipsis where it is wider than `columns` terminal columns."""
    text = " ".join(text.split())
    if display_width(text) <= columns:
        return text
    while text and display_width(text) > columns - 1:
        text = text[:-1]
    return text.rstrip(" ,") + "…"


def display_width(text: str) -> int:
    """Terminal columns that `text` takes: two for a wide (East Asian) character, none for a combining mark."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def _checked(probabilities: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two as arrays, float [N, C] and int64 [N], or a UserError."""
    probabilities, targets = np.asarray(probabilities), np.asarray(targets)
    if probabilities.ndim != 2 or targets.shape != probabilities.shape[:1]:
        raise UserError(
            f"Probabilities {list(probabilities.shape)} and targets {list(targets.shape)} do not fit; "
            "give probabilities [N, C] and class indices [N]."
        )
    if not probabilities.size:
        raise UserError(f"Probabilities {list(probabilities.shape)} are empty; evaluate at least one example.")
    if not np.issubdtype(targets.dtype, np.integer):
        raise UserError(f"Targets are {targets.dtype}; give integer class indices.")
    if not (targets.min() >= 0 and targets.max() < probabilities.shape[1]):
        raise UserError(
            f"Targets range over {targets.min()}..{targets.max()}, but {probabilities.shape[1]} classes are "
            f"numbered 0..{probabilities.shape[1] - 1}; use the labels that the model was trained with."
        )
    # Written so that NaN fails too. The slack is for a softmax that rounds up.
    if not (probabilities.min() >= 0 and probabilities.max() <= 1 + 1e-3):
        raise UserError(
            f"Probabilities range over {probabilities.min():g}..{probabilities.max():g} instead of 0..1; "
            "pass softmax outputs, not logits, of a model whose training did not diverge."
        )
    return probabilities, targets.astype(np.int64)
