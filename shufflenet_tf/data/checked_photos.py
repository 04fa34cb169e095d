"""Checks photos once, in parallel, and reads them later in a dataset, when they may have changed or vanished."""

import dataclasses
import functools
import multiprocessing.pool
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from shufflenet_tf.data import decode, pillow_files
from shufflenet_tf.data.alignment import SIDE
from shufflenet_tf.data.cache import Cache
from shufflenet_tf.data.fingerprints import fingerprint
from shufflenet_tf.data.source import Split
from shufflenet_tf.errors import UserError, printable

_THREADS = min(8, os.cpu_count() or 1)
_PROGRESS_SECONDS = 5


@dataclasses.dataclass(frozen=True)
class CheckedPhoto:
    """A usable file.

    Attributes:
      path: of the file.
      orientation: EXIF's, 1 to 8.
      odd: whether TensorFlow can't decode it, or not rightly, so that Pillow converts it when it is read.
      stamp: its size in bytes and the nanosecond of its last change.
      fingerprint: of the image, to find copies by; b"": not wanted.
    """

    path: str
    orientation: int
    odd: bool
    stamp: tuple[int, int]
    fingerprint: bytes = dataclasses.field(default=b"", compare=False, repr=False)


def check_photos(
    files: Sequence[str], strict: bool, log: Callable[[str], None], fingerprints: bool = False
) -> dict[str, CheckedPhoto]:
    """Decodes every file once and returns those that can be used, by path; with their fingerprints, if these are wanted.

    Raises:
      UserError: (strict) some can't be used.
    """
    photos, skipped, inspect = {}, [], _fingerprinted if fingerprints else _inspect
    reported = time.monotonic()
    with warnings.catch_warnings(), multiprocessing.pool.ThreadPool(_THREADS) as pool:
        warnings.simplefilter("ignore")  # Pillow warns of harmless oddities, such as unknown EXIF fields
        for done, (file, found) in enumerate(zip(files, pool.imap(inspect, files, 16), strict=True), 1):
            if isinstance(found, CheckedPhoto):
                photos[file] = found
            else:
                skipped.append(f"{printable(os.path.basename(file))} ({found})")
            if time.monotonic() - reported > _PROGRESS_SECONDS:
                reported = time.monotonic()
                log(f"checked {done} of {len(files)} files")
    if skipped:
        which = ", ".join(skipped[:5]) + (", …" if len(skipped) > 5 else "")
        if strict:
            raise UserError(f"{len(skipped)} of {len(files)} files cannot be used: {which}: repair or remove them")
        log(f"skipped {len(skipped)} of {len(files)} files: {which}")
    return photos


def _inspect(file: str, fingerprinted: bool = False) -> CheckedPhoto | str:
    """What is to be known of a file in order to read it, or the reason why it is of no use."""
    try:
        found = decode.examine_closely(file, SIDE if fingerprinted else None)
        seen = fingerprint(found.image) if fingerprinted else b""
        return CheckedPhoto(file, found.orientation, not found.plain, _stamp(file), seen)
    except decode.UndecodableError as reason:
        return str(reason)
    except OSError:  # it has just vanished
        return "no such file"


_fingerprinted = functools.partial(_inspect, fingerprinted=True)


def _stamp(file: str) -> tuple[int, int]:
    status = os.stat(file)
    return status.st_size, status.st_mtime_ns


