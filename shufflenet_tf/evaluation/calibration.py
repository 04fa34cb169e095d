"""Temperature scaling: probabilities that mean what they say (Guo et al. 2017, "On Calibration of Modern Neural Networks")."""

import dataclasses

import numpy as np

CALIBRATION_BINS = 15  # as in Guo et al.
_LEAST, _MOST = 0.05, 20.0  # temperatures; beyond them, the photos that they are fitted on tell nothing
SMALLEST = 1e-30  # probability; float32 holds it, also where a softmax has rounded to zero


@dataclasses.dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy in equal bins of confidence, for N photos.

    Attributes:
      error: expected calibration error, the mean distance of the two over all photos, in 0..1.
      counts: photos in each bin, int64 [bins].
      confidence: mean probability of the likeliest class in each bin, [bins]; 0 where it is empty.
      accuracy: share of the photos of each bin that are right, [bins]; 0 where it is empty.
    """

    error: float
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    def to_json(self) -> dict:
        """Returns the figures as JSON types."""
        return {
            "expected_calibration_error": self.error,
            "bins": len(self.counts),
            "counts": self.counts.tolist(),
            "confidence": self.confidence.tolist(),
            "accuracy": self.accuracy.tolist(),
        }


def reliability(probabilities: np.ndarray, targets: np.ndarray, bins: int = CALIBRATION_BINS) -> Reliability:
    """Compares confidence with accuracy.

    Args:
      probabilities: float [N, C], N at least 1.
      targets: int [N], the true classes.
      bins: see `reliability_of`.
    """
    return reliability_of(probabilities.max(axis=1), probabilities.argmax(axis=1) == targets, bins)


def reliability_of(confidence: np.ndarray, right: np.ndarray, bins: int = CALIBRATION_BINS) -> Reliability:
    """Compares confidence with accuracy.

    Args:
      confidence: float [N], probabilities of the likeliest classes, N at least 1.
      right: bool [N], whether these are the true ones.
      bins: number of bins of equal width; they are (lower, upper], and a confidence of 0 counts into the first.
    """
    confidence = confidence.astype(np.float64)
    places = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(places, minlength=bins)
    sums = [np.bincount(places, weights=values, minlength=bins) for values in (confidence, right)]
    means = [total / np.maximum(counts, 1) for total in sums]
    return Reliability(float(np.abs(sums[0] - sums[1]).sum() / len(confidence)), counts, *means)


def fit_temperature(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Returns the temperature that makes photos' true classes likeliest: above 1, the model is too sure of itself.

    The true classes count as not quite certain, as in Platt's scaling: else a model that is right on all photos would get a
    temperature of 0.

    Args:
      probabilities: float [N, C] of photos that the model was not trained on.
      targets: int [N], their true classes.
    """
    from scipy.optimize import minimize_scalar

    logits = np.log(np.maximum(probabilities.astype(np.float64), SMALLEST))  # less a constant of each photo
    count, classes = logits.shape
    doubt = 1 / (count + 2)
    wanted = np.full((count, classes), doubt / max(classes - 1, 1))
    wanted[np.arange(count), targets] = 1 - doubt

    def loss(exponent: float) -> float:
        scaled = logits / np.exp(exponent)
        scaled -= scaled.max(axis=1, keepdims=True)
        return float((np.log(np.exp(scaled).sum(axis=1)) - (wanted * scaled).sum(axis=1)).mean())

    found = minimize_scalar(loss, bounds=(np.log(_LEAST), np.log(_MOST)), method="bounded")
    return float(np.exp(found.x)) if found.fun < loss(0.0) else 1.0


def at_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Returns the probabilities, float32 [N, C], that the same logits give when they are divided by a temperature."""
    logits = np.log(np.maximum(probabilities.astype(np.float64), SMALLEST)) / temperature
    return softmax(logits).astype(np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns probabilities [N, C] of logits [N, C]."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
