"""Ranges of activations: the float graph's values on photos are recorded, and the range that int8 covers is chosen."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from export.ptq.execution import run_float_graph
from export.ptq.graph_pair import LEVELS, GraphPair
from shufflenet_tf.errors import UserError

METHODS = ("minmax", "percentile", "mse", "entropy")
PERCENTILE = 99.99  # of the values of an activation
_SAMPLES = 1000  # values of each activation and image
_BINS = 2048
_SMALLEST = 1e-6  # range of an activation that is always zero


@dataclasses.dataclass
class ActivationStatistics:
    """The values of an activation of the float graph on photos.

    Attributes:
      low, high: of each channel, [C].
      samples: some of the values, [N].
      channels: the channel of each sample, int [N].
    """

    low: np.ndarray
    high: np.ndarray
    samples: np.ndarray
    channels: np.ndarray

    @property
    def peaks(self) -> np.ndarray:
        """Largest absolute value of each channel, [C]."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    def divided(self, factors: np.ndarray) -> "ActivationStatistics":
        """Returns those of the activation with channels divided by factors [C]."""
        return dataclasses.replace(
            self, low=self.low / factors, high=self.high / factors, samples=self.samples / factors[self.channels]
        )


def record_statistics(pair: GraphPair, images: np.ndarray, threads: int = 1) -> dict[int, ActivationStatistics]:
    """Returns the statistics of the float graph's activations, by tensor, on images, uint8 [N, H, W, 3].

    Raises:
      UserError: one of them is not finite.
    """
    statistics: dict[int, ActivationStatistics] = {}
    random = np.random.default_rng(0)

    def record(tensor: int, values: np.ndarray) -> None:
        # Over images first: NumPy is slow at reducing to few columns.
        ends = (end(end(values.reshape(len(values), -1), 0).reshape(-1, values.shape[-1]), 0) for end in (np.min, np.max))
        low, high = (end.astype(np.float64) for end in ends)
        if not np.isfinite(low + high).all():
            name = pair.float_graph.name(tensor)
            raise UserError(f"The float graph gives no numbers at {name}: its training diverged, or the file is damaged.")
        drawn = random.integers(0, values.size, min(values.size, _SAMPLES * len(values)))
        samples = values.reshape(-1)[drawn].astype(np.float64)
        statistics[tensor] = ActivationStatistics(low, high, samples, drawn % values.shape[-1])

    run_float_graph(pair, images, record, threads)
    return statistics


def set_scales(pair: GraphPair, statistics: Mapping[int, ActivationStatistics], method: str = "minmax") -> None:
    """Sets the scales of the int8 graph's activations from the float graph's statistics; see `choose_range`."""
    for group in pair.groups:
        tensors = (pair.float_tensor_of[t] for t in group)
        of_group = [statistics[t] for t in tensors if t in statistics]
        low, high = min(s.low.min() for s in of_group), max(s.high.max() for s in of_group)
        chosen = choose_range(low, high, np.concatenate([s.samples for s in of_group]), method)
        pair.set_scale(group, *scale_and_zero_point(*chosen, pair.type))


def choose_range(low: float, high: float, samples: np.ndarray, method: str = "minmax") -> tuple[float, float]:
    """Returns the range that int8 covers.

    Args:
      low, high: of all values.
      samples: some of them, [N].
      method: "minmax": all; "percentile": all but 0.01 %; "mse": with the smallest squared error; "entropy": with the
        distribution that differs least from the original one (Kullback and Leibler).
    """
    if method == "percentile":
        low = max(low, np.percentile(samples, 100 - PERCENTILE))
        high = min(high, np.percentile(samples, PERCENTILE))
    elif method != "minmax":
        loss = {"mse": _squared_error, "entropy": _divergence}[method]
        candidates = [(low * part, high * part) for part in np.linspace(1, 0.3, 36)]
        low, high = min(candidates, key=lambda ends: loss(*ends, samples))
    return float(low), float(high)


def scale_and_zero_point(low: float, high: float, type_: type = np.int8) -> tuple[float, int]:
    """Returns scale and zero point of np.int8, or np.int16, that covers a range, and zero in any case."""
    low, high = min(low, 0.0), max(high, 0.0)
    high = max(high, low + _SMALLEST)
    if type_ == np.int16:  # whose kernels know no zero point
        return float(np.float32(max(high, -low) / np.iinfo(type_).max)), 0
    scale = float(np.float32((high - low) / LEVELS))
    return scale, int(np.clip(np.round(-128 - low / scale), -128, 127))


def _squared_error(low: float, high: float, samples: np.ndarray) -> float:
    scale, zero = scale_and_zero_point(low, high)
    stored = np.clip(np.round(samples / scale) + zero, -128, 127)
    return float(np.square((stored - zero) * scale - samples).mean())


def _divergence(low: float, high: float, samples: np.ndarray) -> float:
    """Kullback-Leibler divergence of the histogram of the rounded values from that of the values."""
    counts, edges = np.histogram(samples, _BINS)
    centers = (edges[1:] + edges[:-1]) / 2
    scale, zero = scale_and_zero_point(low, high)
    stored = (np.clip(np.round(centers / scale) + zero, -128, 127) + 128).astype(int)
    # A level's count spreads evenly over the bins that it came from and that are not empty; what was cut off is in the
    # outermost ones, far from where it was.
    inside = (centers >= low) & (centers <= high) & (counts > 0)
    levels = np.bincount(stored, counts, LEVELS + 1)
    bins = np.bincount(stored, inside, LEVELS + 1)
    kept = np.where(inside, levels[stored] / np.maximum(bins[stored], 1), 0)
    p, q = counts / counts.sum(), kept / max(kept.sum(), 1)
    return float(np.sum(p[p > 0] * np.log(p[p > 0] / np.maximum(q[p > 0], 1e-9))))
