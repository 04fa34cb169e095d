"""Which photos of a folder are set aside: by a hash of their names, so that a photo stays where it is when others are added."""

import hashlib
import os
import pathlib
import unicodedata
from collections.abc import Mapping

from shufflenet_tf.data.checked_photos import CheckedPhoto
from shufflenet_tf.data.labels import name_of
from shufflenet_tf.errors import UserError


def divide(
    classes: dict[str, list[CheckedPhoto]],
    folder: pathlib.Path,
    key: str,
    fraction: float,
    least: int = 1,
    original: Mapping[str, str] | None = None,
) -> tuple[dict[str, list[CheckedPhoto]], dict[str, list[CheckedPhoto]]]:
    """Splits each class by a hash of its files' names, which stays the same whatever else is in the folder.

    `original` gives the path of the photo that a photo is a copy of: both are on one side, if there are others in the class.

    Returns:
      What stays, and what is set aside: about `fraction`, at least one photo of each class, but none of a class with fewer
      than three photos, or with copies of one photo only, if `least` is 0.
    """
    staying, aside, original = {}, {}, original or {}
    for label, photos in classes.items():
        if least and len(photos) < 2:
            raise UserError(f"Class {label} has one usable image: it needs at least two, one to train and one to test on")
        rank = {photo: _rank(os.path.relpath(original.get(photo.path, photo.path), folder), key) for photo in photos}
        order, ranks = sorted(photos, key=rank.get), sorted(rank.values())
        count = max(sum(value < fraction for value in ranks), ranks.count(ranks[0]))
        count = min(count, len(ranks) - ranks.count(ranks[-1])) or least
        chosen = set(order[:count]) if least or len(photos) > 2 else set()
        staying[label] = [photo for photo in photos if photo not in chosen]
        aside[label] = [photo for photo in photos if photo in chosen]
    return staying, aside


def fold(
    classes: dict[str, list[CheckedPhoto]],
    folder: pathlib.Path,
    key: str,
    number: int,
    folds: int,
    original: Mapping[str, str] | None = None,
) -> tuple[dict[str, list[CheckedPhoto]], dict[str, list[CheckedPhoto]]]:
    """Splits each class like `divide`, but so that each photo is set aside in exactly one of the folds."""
    staying, aside, original = {}, {}, original or {}
    for label, photos in classes.items():
        if len(photos) < 2:
            raise UserError(f"Class {label} has one usable image: it needs at least two, one to train and one to test on")
        first = {photo: os.path.relpath(original.get(photo.path, photo.path), folder) for photo in photos}
        order = sorted(set(first.values()), key=lambda name: _rank(name, key))
        names = set(order[number - 1 :: folds])
        # Copies of one picture alone are divided too: else there would be a fold without any of them to train on.
        chosen = {photo for photo in photos if first[photo] in names} if len(order) > 1 else set(photos[number - 1 :: folds])
        staying[label] = [photo for photo in photos if photo not in chosen]
        aside[label] = [photo for photo in photos if photo in chosen]
    return staying, aside


def _rank(name: str, key: str) -> float:
    """A number in [0, 1) that depends on the name as people see it, not on the system that spelled it."""
    name = unicodedata.normalize("NFC", name_of(name).replace(os.sep, "/"))
    digest = hashlib.sha256(f"{key}/{name}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
