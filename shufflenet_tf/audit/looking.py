"""Each photo is decoded once; everything that is to be known of it is taken from these pixels."""

import dataclasses
import functools
import multiprocessing.pool
import os
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np

from shufflenet_tf.audit import quality
from shufflenet_tf.audit.features import Extractor
from shufflenet_tf.data import decode
from shufflenet_tf.data.fingerprints import fingerprint

_THREADS = min(8, os.cpu_count() or 1)
_BATCH = 32
_PROGRESS_SECONDS = 5


@dataclasses.dataclass
class Seen:
    """What was seen of readable photos, in order of `paths`, and why others can't be read.

    Attributes:
      paths: of the readable photos.
      measures: {path: quality}.
      prints: fingerprints.
      features: float32 [N, D].
      turned: index of a photo -> its features when it is turned by 90, 180 and 270 degrees, float32 [3, D].
      stored_turned: number of photos that EXIF says to turn.
      unreadable: {path: reason}.
    """

    paths: list[str] = dataclasses.field(default_factory=list)
    measures: dict[str, quality.Quality] = dataclasses.field(default_factory=dict)
    prints: list[bytes] = dataclasses.field(default_factory=list)
    features: np.ndarray | None = None
    turned: dict[int, np.ndarray] = dataclasses.field(default_factory=dict)
    stored_turned: int = 0
    unreadable: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class _Photo:
    path: str
    orientation: int
    measures: quality.Quality
    print: bytes
    pixels: np.ndarray


def look(files: Sequence[str], extractor: Extractor, turn: Collection[str], log: Callable[[str], None]) -> Seen:
    """Looks at photos.

    Args:
      files: paths.
      extractor: gives the features.
      turn: those whose turned features are wanted.
      log: called with a line of progress every few seconds.
    """
    seen, features, reported = Seen(), [], time.monotonic()
    turn = set(turn)
    for photos in _batches(files, extractor):
        seen.unreadable |= {path: found for path, found in photos if isinstance(found, str)}
        readable = [found for _, found in photos if not isinstance(found, str)]
        if readable:
            features.append(extractor.extract(np.stack([photo.pixels for photo in readable])))
        chosen = [photo for photo in readable if photo.path in turn]
        for photo, turned in zip(chosen, _turned(extractor, [photo.pixels for photo in chosen]), strict=True):
            seen.turned[len(seen.paths) + readable.index(photo)] = turned
        seen.paths += [photo.path for photo in readable]
        seen.prints += [photo.print for photo in readable]
        seen.measures |= {photo.path: photo.measures for photo in readable}
        seen.stored_turned += sum(photo.orientation > 1 for photo in readable)
        if time.monotonic() - reported > _PROGRESS_SECONDS:
            reported = time.monotonic()
            log(f"looked at {len(seen.paths) + len(seen.unreadable):,} of {len(files):,} files")
    seen.features = np.concatenate(features) if features else np.zeros((0, 1), np.float32)
    return seen


def turned_features(files: Sequence[str], extractor: Extractor) -> dict[str, np.ndarray]:
    """Returns the features of photos turned by 90, 180 and 270 degrees, {path: float32 [3, D]}; unreadable ones are missing."""
    result = {}
    for photos in _batches(files, extractor):
        readable = [found for _, found in photos if not isinstance(found, str)]
        turned = _turned(extractor, [photo.pixels for photo in readable])
        result |= {photo.path: features for photo, features in zip(readable, turned, strict=True)}
    return result


def _turned(extractor: Extractor, images: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    if not images:
        return []
    turns = [extractor.extract(np.ascontiguousarray(np.rot90(np.stack(images), k, (1, 2)))) for k in (1, 2, 3)]
    return np.stack(turns, 1)


def _batches(files: Sequence[str], extractor: Extractor) -> Iterator[list[tuple[str, _Photo | str]]]:
    with warnings.catch_warnings(), multiprocessing.pool.ThreadPool(_THREADS) as pool:
        warnings.simplefilter("ignore")  # Pillow warns of harmless oddities, such as unknown EXIF fields
        for start in range(0, len(files), _BATCH):
            batch = files[start : start + _BATCH]
            yield list(zip(batch, pool.map(functools.partial(_read, extractor), batch, 4), strict=True))


def _read(extractor: Extractor, path: str) -> _Photo | str:
    try:
        side = max(quality.SIDE, round(max(extractor.size) * extractor.margin))
        found = decode.examine_closely(path, side)
        image = found.image
        print_, measures = fingerprint(image), quality.measure(image, found.size)
        return _Photo(path, found.orientation, measures, print_, extractor.prepare(image))
    except decode.UndecodableError as reason:
        return str(reason)
    except OSError:  # it vanished right now
        return "no such file"
