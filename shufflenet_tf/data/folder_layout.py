"""What a folder of photos holds: which of its folders are classes, which are sides of a split, and which are neither."""

import os
import pathlib
from collections.abc import Callable, Collection, Iterable

from shufflenet_tf.data.labels import name_of, normalize
from shufflenet_tf.data.photos import entries, folders, is_photo, leads_up, say_ignored, walk
from shufflenet_tf.errors import UserError, path_hint, printable

NONE = "_none"  # a folder of photos of none of the classes
_TEST_NAMES = ("test", "val", "validation", "valid")


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
    check_is_folder(root)
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


def none_files(places: Collection[pathlib.Path], log: Callable[[str], None]) -> list[str]:
    """Returns the sorted paths of the photos of none of the classes in some folders of classes.

    Args:
      places: the folders of classes.
      log: called with a line on each folder that was left out.
    """
    named = [_without_links_up(folder, filter(is_none, folders(folder)), log) for folder in places]
    return sorted(file for found in named for entry in found for file in walk(entry))


def is_none(folder: pathlib.Path) -> bool:
    """Returns whether a folder holds photos of none of the classes."""
    return folder.name.lower() == NONE


def check_is_folder(root: pathlib.Path) -> None:
    """Raises a UserError that names the nearest folder if `root` is none."""
    if os.path.isdir(root):
        return
    if os.path.exists(root):
        raise UserError(f"{root} is a file: give the folder that holds one folder of images per class")
    raise UserError(f"There is no folder {root}: {path_hint(root, folders=True)}")


def _split_folders(root: pathlib.Path, log: Callable[[str], None]) -> dict[str, pathlib.Path]:
    """The folders of classes by side: train, which is to be split where it is alone, test, and validation."""
    named = {folder.name.lower(): folder for folder in folders(root) if not is_none(folder)}
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


def _without_links_up(folder: pathlib.Path, found: Iterable[pathlib.Path], log: Callable[[str], None]) -> list[pathlib.Path]:
    """Leaves out links in a folder to itself or to a folder above: such a class would take in all that lies there."""
    kept = []
    for entry in found:
        if leads_up(entry, (os.path.realpath(folder),)):
            target = printable(os.path.realpath(entry))
            log(f"ignored {printable(str(entry))}: it is a link to {target}, in which the dataset itself lies")
        else:
            kept.append(entry)
    return kept


def _list_classes(folder: pathlib.Path, log: Callable[[str], None]) -> dict[str, list[str]]:
    """{class: sorted paths of all its files}, classes sorted."""
    ignored: list[pathlib.Path] = []
    found = [entry for entry in entries(folder, ignored.append) if os.path.isdir(entry) and not is_none(entry)]
    found = _without_links_up(folder, found, log)
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
        label = normalize(name_of(entry.name), "Class folder")
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
    log(f"the classes are the folders in {folder}; the folders inside them, such as {some}, are not classes")


def _check_same_classes(train: pathlib.Path, test: pathlib.Path, in_train: dict, in_test: dict) -> None:
    for here, there, missing in ((train, test, in_train.keys() - in_test), (test, train, in_test.keys() - in_train)):
        if missing:
            names = ", ".join(sorted(missing))
            others = {label.casefold() for label in (in_train.keys() ^ in_test) - missing}
            case = ", except for capital letters" if others & {label.casefold() for label in missing} else ""
            raise UserError(f"{here} has classes that {there} lacks ({names}{case}): add them there or remove them here")
