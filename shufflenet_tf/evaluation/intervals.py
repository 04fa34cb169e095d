"""How far an accuracy that was measured on a few photos can be from the true one."""

import math
from collections.abc import Sequence

Z95 = 1.959964  # standard deviations that hold 95 % of a normal distribution


def wilson(right: int, total: int, z: float = Z95) -> tuple[float, float]:
    """Returns the interval of 95 % confidence of a share, after Wilson 1927: also honest with few photos, or with none wrong.

    Args:
      right: photos that count, 0 to `total`.
      total: all photos; 0: nothing is known, and the interval is 0 to 1.
      z: half the width in standard deviations.

    Returns:
      Lower and upper bound of the true share, in 0..1.
    """
    if not total:
        return 0.0, 1.0
    share, weight = right / total, z * z / total
    middle = share + weight / 2
    half = z * math.sqrt((share * (1 - share) + weight / 4) / total)
    low, high = (middle - half) / (1 + weight), (middle + half) / (1 + weight)
    # Rounding must not exclude the share itself where all or none are right.
    return max(0.0, min(low, share)), min(1.0, max(high, share))


def with_interval(right: int, total: int, digits: int = 1) -> str:
    """Returns a share with its interval, such as "95.8% (92.5 to 97.7)"; empty where there are no photos."""
    if not total:
        return ""
    low, high = wilson(right, total)
    return f"{100 * right / total:.{digits}f}% ({100 * low:.{digits}f} to {100 * high:.{digits}f})"


def of_share(share: float | None, total: int, digits: int = 1) -> str:
    """Returns `with_interval` of a share in 0..1 of `total` photos; empty where it is unknown."""
    return "" if share is None else with_interval(round(share * total), total, digits)


def mean_and_spread(shares: Sequence[float]) -> tuple[float, float]:
    """Returns the mean of several measurements and their standard deviation (of a sample; 0 for a single one)."""
    mean = sum(shares) / len(shares)
    return mean, math.sqrt(sum((share - mean) ** 2 for share in shares) / max(1, len(shares) - 1))
