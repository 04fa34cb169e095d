"""Copies among photos: one picture in several files, recompressed, resized, slightly cropped, mirrored or brightened.

Each photo is compared with those that look most like it at 16x16 pixels, by aligning both (`alignment.py`).
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from shufflenet_tf.data import alignment, fingerprints

MOST = 20_000  # photos; the work grows with their square
# Likeness of two files of one picture, and of two shots of one scene (benchmarks/audit.py states how many are found).
COPY, SCENE = 0.945, 0.8
_SIDE, _SIMILAR, _NEIGHBOURS = 16, 0.5, 8
_FLAT = 2.0  # standard deviation, grey levels; below it there is nothing to compare
_COLOUR_DIFFERENCE = 16.0  # mean, of 255
_ROWS = 512


@dataclasses.dataclass(frozen=True)
class Copy:
    """Two photos, by their indices, first < second; their likeness, 1 if nothing differs; whether one is mirrored."""

    first: int
    second: int
    likeness: float
    mirrored: bool = False


def find_copies(prints: Sequence[bytes], least: float = COPY, progress: Callable[[int], None] = lambda _: None) -> list[Copy]:
    """Returns pairs of photos that show the same picture, in order of their indices.

    Of several equal files, each is paired with the first. Photos without any structure are never copies.

    Args:
      prints: what `fingerprints.fingerprint` gives of each photo; b"": of a photo that is left out.
      least: likeness from which on a pair is returned: `COPY`, or `SCENE` to have two shots of one scene too.
      progress: called with the number of photos that are done.
    """
    first_of: dict[bytes, int] = {}
    copies = []
    for index, print_ in enumerate(prints):
        if print_ and np.frombuffer(print_, np.uint8)[: alignment.SIDE**2].std() >= _FLAT:
            first = first_of.setdefault(print_, index)
            copies += [Copy(first, index, 1.0)] if first != index else []
    indices = np.array(list(first_of.values()), np.int64)
    if len(indices) > 1:
        different = np.stack([np.frombuffer(prints[index], np.uint8) for index in indices])
        copies += [
            Copy(*sorted((int(indices[a]), int(indices[b]))), likeness, mirrored)
            for a, b, likeness, mirrored in _alike(different, least, progress)
        ]
    return sorted(copies, key=lambda copy: (copy.first, copy.second))


def _alike(prints: np.ndarray, least: float, progress: Callable[[int], None]) -> list[tuple[int, int, float, bool]]:
    pictures = fingerprints.luminance(prints)
    best: dict[tuple[int, int], tuple[float, bool]] = {}
    plain, mirrored = _normalized(pictures), _normalized(pictures[:, :, ::-1])
    for start in range(0, len(prints), _ROWS):
        rows = slice(start, start + _ROWS)
        for is_mirrored, others in ((False, plain), (True, mirrored)):
            pairs = _neighbours(plain[rows] @ others.T, start)
            second = pictures[pairs[:, 1]]
            second = second[:, :, ::-1] if is_mirrored else second
            found = alignment.likeness(pictures[pairs[:, 0]].astype(np.float32), second.astype(np.float32))
            for (a, b), likeness in zip(pairs.tolist(), found.tolist(), strict=True):
                if likeness >= least and likeness > best.get((a, b), (0.0,))[0] and _same_colours(prints, a, b, is_mirrored):
                    best[a, b] = (likeness, is_mirrored)
        progress(min(len(prints), start + _ROWS))
    return [(a, b, likeness, is_mirrored) for (a, b), (likeness, is_mirrored) in best.items()]


def _normalized(pictures: np.ndarray) -> np.ndarray:
    """Pictures at 16x16 as vectors without mean and of length 1, float32 [N, 256]."""
    factor = alignment.SIDE // _SIDE
    small = pictures.reshape(-1, _SIDE, factor, _SIDE, factor).mean((2, 4), dtype=np.float32).reshape(len(pictures), -1)
    small -= small.mean(1, keepdims=True)
    return small / np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-6)


def _neighbours(similarity: np.ndarray, start: int) -> np.ndarray:
    """The pairs of a block of rows, which begin at `start`, that are worth a closer look: [N, 2], each a < b."""
    count = similarity.shape[1]
    rows = np.arange(len(similarity))
    similarity[rows, start + rows] = -1
    nearest = np.argpartition(-similarity, min(_NEIGHBOURS, count - 1), axis=1)[:, :_NEIGHBOURS]
    similar = np.take_along_axis(similarity, nearest, 1) > _SIMILAR
    pairs = np.stack([np.broadcast_to(start + rows[:, None], nearest.shape)[similar], nearest[similar]], 1)
    # Each is the other's neighbour as a rule; where it is not, the pair has one chance only.
    return np.unique(np.sort(pairs, 1), axis=0)


def _same_colours(prints: np.ndarray, a: int, b: int, mirrored: bool) -> bool:
    first, second = fingerprints.colours(prints[[a, b]]).astype(np.float32)
    return bool(np.abs(first - (second[:, :, ::-1] if mirrored else second)).mean() < _COLOUR_DIFFERENCE)


def group(count: int, copies: Sequence[Copy]) -> list[int]:
    """Returns for each photo the index of the first one that it is a copy of, or a copy of a copy; its own, if of none."""
    first = list(range(count))

    def root(index: int) -> int:
        while first[index] != index:
            first[index] = index = first[first[index]]
        return index

    for copy in copies:
        a, b = sorted((root(copy.first), root(copy.second)))
        first[b] = a
    return [root(index) for index in range(count)]
