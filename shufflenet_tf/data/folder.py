"""A folder of one's own photos, a subfolder for each class, as a Source."""

import dataclasses
import difflib
import hashlib
import multiprocessing.pool
import os
import pathlib
import time
import unicodedata
import warnings
from collections.abc import Callable, Iterator

import tensorflow as tf

from shufflenet_tf.data import decode
from shufflenet_tf.data.source import Source, Split
from shufflenet_tf.errors import UserError

_TEST_NAMES = ("test", "val", "validation", "valid")
_JUNK = {"thumbs.db", "desktop.ini", "__macosx"}
_THREADS = min(8, os.cpu_count() or 1)
_PROGRESS_SECONDS = 5


@dataclasses.dataclass(frozen=True)
class _Photo:
    """A usable file. `odd`: TensorFlow cannot decode it, or not rightly, so that Pillow converts it when it is read."""

    path: str
    orientation: int
    odd: bool


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
    Every one is decoded once; those that fail are skipped and reported. Labels are the sorted names of class folders.
    A photo's side of the split depends only on its class, its name and the seed, so that it stays there when photos
    are added; but a class too small to have one on each side moves its nearest there.

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
    files = {side: _list_classes(folder) for side, folder in (("train", train), ("test", test)) if folder}
    labels = tuple(files["train"])
    if len(labels) == 1:
        raise UserError(f"{train} has one class only, {labels[0]}: add a folder for at least one other class")
    if test:
        _check_same_classes(train, test, *files.values())
    photos = _check_files([file for classes in files.values() for names in classes.values() for file in names], strict, log)
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
    return Source(root.resolve().name, labels, _split(usable["train"]), _split(usable["test"]))


def _check_is_folder(root: pathlib.Path) -> None:
    if os.path.isdir(root):
        return
    if os.path.exists(root):
        raise UserError(f"{root} is a file: give the folder that holds one folder of images per class")
    siblings = [entry.name for entry in _folders(root.parent)] if os.path.isdir(root.parent) else []
    near = difflib.get_close_matches(root.name, siblings, n=1)
    hint = f"did you mean {root.parent / near[0]}?" if near else "check the path"
    raise UserError(f"There is no folder {root}: {hint}")


def _split_folders(root: pathlib.Path, log: Callable[[str], None]) -> tuple[pathlib.Path, pathlib.Path | None]:
    """The folders of classes to train on and to test on; None: there is but one, to be split."""
    folders = {folder.name.lower(): folder for folder in _folders(root)}
    train = folders.get("train")
    tests = [folders[name] for name in _TEST_NAMES if name in folders]
    if train and tests:
        if len(tests) > 1:
            log(f"{root} has {' and '.join(folder.name for folder in tests)}: testing on {tests[0].name}")
        return train, tests[0]
    # One of these names alone may be a class ("valid", "train"); with folders inside it is half of a split.
    if train and _folders(train):
        if len(folders) == 1:
            log(f"{root} has no test folder: splitting {train.name}")
            return train, None
        raise UserError(f"{root} has a {train.name} folder but no test folder: name the folder of test images test or val")
    for folder in tests:
        if _folders(folder):
            raise UserError(f"{root} has a {folder.name} folder but no train folder: name the folder to train on train")
    return root, None


def _list_classes(folder: pathlib.Path) -> dict[str, list[str]]:
    """{class: sorted paths of all its files}, classes sorted."""
    classes = {entry.name: list(_walk(entry)) for entry in _folders(folder)}
    loose = _entries(folder)
    if not classes and loose:
        raise UserError(
            f"{folder} has files, such as {loose[0].name}, but no class folders: "
            "move each class's images into a folder of its own"
        )
    if not classes:
        raise UserError(f"{folder} is empty: put one folder of images per class into it")
    for label, names in classes.items():
        if not names:
            raise UserError(f"Class folder {folder / label} is empty: add images or remove the folder")
    return classes


