"""Fits a target's coefficients to the times of the specimens."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from scipy.optimize import nnls

from export.optimize.targets import COEFFICIENTS, INT8_ONLY, TYPES
from export.optimize.targets.cost_model import convolution_terms, depthwise_terms, linear_terms, transpose_terms
from export.optimize.targets.specimens import INVOKE, PARTITION, Specimen

_SLACK = 0.25  # of what running a graph takes at all: faster operators disappear in it
FOLDS = 5  # one operator in so many is held out, in turn, to see how well the others predict it
_ROWS, _COLUMNS, _DEPTHS, _LANES = (1, 2, 4, 6, 8, 16), (8, 16, 32, 64), (1, 4, 8, 64), (4, 8, 16, 32)
Terms = Callable[[Mapping[str, int]], dict[str, float]]


@dataclasses.dataclass(frozen=True)
class Fit:
    """How well the costs of one operator on one type are predicted.

    Attributes:
      count: number of specimens.
      median, worst: relative errors of specimens that were held out while the coefficients were fitted.
    """

    type: str
    operator: str
    count: int
    median: float
    worst: float


class InvalidTimes(ValueError):
    """The times of an operator are missing, or no costs come near them; the message is a sentence."""


def fit(specimens: Iterable[Specimen], times: Mapping[str, float]) -> tuple[dict, float, list[Fit]]:
    """Returns a target's costs, that of a partition, and how well they fit.

    Args:
      specimens: what was measured.
      times: of one run each, by name, in any unit; the costs are in the same.

    Raises:
      InvalidTimes: an operator has fewer than three times, or such that no costs come near them.
    """
    rows: dict[tuple[str, str], list[tuple[Mapping[str, int], float]]] = {}
    for specimen in specimens:
        if specimen.name in times:
            rows.setdefault((specimen.type, specimen.operator), []).append((specimen.sizes, float(times[specimen.name])))
    costs, fits, partition = {}, [], 0.0
    for type_ in TYPES.values():
        invoke, each = _chain(rows.get((type_, INVOKE), []), f"{type_} {INVOKE}")
        costs[type_] = {}
        for operator in COEFFICIENTS:
            if type_ != "int8" and operator in INT8_ONLY:
                continue
            samples = [(sizes, max(time - invoke, 0.0)) for sizes, time in rows.get((type_, operator), [])]
            if len(samples) < 3:
                raise InvalidTimes(f"There are {len(samples)} times of {type_} {operator}, and three or more are needed.")
            try:
                costs[type_][operator], median, worst = _fit_operator(operator, samples, _SLACK * invoke)
            except RuntimeError:  # of SciPy, that it finds no end
                raise InvalidTimes(f"The times of {type_} {operator} follow from no costs.") from None
            fits.append(Fit(type_, operator, len(samples), median, worst))
        partition = partition if type_ != "int8" else _chain(rows.get((type_, PARTITION), []), f"{type_} {PARTITION}")[1] - each
    return costs, float(f"{max(partition, 0.0):.4g}"), fits


def _chain(rows: Sequence[tuple[Mapping[str, int], float]], what: str) -> tuple[float, float]:
    """Returns what a run of a graph takes besides its operators, and what each adds, from chains of 1, 5 and 9 small ones."""
    if len(rows) < 2:
        raise InvalidTimes(f"There are {len(rows)} times of {what}, and two or more are needed.")
    counts, times = zip(*((next(iter(sizes.values())), time) for sizes, time in rows), strict=True)
    slope, intercept = np.polyfit(counts, times, 1)
    return float(np.clip(intercept, 0, min(times))), float(max(slope, 0.0))


def _fit_operator(
    operator: str, rows: Sequence[tuple[Mapping[str, int], float]], slack: float
) -> tuple[dict[str, float], float, float]:
    """Returns the coefficients, and the median and the worst relative error of what was held out."""
    best = None
    for shape, terms in _forms(operator):
        matrix = np.array([list({"call": 1.0, **terms(sizes)}.values()) for sizes, _ in rows])
        names = list({"call": 1.0, **terms(rows[0][0])})
        times = np.array([time for _, time in rows])
        errors = _held_out(matrix, times, slack)
        score = float(np.sqrt(np.mean(errors**2)))
        if best is None or score < best[0]:
            best = (score, shape, names, _solve(matrix, times, slack), errors)
    _, shape, names, values, errors = best
    coefficients = {**shape, **dict(zip(names, (float(f"{value:.4g}") for value in values), strict=True))}
    return coefficients, float(np.median(errors)), float(errors.max())


def _forms(operator: str) -> Iterable[tuple[dict[str, int], Terms]]:
    """Yields the shapes of tiles to try, and the terms that go with each."""
    if operator == "convolution":
        for rows, columns, depth in itertools.product(_ROWS, _COLUMNS, _DEPTHS):
            yield (
                {"rows": rows, "columns": columns, "depth": depth},
                lambda s, t=(rows, columns, depth): convolution_terms(
                    s["pixels"], s["inputs"], s["outputs"], s["taps"], s["groups"], t
                ),
            )
    elif operator == "transpose":
        for lanes in _LANES:
            yield {"lanes": lanes}, lambda s, n=lanes: transpose_terms(s["pixels"], s["rows"], s["columns"], n)
    elif operator == "depthwise":
        for lanes in _LANES:
            yield {"lanes": lanes}, lambda s, n=lanes: depthwise_terms(s["pixels"], s["channels"], s["taps"], n)
    elif operator in ("concatenation", "split"):
        yield {}, lambda s: linear_terms(s["pixels"] * s["parts"], s["channels"] / s["parts"])
    else:
        yield {}, lambda s: linear_terms(s["pixels"], s["channels"])


def _solve(matrix: np.ndarray, times: np.ndarray, slack: float) -> np.ndarray:
    """Non-negative coefficients of the least relative error."""
    scale = times + slack
    return nnls(matrix / scale[:, None], times / scale)[0]


def _held_out(matrix: np.ndarray, times: np.ndarray, slack: float) -> np.ndarray:
    """Relative errors of each time, predicted from the others."""
    errors = np.empty(len(times))
    for n in range(min(FOLDS, len(times))):
        out = np.arange(len(times)) % FOLDS == n
        predicted = matrix[out] @ _solve(matrix[~out], times[~out], slack)
        errors[out] = np.abs(predicted - times[out]) / (times[out] + slack)
    return errors
