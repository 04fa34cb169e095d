"""What can be wrong with the pixels of a photo: too few, blurred, dark, overexposed, all of one colour."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from PIL import Image

from shufflenet_tf.audit.records import BLURRED, BRIGHT, DARK, EMPTY, TINY, Finding

SIDE = 256  # pixels of the shorter side, at which all photos are compared
_COARSE = 8  # pixels of the details that the finest ones are compared with
_BLOCKS = 8  # a photo is as sharp as its sharpest parts: a background may be blurred
_SHARPEST = 0.8
_TINY = 96  # pixels of the shorter side; the smallest networks of this project see 128 or more
_DARK, _BRIGHT = 45.0, 225.0  # mean grey level, of 255
_EMPTY, _EMPTY_DARK = 4.0, 1.0  # standard deviation of the grey levels, the second one of a dark photo
_DEVIATIONS, _MUCH = 3.5, 0.4  # a blurred photo is so far below the median, and has less than this part of its sharpness


@dataclasses.dataclass(frozen=True)
class Quality:
    """Measures of one photo.

    Attributes:
      side: pixels of its shorter side.
      sharpness: how strong the finest details are relative to coarser ones, in the photo's sharpest parts.
      brightness: mean grey level, 0 to 255.
      contrast: standard deviation of the grey levels.
    """

    side: int
    sharpness: float
    brightness: float
    contrast: float


def measure(image: Image.Image, size: tuple[int, int]) -> Quality:
    """Measures a photo.

    Args:
      image: RGB, at least `SIDE` pixels in the shorter side where the photo has them.
      size: width and height of the whole photo.
    """
    scale = SIDE / min(image.size)
    if scale < 1:
        image = image.resize([round(side * scale) for side in image.size], Image.Resampling.BOX)
    grey = np.asarray(image.convert("L"), np.float32)
    return Quality(min(size), _sharpness(grey), float(grey.mean()), float(grey.std()))


def _sharpness(grey: np.ndarray) -> float:
    """The strength of the Laplacian over that of the photo at an eighth of the size, where it is sharpest.

    The ratio does not depend on the contrast and hardly on what is on the photo. A blur takes it down.
    """
    height, width = (side // (_COARSE * _BLOCKS) * _COARSE * _BLOCKS for side in grey.shape)
    if min(height, width) == 0:
        return float("nan")
    grey = grey[:height, :width]
    small = grey.reshape(height // _COARSE, _COARSE, width // _COARSE, _COARSE).mean((1, 3))
    fine, coarse = _block_energy(grey), _block_energy(small)
    busy = coarse >= np.quantile(coarse, _SHARPEST)
    return float(np.sqrt(fine[busy].sum() / max(coarse[busy].sum(), 1e-6)))


def _block_energy(grey: np.ndarray) -> np.ndarray:
    padded = np.pad(grey, 1, mode="edge")
    laplacian = 4 * grey - padded[:-2, 1:-1] - padded[2:, 1:-1] - padded[1:-1, :-2] - padded[1:-1, 2:]
    rows, columns = grey.shape[0] // _BLOCKS, grey.shape[1] // _BLOCKS
    return (laplacian**2).reshape(_BLOCKS, rows, _BLOCKS, columns).mean((1, 3))


def judge(measures: Mapping[str, Quality]) -> tuple[list[Finding], list[str]]:
    """Returns the findings about photos, {path: its measures}, relative to all of them, and notes on the whole set."""
    notes, findings = [], []
    tiny = {path: quality for path, quality in measures.items() if quality.side < _TINY}
    if len(tiny) > len(measures) / 2:
        notes.append(f"{len(tiny):,} of {len(measures):,} photos have fewer than {_TINY} pixels in their shorter side.")
    else:
        findings += [Finding(TINY, path, 1 - q.side / _TINY, f"shorter side {q.side} px") for path, q in tiny.items()]
    for path, q in measures.items():
        if q.contrast < (_EMPTY_DARK if q.brightness < _DARK else _EMPTY):
            findings.append(Finding(EMPTY, path, 1 - q.contrast / _EMPTY, "nothing can be seen"))
        elif q.brightness < _DARK:
            findings.append(Finding(DARK, path, 1 - q.brightness / _DARK, f"mean brightness {q.brightness / 255:.0%}"))
        elif q.brightness > _BRIGHT:
            score = (q.brightness - _BRIGHT) / (255 - _BRIGHT)
            findings.append(Finding(BRIGHT, path, score, f"mean brightness {q.brightness / 255:.0%}"))
    return findings + _blurred(measures), notes


def _blurred(measures: Mapping[str, Quality]) -> list[Finding]:
    usable = {path: q.sharpness for path, q in measures.items() if q.sharpness > 0 and q.contrast >= _EMPTY}
    if len(usable) < 10:  # no set to be relative to
        return []
    logarithms = np.log(np.array(list(usable.values())))
    median = np.median(logarithms)
    spread = 1.4826 * np.median(np.abs(logarithms - median))
    limit = min(median - _DEVIATIONS * spread, median + np.log(_MUCH))
    return [
        Finding(
            BLURRED, path, float(1 - sharpness / np.exp(median)), f"{sharpness / np.exp(median):.0%} of the usual sharpness"
        )
        for path, sharpness in usable.items()
        if np.log(sharpness) < limit
    ]
