""" "Not sure": below which probability an answer is withheld, and what that costs and gives."""

import dataclasses

import numpy as np

from shufflenet_tf.evaluation.intervals import wilson, with_interval

HIGHEST = 253 / 256  # of a threshold: an int8 file's probabilities have steps of 1/256, and none is 1


def choose_threshold(scores: np.ndarray, coverage: float, unknown: np.ndarray | None = None) -> float:
    """Returns the smallest score of a sure answer.

    Args:
      scores: float [N] of known photos, the probabilities of their likeliest classes; N at least 1.
      coverage: share of them, in 0..1, that must reach the threshold.
      unknown: float [M], scores of photos of none of the classes. With them, a lower threshold is taken where that keeps more
        known photos than it lets unknown ones in.

    Returns:
      A threshold of 0 to 253/256, which at least that share of the known photos reaches.
    """
    order = np.sort(scores.astype(np.float64))
    refused = int(np.floor((1 - coverage) * len(order) + 1e-9))  # at most so many
    # Between two photos, so that rounding in an exported file moves neither to the other side.
    places = [0.0] + [(order[i - 1] + order[i]) / 2 for i in range(1, min(refused, len(order) - 1) + 1)]
    if unknown is None or not len(unknown):
        return float(min(places[-1], HIGHEST))
    below = unknown[unknown < order[0]]
    places.append((order[0] + (below.max() if len(below) else 0.0)) / 2)  # which refuses no known photo
    gains = [np.mean(unknown < place) - np.mean(order < place) for place in places]
    best = max(range(len(places)), key=lambda i: (gains[i], i))
    return float(min(places[best], HIGHEST))


@dataclasses.dataclass(frozen=True)
class Refusal:
    """What a threshold does to photos.

    Attributes:
      threshold: smallest probability of the likeliest class of a sure answer.
      known, sure, right: numbers of test photos, of those that are answered, and of those answered rightly.
      unknown, refused: numbers of photos of none of the classes, and of those that are not answered.
    """

    threshold: float
    known: int
    sure: int
    right: int
    unknown: int = 0
    refused: int = 0

    @classmethod
    def of(
        cls, threshold: float, probabilities: np.ndarray, targets: np.ndarray, unknown: np.ndarray | None = None
    ) -> "Refusal":
        """Counts.

        Args:
          threshold: see the class.
          probabilities: float [N, C] of test photos.
          targets: int [N], their true classes.
          unknown: float [M, C], probabilities of photos of none of the classes.
        """
        sure = probabilities.max(axis=1) >= threshold
        right = sure & (probabilities.argmax(axis=1) == targets)
        unknown = np.zeros((0, 1)) if unknown is None else unknown
        refused = unknown.max(axis=1) < threshold
        counts = (len(sure), sure.sum(), right.sum(), len(refused), refused.sum())
        return cls(threshold, *map(int, counts))

    def to_json(self) -> dict:
        """Returns shares with their intervals of 95 % as JSON types; null where there are no photos."""

        def share(part: int, total: int) -> dict | None:
            return {"share": part / total, "interval": list(wilson(part, total)), "photos": total} if total else None

        return {
            "threshold": self.threshold,
            "coverage": share(self.sure, self.known),
            "accuracy_of_sure": share(self.right, self.sure),
            "refused_of_none": share(self.refused, self.unknown),
        }

    def text(self) -> str:
        """Returns a line or two for a terminal."""
        lines = [
            f'"not sure" below {self.threshold:.0%}: {with_interval(self.sure, self.known)} of the test photos are answered, '
            f"of those {with_interval(self.right, self.sure) or 'none'} rightly"
        ]
        if self.unknown:
            lines.append(
                f"of {self.unknown:,} photos of none of the classes, {with_interval(self.refused, self.unknown)} are refused"
            )
        return "\n".join(lines)
