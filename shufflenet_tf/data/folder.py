"""Opens a folder of photos, with a subfolder for each class, as a Source."""

import difflib
import hashlib
import os
import pathlib
import unicodedata
from collections.abc import Callable

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
    strict: bool = False,
    log: Callable[[str], None] = print,
) -> Source:
    """Opens a folder of photos in one of two layouts.

    PATH/train/<class>/* with PATH/test/<class>/* (or val, validation, valid); or PATH/<class>/*, which is split here.
    JPEG, PNG, WebP, BMP and GIF files (the first frame) at any depth inside a class count, whatever their extension.
    Each file is decoded once; those that fail are skipped and reported. Labels are the sorted names of class folders.
    A photo's side of the split depends only on its class, its name and the seed, so it doesn't change when photos are
    added. Only a class that would be missing on one side moves one photo there.

    Args:
      path: the folder.
      seed: chooses the split, where the folder has none of its own.
      test_fraction: share of each class's photos to test on, between 0 and 1, where the folder has no split of its own.
      strict: refuse the folder if any file in it is unusable, rather than skip the file.
      log: called with each line of progress and of what was skipped.

    Raises:
      UserError: the folder has no such layout, too few images, or (strict) an unusable file.
    """
    root = pathlib.Path(path).expanduser()
    if not 0 < test_fraction < 1:
        raise UserError(f"test_fraction is {test_fraction} but it must lie between 0 and 1: give 0.2, for example")
    _check_is_folder(root)
    train, test = _split_folders(root, log)
    files = {side: _list_classes(folder, log) for side, folder in (("train", train), ("test", test)) if folder}
    labels = tuple(files["train"])
    if len(labels) == 1:
        raise UserError(f"{train} has one class only, {labels[0]}: add a folder for at least one other class")
    if test:
        _check_same_classes(train, test, *files.values())
    photos = check_photos([file for classes in files.values() for names in classes.values() for file in names], strict, log)
    usable = {
        side: {label: [photos[file] for file in names if file in photos] for label, names in classes.items()}
        for side, classes in files.items()
    }
    for side, folder in (("train", train), ("test", test)):
        for label, kept in usable.get(side, {}).items():
            if not kept:
                raise UserError(f"Class folder {folder / label} has no usable image: add images or remove the folder")
    if not test:
        usable = _divide(usable["train"], train, seed, test_fraction)
    return Source(root.resolve().name, labels, split_of(usable["train"], strict, log), split_of(usable["test"], strict, log))


def _check_is_folder(root: pathlib.Path) -> None:
    if os.path.isdir(root):
        return
    if os.path.exists(root):
        raise UserError(f"{root} is a file: give the folder that holds one folder of images per class")
    siblings = [entry.name for entry in folders(root.parent)] if os.path.isdir(root.parent) else []
    near = difflib.get_close_matches(root.name, siblings, n=1)
    hint = f"did you mean {root.parent / near[0]}?" if near else "check the path"
    raise UserError(f"There is no folder {root}: {hint}")


def _split_folders(root: pathlib.Path, log: Callable[[str], None]) -> tuple[pathlib.Path, pathlib.Path | None]:
    """The folders of classes to train on and to test on; None: there is but one, to be split."""
    named = {folder.name.lower(): folder for folder in folders(root)}
    train = named.get("train")
    tests = [named[name] for name in _TEST_NAMES if name in named]
    if train and tests:
        if len(tests) > 1:
            log(f"{root} has {' and '.join(folder.name for folder in tests)}: testing on {tests[0].name}")
        return train, tests[0]
    # One of these names alone may be a class ("valid", "train"); with folders inside it is half of a split.
    if train and folders(train):
        if len(named) == 1:
            log(f"{root} has no test folder: splitting {train.name}")
            return train, None
        raise UserError(f"{root} has a {train.name} folder but no test folder: name the folder of test images test or val")
    for folder in tests:
        if folders(folder):
            raise UserError(f"{root} has a {folder.name} folder but no train folder: name the folder to train on train")
    return root, None


def _list_classes(folder: pathlib.Path, log: Callable[[str], None]) -> dict[str, list[str]]:
    """Returns {class: sorted paths of all its files}, classes sorted."""
    ignored: list[pathlib.Path] = []
    found = [entry for entry in entries(folder, ignored.append) if os.path.isdir(entry)]
    names = {entry.name for entry in found}
    copies: list[pathlib.Path] = []

    def is_copy(entry: pathlib.Path) -> bool:
        """Returns whether a folder is a copy of the dataset: it has folders named like the classes, at most one level down."""
        levels = [inner := folders(entry), *map(folders, inner)]
        is_one = any(len({folder.name for folder in level} & (names - {entry.name})) >= 2 for level in levels)
        # A class may have photos besides a copy.
        is_one = is_one and not any(is_photo(file) for file in entries(entry) if not os.path.isdir(file))
        copies.extend([entry] * is_one)
        return is_one

    found = [entry for entry in found if not is_copy(entry)] or found
    _check_levels(folder, found, log)
    classes: dict[str, list[str]] = {}
    for entry in found:
        label = normalize(entry.name, "Class folder")
        # A class that is a link to a folder above would include everything there.
        files = list(walk(entry, ignored.append, is_copy, (os.path.realpath(folder),)))
        if label in classes:
            log(f"{folder} has the class {label} in two spellings: their photos are merged")
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
    """Refuses a folder whose subfolders contain the class folders instead of photos, and says where those are."""
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
    log(f"the classes are the folders in {folder}; the folders inside them, such as {some}, are not classes")


def _check_same_classes(train: pathlib.Path, test: pathlib.Path, in_train: dict, in_test: dict) -> None:
    for here, there, missing in ((train, test, in_train.keys() - in_test), (test, train, in_test.keys() - in_train)):
        if missing:
            names = ", ".join(sorted(missing))
            others = {label.casefold() for label in (in_train.keys() ^ in_test) - missing}
            case = ", except for capital letters" if others & {label.casefold() for label in missing} else ""
            raise UserError(f"{here} has classes that {there} lacks ({names}{case}): add them there or remove them here")


def _divide(classes: dict[str, list[CheckedPhoto]], folder: pathlib.Path, seed: int, test_fraction: float) -> dict:
    """Splits each class by a hash of its files' names, which stays the same whatever else is in the folder."""
    sides = {"train": {}, "test": {}}
    for label, photos in classes.items():
        if len(photos) < 2:
            raise UserError(f"Class {label} has one usable image: it needs at least two, one to train and one to test on")
        rank = {photo: _rank(os.path.relpath(photo.path, folder), seed) for photo in photos}
        order = sorted(photos, key=rank.get)
        count = sum(rank[photo] < test_fraction for photo in photos)
        chosen = set(order[: min(max(count, 1), len(photos) - 1)])
        sides["train"][label] = [photo for photo in photos if photo not in chosen]
        sides["test"][label] = [photo for photo in photos if photo in chosen]
    return sides


def _rank(name: str, seed: int) -> float:
    """A number in [0, 1) that depends on the name as people see it, not on the system that spelled it."""
    name = unicodedata.normalize("NFC", name.replace(os.sep, "/"))
    digest = hashlib.sha256(f"{seed}/{name}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
