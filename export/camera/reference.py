"""The camera app's preprocessing of a frame, in the same integer arithmetic, to the bit.

The app (android_demo/core) converts, rotates, resizes and crops in one pass of fixed-point numbers. This is the same, written
for clarity; it differs from `Preprocessing.resize_and_crop` by one of 256 grey levels at most.
"""

import math

import numpy as np

from shufflenet_tf.preprocessing import Preprocessing

ROTATIONS = (0, 90, 180, 270)
_BITS = 14  # of a weight; those of a pixel sum to 1 << 14
_KEPT = 7  # bits behind the point between the two directions
_CENTRE = 128  # of U and V

# BT.601 times 65536: Y's factor, Y of black, V's part in red, U's and V's in green, U's in blue.
_MATRICES = {"full": (65536, 0, 91881, 22553, 46802, 116130), "limited": (76309, 16, 104597, 25675, 53279, 132201)}


def yuv_to_rgb(y: np.ndarray, u: np.ndarray, v: np.ndarray, limits: str) -> np.ndarray:
    """Converts a YUV 4:2:0 picture under BT.601; each sample of U and V counts for the 2 x 2 pixels that it covers.

    Args:
      y: uint8 [h, w].
      u, v: uint8 [(h + 1) // 2, (w + 1) // 2].
      limits: "full" (values of 0 to 255, as in JPEG) or "limited" (16 to 235 or 240, as in video).

    Returns:
      uint8 [h, w, 3].
    """
    scale, black, red_v, green_u, green_v, blue_u = _MATRICES[limits]
    rows, columns = (np.arange(side) // 2 for side in y.shape)
    u, v = (plane[rows][:, columns].astype(np.int64) - _CENTRE for plane in (u, v))
    grey = (y.astype(np.int64) - black) * scale
    rgb = np.stack([grey + red_v * v, grey - green_u * u - green_v * v, grey + blue_u * u], -1)
    return np.clip((rgb + (1 << 15)) >> 16, 0, 255).astype(np.uint8)


def resize_and_crop(image: np.ndarray, preprocessing: Preprocessing, size: tuple[int, int], rotation: int = 0) -> np.ndarray:
    """Rotates a frame upright, resizes it and crops its centre.

    Args:
      image: uint8 [h, w, 3], RGB, as it lies in memory.
      preprocessing: how.
      size: (height, width) of the network's input.
      rotation: degrees clockwise to rotate it upright.

    Returns:
      uint8 [height, width, 3].
    """
    upright = np.rot90(image, -rotation // 90)
    factor = np.max(np.float32(size) / np.float32(upright.shape[:2])) * np.float32(preprocessing.resize / preprocessing.crop)
    axes = []
    for source, cut in zip(upright.shape[:2], size, strict=True):
        resized = max(int(np.rint(np.float32(source) * factor)), cut)
        axes.append(_weights(source, resized, (resized - cut) // 2, cut, preprocessing))
    # The order of the directions matters, as values are rounded between them: the one along memory's columns comes first.
    first = 1 if rotation % 180 else 0
    pixels = upright
    for axis, kept in ((first, _KEPT), (1 - first, -_KEPT)):
        # float64 holds all of these whole numbers, and multiplies matrices of them much faster.
        sums = np.tensordot(axes[axis].astype(np.float64), pixels.astype(np.float64), (1, axis))
        shift = _BITS - kept
        pixels = (np.moveaxis(sums, 0, axis).astype(np.int64) + (1 << (shift - 1))) >> shift
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _weights(source: int, resized: int, offset: int, size: int, preprocessing: Preprocessing) -> np.ndarray:
    """Returns the weight of each source pixel in each pixel along an axis, in 1/16384: int64 [size, source].

    Args:
      source: pixels of the axis.
      resized: pixels after resizing, of which `size` are kept from `offset` on.
    """
    step = source / resized
    widening = max(step, 1.0) if preprocessing.antialias else 1.0
    table = np.zeros((size, source), np.int64)
    for i, row in enumerate(table):
        if preprocessing.interpolation == "area":
            low = (i + offset) * step
            high = min(low + step, source)
            start = min(math.floor(low), source - 1)
            end = max(math.ceil(high), start + 1)
            weights = [min(k + 1.0, high) - max(float(k), low) for k in range(start, end)]
        else:
            radius, kernel = _KERNELS[preprocessing.interpolation]
            middle, reach = (i + offset + 0.5) * step, radius * widening
            start = min(max(math.ceil(middle - reach - 0.5), 0), source - 1)
            end = min(max(math.floor(middle + reach - 0.5), 0), source - 1) + 1
            weights = [kernel(abs(k + 0.5 - middle) / widening) for k in range(start, end)]
        row[start:end] = _rounded(weights)
    return table


def _rounded(weights: list[float]) -> list[int]:
    """Returns integers in the same proportions; the remainder of rounding goes to the largest."""
    total = 0.0
    for weight in weights:  # not sum(): since Python 3.12 it rounds otherwise
        total += weight
    whole = [math.floor(weight / total * (1 << _BITS) + 0.5) for weight in weights]
    whole[whole.index(max(whole))] += (1 << _BITS) - sum(whole)
    return whole


def _triangle(x: float) -> float:
    return max(0.0, 1.0 - x)


def _cubic(x: float) -> float:
    """Keys' kernel with a = -0.5."""
    if x >= 2:
        return 0.0
    return ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0 if x >= 1 else ((1.5 * x - 2.5) * x) * x + 1.0


def _lanczos3(x: float) -> float:
    if x >= 3:
        return 0.0
    return 1.0 if x <= 1e-3 else 3.0 * math.sin(math.pi * x) * math.sin(math.pi * x / 3.0) / (math.pi * math.pi * x * x)


_KERNELS = {"bilinear": (1.0, _triangle), "bicubic": (2.0, _cubic), "lanczos3": (3.0, _lanczos3)}
