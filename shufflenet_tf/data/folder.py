"""Opens a folder of photos, with a subfolder for each class, as a Source."""

import dataclasses
import os
import pathlib
from collections.abc import Callable

from shufflenet_tf import home
from shufflenet_tf.data import division, separation
from shufflenet_tf.data.cache import Cache
from shufflenet_tf.data.checked_photos import CheckedPhoto, check_photos, split_of
from shufflenet_tf.data.folder_layout import NONE, check_is_folder, list_folder, none_files
from shufflenet_tf.data.photos import find
from shufflenet_tf.data.separation import Classes
from shufflenet_tf.data.source import Source, Split
from shufflenet_tf.errors import UserError


def open_folder(
    path: str | os.PathLike,
    *,
    seed: int = 0,
    test_fraction: float = 0.2,
    validation: float = 0.0,
    fold: tuple[int, int] | None = None,
    strict: bool = False,
    keep_copies: bool = False,
    cache: Cache | None = None,
    service: str | None = None,
    log: Callable[[str], None] = print,
) -> Source:
    """Opens a folder of photos in one of two layouts.

    PATH/train/<class>/* with PATH/test/<class>/* (or val, validation, valid); or PATH/<class>/*, which is split here.
    Photos of none of the classes may lie in PATH/_none, or beside the classes; they are not learned.
    JPEG, PNG, WebP, BMP and GIF files (the first frame) at any depth inside a class count, whatever their extension.
    Each is decoded once; those that fail are skipped and reported. Labels are the sorted names of class folders.
    A photo's side of the split depends only on its class, its name and the seed, so that it stays there when photos
    are added; but a class too small to have one on each side moves its nearest there, and copies of a photo, recompressed,
    resized, slightly cropped or mirrored ones too, are on the side of the first of them. Where the folder has a split of its
    own, copies of training photos are left out of the others.

    Args:
      path: the folder.
      seed, test_fraction: choose the split, where the folder has none of its own: share of each class's photos to test on.
      validation: share of each class's training photos to set aside for validation; 0: none. Where PATH has a folder for that
        besides its test folder, all photos in it are taken instead.
      fold: (number from 1, folds) of cross-validation: the fold of the training photos to test on; PATH/test is left out.
      strict: refuse the folder if any file in it is unusable, rather than skip the file.
      keep_copies: take copies for different photos. They are not looked for either among more than `copies.MOST` photos.
      cache: where files are kept once they are read; None: nowhere.
      service: address of the tf.data service that reads the training photos; None: this process does.
      log: called with each line of progress and of what was skipped.

    Raises:
      UserError: the folder has no such layout, too few images, or (strict) an unusable file.
    """
    root = home.expand(path)
    if not 0 < test_fraction < 1:
        raise UserError(f"test_fraction is {test_fraction} but it must lie between 0 and 1: give 0.2, for example")
    sides, files = list_folder(root, log, validation > 0)
    none = none_files({root, *sides.values()}, log)
    named = [file for classes in files.values() for names in classes.values() for file in names]
    is_compared = separation.is_compared(len(named), keep_copies, log)
    photos = check_photos(named + none, strict, log, is_compared)
    original = separation.originals({file: photos[file] for file in named if file in photos}, log) if is_compared else {}
    usable = {side: _usable(classes, photos, sides[side]) for side, classes in files.items()}
    usable = _sides(usable, sides["train"], root, original, _Parts(seed, test_fraction, validation, fold), log)
    if cache:
        cache.check_fits([(photo.path, photo.stamp) for photo in photos.values()], f"{root}")
    keeping = {side: (cache, service if side == "train" else None) for side in usable}
    splits = {side: split_of(photos, strict, log, *keeping[side]) for side, photos in usable.items() if any(photos.values())}
    if unknown := [photos[file] for file in none if file in photos]:
        splits["none"] = split_of({NONE: unknown}, strict, log)
    return Source(root.resolve().name, tuple(files["train"]), **splits)


@dataclasses.dataclass(frozen=True)
class _Parts:
    """How photos are divided: the arguments of `open_folder` by these names."""

    seed: int
    test_fraction: float
    validation: float
    fold: tuple[int, int] | None


def _sides(
    usable: dict[str, Classes],
    train: pathlib.Path,
    root: pathlib.Path,
    original: dict[str, str],
    parts: _Parts,
    log: Callable[[str], None],
) -> dict[str, Classes]:
    """Returns the photos of each side, with test and validation photos set aside where the folder doesn't do it.

    Args:
      usable: what the folder has for each side.
      train: the folder of the training photos.
      root: the folder of all.
      original: the photo that a photo is a copy of.
      parts: how to divide them.
      log: called with what is left out.
    """
    usable = dict(usable)
    if parts.fold or "test" not in usable:
        separation.say_copies(original, root, log)
    if parts.fold:
        usable["train"], usable["test"] = division.fold(usable["train"], train, f"{parts.seed}", *parts.fold, original)
    elif "test" not in usable:
        rest = (train, f"{parts.seed}", parts.test_fraction)
        usable["train"], usable["test"] = division.divide(usable["train"], *rest, original=original)
    usable = separation.without_copies(usable, original, root, log)
    if parts.validation and "validation" not in usable:
        key = f"validation/{parts.seed}"  # another one, as the lowest ranks by the first one are in the test split
        usable["train"], usable["validation"] = division.divide(usable["train"], train, key, parts.validation, 0, original)
    return usable


def open_unlabelled(path: str | os.PathLike, *, strict: bool = False, log: Callable[[str], None] = print) -> Split:
    """Opens all photos in a folder, at any depth, as examples without a meaningful label.

    Raises:
      UserError: there is no such folder, it has no usable photo, or (strict) an unusable file.
    """
    root = home.expand(path)
    check_is_folder(root)
    usable = list(check_photos([os.fspath(file) for file in find(root)], strict, log).values())
    if not usable:
        raise UserError(f"{root} has no usable photo: give a folder with photos like those to be classified.")
    return split_of({"": usable}, strict, log)


def _usable(classes: dict[str, list[str]], photos: dict[str, CheckedPhoto], folder: pathlib.Path) -> Classes:
    usable = {label: [photos[file] for file in names if file in photos] for label, names in classes.items()}
    for label, kept in usable.items():
        if not kept:
            raise UserError(f"Class folder {folder / label} has no usable image: add images or remove the folder")
    return usable
