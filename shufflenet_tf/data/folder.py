"""A folder of one's own photos, a subfolder for each class, as a Source."""

import difflib
import hashlib
import os
import pathlib
import unicodedata
from collections.abc import Callable, Mapping

from shufflenet_tf.data import separation
from shufflenet_tf.data.checked_photos import CheckedPhoto, check_photos, split_of
from shufflenet_tf.data.labels import normalize, printable
from shufflenet_tf.data.photos import entries, folders, is_photo, say_ignored, walk
from shufflenet_tf.data.source import Source
from shufflenet_tf.errors import UserError

_TEST_NAMES = ("test", "val", "validation", "valid")


def open_folder(
    path: str | os.PathLike,
    *,
    seed: int = 0,
    test_fraction: float = 0.2,
    validation: float = 0.0,
    strict: bool = False,
    keep_copies: bool = False,
    log: Callable[[str], None] = print,
) -> Source:
    """Opens a folder of photos in one of two layouts.

    PATH/train/<class>/* with PATH/test/<class>/* (or val, validation, valid); or PATH/<class>/*, which is split here.
    JPEG, PNG, WebP, BMP and GIF files (the first frame) at any depth inside a class count, whatever their extension.
    Every one is decoded once; those that fail are skipped and reported. Labels are the sorted names of class folders.
    A photo's side of the split depends only on its class, its name and the seed, so that it stays there when photos
    are added; but a class too small to have one on each side moves its nearest there, and copies of a photo, recompressed,
    resized, slightly cropped or mirrored ones too, are on the side of the first of them. Where the folder has a split of its
    own, copies of training photos are left out of the others.

    Args:
      path: the folder.
      seed: chooses the split, where the folder has none of its own.
      test_fraction: share of each class's photos to test on, between 0 and 1, where the folder has no split of its own.
      validation: share of each class's training photos to set aside for validation; 0: none. Where PATH has a folder for that
        besides its test folder, all photos in it are taken instead.
      strict: refuse the folder if any file in it is unusable, rather than skip the file.
      keep_copies: take copies for different photos. They are not looked for either among more than `copies.MOST` photos.
      log: called with each line of progress and of what was skipped.

    Raises:
      UserError: the folder has no such layout, too few images, or (strict) an unusable file.
    """
    root = pathlib.Path(path).expanduser()
    if not 0 < test_fraction < 1:
        raise UserError(f"test_fraction is {test_fraction} but it must lie between 0 and 1: give 0.2, for example")
    sides, files = list_folder(root, log, validation > 0)
    train, labels = sides["train"], tuple(files["train"])
    everything = [file for classes in files.values() for names in classes.values() for file in names]
    is_compared = separation.is_compared(len(everything), keep_copies, log)
    photos = check_photos(everything, strict, log, is_compared)
    original = separation.originals(photos) if is_compared else {}
    usable = {
        side: {label: [photos[file] for file in names if file in photos] for label, names in classes.items()}
        for side, classes in files.items()
    }
    for side, classes in usable.items():
        for label, kept in classes.items():
            if not kept:
                raise UserError(f"Class folder {sides[side] / label} has no usable image: add images or remove the folder")
    if "test" not in usable:
        separation.say_copies(original, root, log)
        usable["train"], usable["test"] = divide(usable["train"], train, f"{seed}", test_fraction, original=original)
    usable = separation.without_copies(usable, original, root, log)
    if validation and "validation" not in usable:
        # Another key, as the lowest ranks by the first one are in the test split.
        key = f"validation/{seed}"
        usable["train"], usable["validation"] = divide(usable["train"], train, key, validation, 0, original)
    splits = {side: split_of(classes, strict, log) for side, classes in usable.items() if any(classes.values())}
    return Source(root.resolve().name, labels, **splits)


def list_folder(
    root: pathlib.Path, log: Callable[[str], None], validation: bool = True
) -> tuple[dict[str, pathlib.Path], dict[str, dict[str, list[str]]]]:
    """Lists what is in a folder of photos, of the layouts of `open_folder`.

    Args:
      root: the folder.
      log: called with a line on what was left out.
      validation: list a folder for validation too, where there is one besides the test folder.

    Returns:
      The folders by side ("train", and "test" and "validation" where there are such), and the paths of their files by side
      and class.

    Raises:
      UserError: the folder has no such layout.
    """
    _check_is_folder(root)
    sides = _split_folders(root, log)
    if not validation:
        sides.pop("validation", None)
    files = {side: _list_classes(folder, log) for side, folder in sides.items()}
    if len(files["train"]) == 1:
        only = next(iter(files["train"]))
        raise UserError(f"{sides['train']} has one class only, {only}: add a folder for at least one other class")
    for side in files.keys() - {"train"}:
        _check_same_classes(sides["train"], sides[side], files["train"], files[side])
    return sides, files


def _check_is_folder(root: pathlib.Path) -> None:
    if os.path.isdir(root):
        return
    if os.path.exists(root):
        raise UserError(f"{root} is a file: give the folder that holds one folder of images per class")
    siblings = [entry.name for entry in folders(root.parent)] if os.path.isdir(root.parent) else []
    near = difflib.get_close_matches(root.name, siblings, n=1)
    hint = f"did you mean {root.parent / near[0]}?" if near else "check the path"
    raise UserError(f"There is no folder {root}: {hint}")


