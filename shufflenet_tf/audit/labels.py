"""Which class a photo looks like, judged by the other photos: linear discriminant analysis of features, out of fold.

A photo never judges itself, nor a copy of it. All classes count alike, whatever the numbers of their photos.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

_FOLDS = 5
_SHRINKAGE = 0.2  # of the covariance towards a sphere
_SUSPECT, _RATHER = 0.1, 0.6  # probability of the own class below, of another one above
_ALIKE = 0.1  # share of the photos of both classes that look like the other one
_FEW_ALIKE = 3


@dataclasses.dataclass(frozen=True)
class Judgement:
    """Probabilities of the classes, float [N, classes], of photos that were judged by others."""

    probabilities: np.ndarray
    given: np.ndarray  # int [N]

    @property
    def own(self) -> np.ndarray:
        """The probability of the class that each photo is in."""
        return self.probabilities[np.arange(len(self.given)), self.given]

    @property
    def best_other(self) -> np.ndarray:
        """The likeliest of the other classes."""
        others = self.probabilities.copy()
        others[np.arange(len(self.given)), self.given] = -1
        return others.argmax(1)

    @property
    def suspicion(self) -> np.ndarray:
        """How much likelier another class is than its own: the logarithm of the ratio."""
        other = self.probabilities[np.arange(len(self.given)), self.best_other]
        return np.log(other + 1e-9) - np.log(self.own + 1e-9)

    @property
    def suspects(self) -> np.ndarray:
        """Indices of the photos that are probably in the wrong class, the surest first."""
        other = self.probabilities[np.arange(len(self.given)), self.best_other]
        found = np.flatnonzero((self.own < _SUSPECT) & (other > _RATHER))
        return found[np.argsort(-self.suspicion[found], kind="stable")]

    def alike(self) -> list[tuple[int, int, int, int, float]]:
        """Returns pairs of classes that look alike: (first, second, first as second, second as first, share), worst first."""
        classes = self.probabilities.shape[1]
        counts = np.zeros((classes, classes), np.int64)
        np.add.at(counts, (self.given, self.probabilities.argmax(1)), 1)
        share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        share, both = np.maximum(share, share.T), np.triu(counts + counts.T, 1)
        pairs = np.argwhere((share >= _ALIKE) & (both >= _FEW_ALIKE)).tolist()
        pairs.sort(key=lambda pair: -share[pair[0], pair[1]])
        return [(a, b, int(counts[a, b]), int(counts[b, a]), float(share[a, b])) for a, b in pairs]


def judge(features: np.ndarray, given: np.ndarray, groups: Sequence[int], classes: int, seed: int = 0) -> Judgement:
    """Judges photos by each other.

    Args:
      features: float32 [N, D].
      given: indices of their classes, int [N].
      groups: of each photo; those of one group are copies of each other.
      classes: number of classes, two or more.
      seed: of the division in folds.
    """
    fold = folds(groups, seed)
    scores = out_of_fold(features, given, fold, lambda chosen: (features[chosen], given[chosen]), classes)
    return Judgement(calibrated(scores, given), given)


def folds(groups: Sequence[int], seed: int = 0, count: int = _FOLDS) -> np.ndarray:
    """Returns the fold of each photo, 0 to count - 1; a group is in one fold."""
    names, inverse = np.unique(np.asarray(groups), return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(names)) % count)[inverse]


def out_of_fold(
    features: np.ndarray,
    given: np.ndarray,
    fold: np.ndarray,
    examples: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    classes: int,
) -> np.ndarray:
    """Returns the scores of the classes, float64 [N, classes], each from what was learned without the photo's fold.

    Args:
      features: what is judged, float32 [N, D].
      given: classes of what is judged, int [N].
      fold: of each.
      examples: indices of the photos of the other folds -> (features, classes) to learn from.
      classes: number of classes.
    """
    scores = np.zeros((len(features), classes))
    for number in np.unique(fold):
        inside = fold == number
        learned, labels = examples(np.flatnonzero(~inside))
        if len(learned):
            scores[inside] = discriminant(learned, labels, classes)(features[inside])
            # Of a class that no other fold has, nothing can be said.
            unknown = np.flatnonzero(inside & ~np.isin(given, labels))
            scores[unknown, given[unknown]] = scores[unknown].max(1)
    return scores


def discriminant(features: np.ndarray, labels: np.ndarray, classes: int) -> Callable[[np.ndarray], np.ndarray]:
    """Learns linear discriminant analysis and returns it: features [N, D] -> scores [N, classes], the logarithms of odds.

    A class without examples is the least likely one.
    """
    counts = np.bincount(labels, minlength=classes)
    mean, deviation = features.mean(0), features.std(0)
    deviation = deviation + 1e-3 * max(float(deviation.mean()), 1e-9)
    x = ((features - mean) / deviation).astype(np.float32)
    means = np.zeros((classes, x.shape[1]), np.float32)
    np.add.at(means, labels, x)
    means /= np.maximum(counts, 1)[:, None]
    rest = x - means[labels]
    covariance = rest.T @ rest / max(1, len(x) - int((counts > 0).sum()))
    sphere = max(float(np.trace(covariance)) / len(covariance), 1e-6)
    covariance *= 1 - _SHRINKAGE
    covariance[np.diag_indices_from(covariance)] += _SHRINKAGE * sphere
    weights = np.linalg.solve(covariance, means.T)
    offsets = -0.5 * (means * weights.T).sum(1)

    def score(others: np.ndarray) -> np.ndarray:
        scores = (((others - mean) / deviation).astype(np.float32) @ weights + offsets).astype(np.float64)
        scores[:, counts == 0] = scores.min(1, keepdims=True)
        return scores

    return score


def calibrated(scores: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Returns probabilities: softmax with the temperature that fits the given classes best."""
    return softmax(scores * temperature(scores, given))


def temperature(scores: np.ndarray, given: np.ndarray) -> float:
    """Returns the factor on scores with which their softmax fits the given classes best."""

    def loss(factor: float) -> float:
        return -float(np.log(softmax(scores * factor)[np.arange(len(given)), given] + 1e-9).mean())

    return min(np.exp(np.linspace(-7, 2, 46)).tolist(), key=loss)


def softmax(scores: np.ndarray) -> np.ndarray:
    """Returns probabilities of rows of scores."""
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)
