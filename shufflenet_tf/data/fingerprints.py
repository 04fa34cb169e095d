"""A photo's fingerprint: what is left of it at 64 pixels, to find copies by."""

import numpy as np
from PIL import Image

from shufflenet_tf.data.alignment import SIDE

_COLOUR_SIDE = 8
SIZE = SIDE * SIDE + 2 * _COLOUR_SIDE * _COLOUR_SIDE  # bytes


def fingerprint(image: Image.Image) -> bytes:
    """Returns `SIZE` bytes: the image's luminance at 64x64 pixels, and its two colour differences at 8x8.

    Args:
      image: RGB, upright, of any size; its shape is not kept.
    """
    side = min(image.size)
    # Averages of boxes are the same whatever a photo was resized to, but they need pixels enough.
    small = image.resize((SIDE, SIDE), Image.Resampling.BOX if side >= SIDE else Image.Resampling.BILINEAR)
    luminance, *colours = small.convert("YCbCr").split()
    return b"".join([luminance.tobytes(), *(colour.reduce(SIDE // _COLOUR_SIDE).tobytes() for colour in colours)])


def luminance(fingerprints: np.ndarray) -> np.ndarray:
    """Returns the luminance of fingerprints, uint8 [N, SIZE], as uint8 [N, SIDE, SIDE]."""
    return fingerprints[:, : SIDE * SIDE].reshape(-1, SIDE, SIDE)


def colours(fingerprints: np.ndarray) -> np.ndarray:
    """Returns the colour differences of fingerprints, uint8 [N, SIZE], as uint8 [N, 2, 8, 8]."""
    return fingerprints[:, SIDE * SIDE :].reshape(-1, 2, _COLOUR_SIDE, _COLOUR_SIDE)