def _split_folders(root: pathlib.Path, log: Callable[[str], None]) -> dict[str, pathlib.Path]:
    """The folders of classes by side: train, which is to be split where it is alone, test, and validation."""
    named = {folder.name.lower(): folder for folder in folders(root)}
    train = named.get("train")
    tests = [named[name] for name in _TEST_NAMES if name in named]
    if train and tests:
        if len(tests) > 1:
            log(f"{root} has {' and '.join(folder.name for folder in tests)}: testing on {tests[0].name}")
        return dict(zip(("train", "test", "validation"), (train, *tests), strict=False))
    # One of these names alone may be a class ("valid", "train"); with folders inside it is half of a split.
    if train and folders(train):
        if len(named) == 1:
            log(f"{root} has no test folder: splitting {train.name}")
            return {"train": train}
        raise UserError(f"{root} has a {train.name} folder but no test folder: name the folder of test images test or val")
    for folder in tests:
        if folders(folder):
            raise UserError(f"{root} has a {folder.name} folder but no train folder: name the folder to train on train")
    return {"train": root}


def _list_classes(folder: pathlib.Path, log: Callable[[str], None]) -> dict[str, list[str]]:
    """{class: sorted paths of all its files}, classes sorted."""
    ignored: list[pathlib.Path] = []
    found = [entry for entry in entries(folder, ignored.append) if os.path.isdir(entry)]
    names = {entry.name for entry in found}
    copies: list[pathlib.Path] = []

    def is_copy(entry: pathlib.Path) -> bool:
        """Whether a folder holds the dataset once more: folders that are named as the classes are, at once or one below."""
        levels = [inner := folders(entry), *map(folders, inner)]
        is_one = any(len({folder.name for folder in level} & (names - {entry.name})) >= 2 for level in levels)
        # A class may have photos beside a copy that lies in it.
        is_one = is_one and not any(is_photo(file) for file in entries(entry) if not os.path.isdir(file))
        copies.extend([entry] * is_one)
        return is_one

    found = [entry for entry in found if not is_copy(entry)] or found
    _check_levels(folder, found, log)
    classes: dict[str, list[str]] = {}
    for entry in found:
        label = normalize(entry.name, "Class folder")
        # A class that is a link to a folder above would take in all that lies there.
        files = list(walk(entry, ignored.append, is_copy, (os.path.realpath(folder),)))
        if label in classes:
            log(f"{folder} has the class {label} in two spellings: their photos are put together")
        elif not files:
            raise UserError(f"Class folder {entry} is empty: add images or remove the folder")
        classes[label] = sorted(classes.get(label, []) + files)
    say_ignored([entry for entry in ignored if entry not in copies], log)
    for entry in copies:
        log(f"ignored {printable(str(entry))}: it holds folders of the same names as the classes, a copy of the dataset")
    cases = {label.casefold(): label for label in classes}
    for label in classes:
        if (other := cases[label.casefold()]) != label:
            log(f"{label} and {other} count as two classes: if they are one, put their photos into one folder")
    return dict(sorted(classes.items()))


def _check_levels(folder: pathlib.Path, found: list[pathlib.Path], log: Callable[[str], None]) -> None:
    """Refuses folders that hold the folders of the classes rather than photos, and says where those are."""
    if not found:
        loose = entries(folder)
        if loose:
            raise UserError(
                f"{folder} has files, such as {printable(loose[0].name)}, but no class folders: "
                "move each class's images into a folder of its own"
            )
        raise UserError(f"{folder} is empty: put one folder of images per class into it")
    inner = {entry: folders(entry) for entry in found}
    if len(found) == 1:
        below, levels = found[0], 1
        while len(folders(below)) == 1 and len(entries(below)) == 1:
            below, levels = folders(below)[0], levels + 1
        if len(folders(below)) >= 2:
            some = ", ".join(printable(entry.name) for entry in folders(below)[:3])
            raise UserError(
                f"{folder} has one folder only, and the dataset ({some}) is "
                f"{'one level' if levels == 1 else f'{levels} levels'} down: give folder:{printable(str(below))}"
            )
        return
    if any(len(within) < 2 or len(within) < len(entries(entry)) for entry, within in inner.items()):
        return
    sets = [sorted(printable(within.name) for within in those) for those in inner.values()]
    some = ", ".join(sets[0][:3])
    if all(names == sets[0] for names in sets):
        first, second = (printable(entry.name) for entry in found[:2])
        raise UserError(
            f"{folder} has folders, such as {first} and {second}, that hold folders of the same names ({some}), which look "
            f"like the classes: name the folders train and test, or give folder:{printable(str(found[0]))}"
        )
    log(f"the classes are the folders in {folder}; the folders within those, such as {some}, are not told apart")


def _check_same_classes(train: pathlib.Path, test: pathlib.Path, in_train: dict, in_test: dict) -> None:
    for here, there, missing in ((train, test, in_train.keys() - in_test), (test, train, in_test.keys() - in_train)):
        if missing:
            names = ", ".join(sorted(missing))
            others = {label.casefold() for label in (in_train.keys() ^ in_test) - missing}
            case = ", but for capital letters" if others & {label.casefold() for label in missing} else ""
            raise UserError(f"{here} has classes that {there} has not ({names}{case}): add them there or remove them here")


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


def _rank(name: str, key: str) -> float:
    """A number in [0, 1) that depends on the name as people see it, not on the system that spelled it."""
    name = unicodedata.normalize("NFC", name.replace(os.sep, "/"))
    digest = hashlib.sha256(f"{key}/{name}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