def _entries(folder: pathlib.Path) -> list[pathlib.Path]:
    """What is in a folder, sorted, without hidden files and the litter of operating systems."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise UserError(f"Cannot read the folder {folder} ({error.strerror}): check its permissions") from error
    return [folder / name for name in names if not name.startswith(".") and name.lower() not in _JUNK]


def _folders(folder: pathlib.Path) -> list[pathlib.Path]:
    return [entry for entry in _entries(folder) if os.path.isdir(entry)]


def _walk(folder: pathlib.Path, above: tuple[str, ...] = ()) -> Iterator[str]:
    """All files under a folder; a link to a folder that it lies in, which would never end, is not followed."""
    real = os.path.realpath(folder)
    if any((place + os.sep).startswith(real + os.sep) for place in above):
        return
    for entry in _entries(folder):
        if os.path.isdir(entry):
            yield from _walk(entry, (*above, real))
        else:
            yield str(entry)


def _check_same_classes(train: pathlib.Path, test: pathlib.Path, in_train: dict, in_test: dict) -> None:
    for here, there, missing in ((train, test, in_train.keys() - in_test), (test, train, in_test.keys() - in_train)):
        if missing:
            names = ", ".join(sorted(missing))
            raise UserError(f"{here} has classes that {there} has not ({names}): add them there or remove them here")


def _check_files(files: list[str], strict: bool, log: Callable[[str], None]) -> dict[str, _Photo]:
    """Decodes every file once; those that can be used, by path."""
    photos, skipped = {}, []
    reported = time.monotonic()
    with warnings.catch_warnings(), multiprocessing.pool.ThreadPool(_THREADS) as pool:
        warnings.simplefilter("ignore")  # Pillow warns of harmless oddities, such as unknown EXIF fields
        for done, (file, found) in enumerate(zip(files, pool.imap(_inspect, files, 16), strict=True), 1):
            if isinstance(found, _Photo):
                photos[file] = found
            else:
                name = os.path.basename(file).encode(errors="replace").decode()  # not every name can be printed
                skipped.append(f"{name} ({found})")
            if time.monotonic() - reported > _PROGRESS_SECONDS:
                reported = time.monotonic()
                log(f"checked {done} of {len(files)} files")
    if skipped:
        which = ", ".join(skipped[:5]) + (", …" if len(skipped) > 5 else "")
        if strict:
            raise UserError(f"{len(skipped)} of {len(files)} files cannot be used: {which}: repair or remove them")
        log(f"skipped {len(skipped)} of {len(files)} files: {which}")
    return photos


def _inspect(file: str) -> _Photo | str:
    """What is to be known of a file in order to read it, or the reason why it is of no use."""
    try:
        orientation, plain = decode.examine(file)
    except decode.UndecodableError as reason:
        return str(reason)
    return _Photo(file, orientation, not plain)


def _divide(classes: dict[str, list[_Photo]], folder: pathlib.Path, seed: int, test_fraction: float) -> dict:
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


def _split(classes: dict[str, list[_Photo]]) -> Split:
    """The photos of {label: photos}, labels in order, read in parallel."""
    photos = [photo for group in classes.values() for photo in group]
    paths = tf.constant([os.fsencode(photo.path) for photo in photos])
    labels = tf.constant([index for index, group in enumerate(classes.values()) for _ in group], tf.int64)
    orientations = tf.constant([photo.orientation for photo in photos], tf.int32)
    odd = tf.constant([photo.odd for photo in photos])
    any_odd = any(photo.odd for photo in photos)

    def read(index: tf.Tensor) -> dict[str, tf.Tensor]:
        path = paths[index]
        if any_odd:
            image = tf.cond(odd[index], lambda: decode.read_as_bmp(path), lambda: tf.io.read_file(path))
        else:
            image = tf.io.read_file(path)
        return {"image": image, "label": labels[index], "orientation": orientations[index]}

    def examples(seed: tf.Tensor | int | None) -> tf.data.Dataset:
        order = tf.range(len(photos), dtype=tf.int64)
        if seed is not None:  # unlike Dataset.shuffle, this depends on nothing else, such as the global seed
            order = tf.random.experimental.stateless_shuffle(order, tf.stack([tf.cast(seed, tf.int64), 0]))
        return tf.data.Dataset.from_tensor_slices(order).map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    return Split(len(photos), examples)
