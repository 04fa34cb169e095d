"""Keeps copies of a photo on one side of the split, so that no network is tested on what it was trained on."""

import os
import pathlib
from collections.abc import Callable, Mapping

from shufflenet_tf.data import copies
from shufflenet_tf.data.checked_photos import CheckedPhoto
from shufflenet_tf.errors import printable

Classes = dict[str, list[CheckedPhoto]]
_NAMED = 3  # photos that a line names
_MANY = 5_000  # photos whose comparison takes more than a few seconds
_REMEDY = " (--keep_copies takes them for different photos)"
_OTHERS = {"test": ("train",), "validation": ("train", "test")}  # what the photos of a side must be no copies of
_KINDS = {"train": "training", "test": "test"}


def is_compared(count: int, keep_copies: bool, log: Callable[[str], None]) -> bool:
    """Returns whether copies are looked for among so many photos; says so where they are too many."""
    if not keep_copies and count > copies.MOST:
        log(f"no copies are looked for among more than {copies.MOST:,} photos")
    return not keep_copies and count <= copies.MOST


def originals(photos: Mapping[str, CheckedPhoto], log: Callable[[str], None]) -> dict[str, str]:
    """Returns the path of the first photo that a photo is a copy of, for the paths of all that are copies of another."""
    paths = list(photos)
    if len(paths) >= _MANY:
        log(f"comparing {len(paths):,} photos with each other, to find copies")
    pairs = copies.find_copies([photos[path].fingerprint for path in paths])
    first = copies.group(len(paths), pairs)
    return {paths[index]: paths[other] for index, other in enumerate(first) if index != other}


def say_copies(original: Mapping[str, str], root: pathlib.Path, log: Callable[[str], None]) -> None:
    """Logs in one line which photos are copies of others, and so on the others' side of a division."""
    if original:
        log(f"{len(original)} photos are copies, kept on the side of their originals: {_pairs(original, root)}{_REMEDY}")


def without_copies(
    sides: Mapping[str, Classes], original: Mapping[str, str], root: pathlib.Path, log: Callable[[str], None]
) -> dict[str, Classes]:
    """Leaves copies of training photos out of the test photos, and copies of either out of the validation photos.

    Args:
      sides: photos by side and label.
      original: what `originals` returns.
      root: folder of the dataset, for names.
      log: called with a line on what was left out. A class that has nothing but copies to test on keeps them, which it says.
    """
    result = dict(sides)
    for side, others in _OTHERS.items():
        if side in sides:
            result[side] = _left(side, others, result, original, root, log)
    return result


def _left(
    side: str,
    others: tuple[str, ...],
    sides: Mapping[str, Classes],
    original: Mapping[str, str],
    root: pathlib.Path,
    log: Callable[[str], None],
) -> Classes:
    seen: dict[str, str] = {}
    for photo in (photo for other in others for group in sides[other].values() for photo in group):
        seen.setdefault(original.get(photo.path, photo.path), photo.path)
    left: Classes = {}
    gone: dict[str, str] = {}
    void = []
    for label, photos in sides[side].items():
        copied = {photo.path: seen[first] for photo in photos if (first := original.get(photo.path, photo.path)) in seen}
        if side == "test" and len(copied) == len(photos):
            void.append(label)
            copied = {}
        left[label] = [photo for photo in photos if photo.path not in copied]
        gone |= copied
    if gone:
        kinds = " or ".join(_KINDS[other] for other in others)
        total = sum(map(len, sides[side].values()))
        log(f"left {len(gone)} of {total} {side} photos out, copies of {kinds} photos: {_pairs(gone, root)}{_REMEDY}")
    if void:
        which = ", ".join(void[:_NAMED]) + (", …" if len(void) > _NAMED else "")
        log(f"{which}: all test photos are copies of training photos and are kept, but what they give says nothing")
    return left


def _pairs(copied: Mapping[str, str], root: pathlib.Path) -> str:
    first = [f"{_name(path, root)} of {_name(other, root)}" for path, other in list(copied.items())[:_NAMED]]
    return ", ".join(first) + (", …" if len(copied) > _NAMED else "")


def _name(path: str, root: pathlib.Path) -> str:
    return printable(os.path.relpath(path, root))
