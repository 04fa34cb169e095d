"""Two small pictures laid over each other: the crop and the stretching between them, and how alike they then are.

Works on stacks of pairs, float32 [N, SIDE, SIDE]. Of each pair, the second picture is sampled at `scale · x + shift`, with x
from the centre; scale and shift of both axes are found by Gauss and Newton's method, from coarse to fine, together with gain
and offset of the brightness.
"""

import numpy as np

SIDE = 64
# Steps at 16, 32 and 64 pixels, and the likeness that a pair needs to go on to the next. Copies that were cropped by 5 % a
# side, resized, recompressed and brightened have at least 0.66 and 0.83 there (benchmarks/audit.py); most others stop at once.
_LEVELS = ((4, 4, 0.55), (2, 3, 0.72), (1, 1, None))
_FINE, _COARSE = {4: 0, 2: 0, 1: 1}, {4: 2, 2: 3, 1: 5}  # radii of the two averages whose difference is compared
_SCALES, _SHIFT = (0.85, 1.18), 0.08  # a crop goes no further; the shift is a part of the side
_DAMPING = 1e-4
_BATCH = 256
_SATURATED = 4.0  # grey levels from black and from white, where a brightened copy is cut off


def likeness(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns how alike the pictures of each pair are where they overlap: the correlation of their details.

    Args:
      first, second: grey levels 0 to 255, float32 [N, SIDE, SIDE].

    Returns:
      float32 [N]: 1 for equal pictures, whatever their brightness; 0 for pairs that differ already at low resolution.
    """
    result = np.zeros(len(first), np.float32)
    for start in range(0, len(first), _BATCH):
        result[start : start + _BATCH] = _likeness(first[start : start + _BATCH], second[start : start + _BATCH])
    return result


def _likeness(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    result = np.zeros(len(first), np.float32)
    left, parameters = np.arange(len(first)), np.tile(np.float32([1, 1, 0, 0]), (len(first), 1))
    for factor, steps, least in _LEVELS:
        if not len(left):
            break
        a, b = _shrunk(first[left], factor), _shrunk(second[left], factor)
        parameters = _refined(a, b, parameters, steps)
        moved, overlap = _sampled(b, parameters)
        # What is black or white in either picture may have been cut off in it.
        clear = (np.minimum(a, moved) > _SATURATED) & (np.maximum(a, moved) < 255 - _SATURATED)
        mask = np.where((clear & overlap).mean((1, 2), keepdims=True) > 0.4, clear & overlap, overlap)
        fine, coarse = _FINE[factor], _COARSE[factor]
        alike = _correlation(_details(a, fine, coarse), _details(moved, fine, coarse), mask)
        if least is None:
            result[left] = alike
            break
        kept = alike >= least
        left, parameters = left[kept], parameters[kept] * np.float32([1, 1, 2, 2])
    return result


def _refined(first: np.ndarray, second: np.ndarray, parameters: np.ndarray, steps: int) -> np.ndarray:
    side = first.shape[1]
    x = np.arange(side, dtype=np.float32) - (side - 1) / 2
    for _ in range(steps):
        moved, overlap = _sampled(second, parameters)
        across, down = np.zeros_like(moved), np.zeros_like(moved)
        across[:, :, 1:-1] = (moved[:, :, 2:] - moved[:, :, :-2]) / 2
        down[:, 1:-1] = (moved[:, 2:] - moved[:, :-2]) / 2
        # first = gain · moved + offset + derivatives · changes: linear in all six.
        columns = [across * x, down * x[:, None], across, down, moved, np.ones_like(moved), first]
        rows = (np.stack(columns, 1) * overlap[:, None]).reshape(len(first), 7, -1)
        products = rows @ rows.transpose(0, 2, 1)
        matrix, right = products[:, :6, :6], products[:, :6, 6]
        size = np.sqrt(np.maximum(np.einsum("nii->ni", matrix), 1e-6))
        matrix = matrix / size[:, :, None] / size[:, None] + _DAMPING * np.eye(6, dtype=np.float32)
        found = np.linalg.solve(matrix, (right / size)[..., None])[..., 0] / size
        gain = np.where(np.abs(found[:, 4]) < 0.1, 0.1, found[:, 4])
        change = np.clip(found[:, :4] / gain[:, None], [-0.05, -0.05, -2, -2], [0.05, 0.05, 2, 2])
        scale = np.clip(parameters[:, :2] * (1 + change[:, :2]), *_SCALES)
        shift = np.clip(parameters[:, 2:] + change[:, 2:] * parameters[:, :2], -_SHIFT * side, _SHIFT * side)
        parameters = np.concatenate([scale, shift], 1).astype(np.float32)
    return parameters


def _sampled(pictures: np.ndarray, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pictures at the parameters' places, bilinearly, and where those lie inside them."""
    side = pictures.shape[1]
    x = np.arange(side, dtype=np.float32) - (side - 1) / 2
    columns = parameters[:, :1] * x + parameters[:, 2:3] + (side - 1) / 2
    rows = parameters[:, 1:2] * x + parameters[:, 3:] + (side - 1) / 2

    def inside(places: np.ndarray) -> np.ndarray:
        return (places >= -0.25) & (places <= side - 0.75)

    moved = _weights(rows, side) @ pictures @ _weights(columns, side).transpose(0, 2, 1)
    return moved, inside(rows)[:, :, None] & inside(columns)[:, None]


def _weights(places: np.ndarray, side: int) -> np.ndarray:
    """Returns matrices [N, side, side] that interpolate a row of pixels at the places."""
    places = np.clip(places, 0, side - 1)
    start = np.minimum(places.astype(np.int64), side - 2)
    part = places - start
    matrix = np.zeros((len(places), side, side), np.float32)
    pair, row = np.arange(len(places))[:, None], np.arange(side)[None]
    matrix[pair, row, start], matrix[pair, row, start + 1] = 1 - part, part
    return matrix


def _details(pictures: np.ndarray, fine: int, coarse: int) -> np.ndarray:
    return (_averaged(pictures, fine) if fine else pictures) - _averaged(pictures, coarse)


def _averaged(pictures: np.ndarray, radius: int) -> np.ndarray:
    """Averages over squares of 2 · radius + 1 pixels, twice, which is nearly a Gaussian."""
    width = 2 * radius + 1
    for axis in (1, 2, 1, 2):
        margin = [(0, 0), (radius + 1, radius) if axis == 1 else (0, 0), (radius + 1, radius) if axis == 2 else (0, 0)]
        sums = np.cumsum(np.pad(pictures, margin, mode="edge"), axis)
        count = pictures.shape[axis]
        ends, starts = (np.take(sums, range(first, first + count), axis) for first in (width, 0))
        pictures = (ends - starts) / width
    return pictures


def _correlation(first: np.ndarray, second: np.ndarray, mask: np.ndarray) -> np.ndarray:
    weights = mask.astype(np.float32)
    count = np.maximum(weights.sum((1, 2), keepdims=True), 1)
    a, b = ((values - (values * weights).sum((1, 2), keepdims=True) / count) * weights for values in (first, second))
    return (a * b).sum((1, 2)) / np.maximum(1e-6, np.sqrt((a * a).sum((1, 2)) * (b * b).sum((1, 2))))


def _shrunk(pictures: np.ndarray, factor: int) -> np.ndarray:
    count, side, _ = pictures.shape
    return pictures.reshape(count, side // factor, factor, side // factor, factor).mean((2, 4), dtype=np.float32)