def split_of(
    classes: Mapping[str, Sequence[CheckedPhoto]],
    strict: bool,
    log: Callable[[str], None],
    cache: Cache | None = None,
    service: str | None = None,
) -> Split:
    """Returns the photos of {label: photos}, labels in order, as a split that is read in parallel.

    A photo that can't be read any more is left out, and `log` names it once. If `strict`, or if no photo is left, the
    dataset ends with an error that says so.

    Raises:
      UserError: a tf.data `service` is to read the photos, and can't read all.
    """
    photos = [dataclasses.replace(photo, fingerprint=b"") for group in classes.values() for photo in group]
    labels = tf.constant([index for index, group in enumerate(classes.values()) for _ in group], tf.int64)
    load = _Loader(photos, strict, log, cache)

    def read_here(index: tf.Tensor) -> dict[str, tf.Tensor]:
        image, orientation = tf.numpy_function(load, [index], [tf.string, tf.int32])
        image.set_shape([])
        orientation.set_shape([])
        return {"image": image, "label": labels[index], "orientation": orientation, "position": index}

    read = _portable(photos, labels) if service else read_here

    def examples(seed: tf.Tensor | int | None, wanted: tf.Tensor | None = None) -> tf.data.Dataset:
        order = tf.range(len(photos), dtype=tf.int64)
        if seed is not None:  # unlike Dataset.shuffle, this depends on nothing else, such as the global seed
            order = tf.random.experimental.stateless_shuffle(order, tf.stack([tf.cast(seed, tf.int64), 0]))
        order = order if wanted is None else tf.boolean_mask(order, wanted)
        read_ones = tf.data.Dataset.from_tensor_slices(order).map(read, tf.data.AUTOTUNE, deterministic=True)
        return read_ones.filter(lambda example: tf.not_equal(example["image"], ""))

    return Split(len(photos), examples, tuple(photo.path for photo in photos), service)


def _portable(photos: Sequence[CheckedPhoto], labels: tf.Tensor) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Returns a reader of photos that other processes can run: without Python, and so without a check of each photo."""
    if odd := [photo.path for photo in photos if photo.odd]:
        raise UserError(
            f"A tf.data service can't read {len(odd)} of {len(photos)} photos, such as {odd[0]}, neither JPEG nor PNG: "
            "convert them, or leave --data_service out."
        )
    paths = tf.constant([os.fsencode(os.path.abspath(photo.path)) for photo in photos])
    orientations = tf.constant([photo.orientation for photo in photos], tf.int32)

    def read(index: tf.Tensor) -> dict[str, tf.Tensor]:
        image = tf.io.read_file(paths[index])
        return {"image": image, "label": labels[index], "orientation": orientations[index], "position": index}

    return read


class _Loader:
    """Returns (content, orientation) for the index of a photo; the content is empty if the photo can't be read any more."""

    def __init__(self, photos: Sequence[CheckedPhoto], strict: bool, log: Callable[[str], None], cache: Cache | None):
        self._photos, self._strict, self._log = photos, strict, log
        self._cache = cache or Cache()
        self._lost: set[int] = set()

    def __call__(self, index: np.int64) -> tuple[bytes, np.int32]:
        photo = self._photos[index]
        try:
            content = self._content(photo)
            if _stamp(photo.path) != photo.stamp:
                changed = _inspect(photo.path)
                if isinstance(changed, str):
                    raise decode.UndecodableError(changed)
                return self._content(changed), np.int32(changed.orientation)
            return content, np.int32(photo.orientation)
        except FileNotFoundError:
            self._lose(int(index), "no such file")
        except Exception as error:  # a damaged file can raise anything inside Pillow
            self._lose(int(index), getattr(error, "strerror", None) or str(error) or type(error).__name__)
        return b"", np.int32(1)

    def _content(self, photo: CheckedPhoto) -> bytes:
        return self._cache.content(photo.path, photo.stamp, lambda: self._read(photo))

    def _read(self, photo: CheckedPhoto) -> bytes:
        if photo.odd:
            return pillow_files.to_bmp(photo.path)
        with open(photo.path, "rb") as file:
            return file.read()

    def _lose(self, index: int, reason: str) -> None:
        name = printable(self._photos[index].path)
        if self._strict:
            raise UserError(f"{name} can't be read any more ({reason}): put it back, or omit --strict.")
        if index not in self._lost:
            self._lost.add(index)
            self._log(f"skipped {name} ({reason}), which could be read before")
        if len(self._lost) == len(self._photos):
            raise UserError(f"No photo of {len(self._photos)} can be read any more, such as {name} ({reason}): put them back.")
