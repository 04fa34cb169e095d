"""Finds photos in folders, by the same rules for every program, and reads them for evaluation."""

import os
import pathlib
import warnings
from collections.abc import Callable, Collection, Iterator

import numpy as np
import tensorflow as tf

from shufflenet_tf.data import decode, pillow_files
from shufflenet_tf.errors import UserError, printable
from shufflenet_tf.preprocessing import Preprocessing

# Extensions of photos, including those that can't be read, because users who have such photos want to know that.
SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".heic", ".heif", ".avif", ".tif", ".tiff"}
_MAGICS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
# Files that systems and programs leave beside photos; hidden names (.thumbnails, .Trash-1000, ._photo.jpg) count too.
_SYSTEM = {
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "picasa.ini", "zbthumbnail.info"),
    *("@eadir", "@recycle", "@recently-snapshot", "@tmp", "@__thumb", "#recycle", "#snapshot", "~snapshot"),
    *("$recycle.bin", "recycler", "recycled", "system volume information", "found.000", "msocache", "dfsrprivate"),
    *("lost+found", "lost.dir", "__macosx", "network trash folder", "temporary items", "trashes", "__pycache__"),
    *("thumbnails", "thumbs", "_thumbs", "_thumbnails"),
}
_SYSTEM_PREFIXES = (".", "synophoto_", "synoindex_", "~$")


def entries(folder: pathlib.Path, ignored: Callable[[pathlib.Path], None] = lambda _: None) -> list[pathlib.Path]:
    """Returns the entries of a folder, sorted, without those of the system; `ignored` is called with each such folder.

    Raises:
      UserError: the folder can't be read.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise UserError(f"Cannot read the folder {printable(str(folder))} ({error.strerror}): check its permissions") from error
    kept = [folder / name for name in names if not _is_system(name)]
    for name in names:
        if _is_system(name) and os.path.isdir(folder / name):
            ignored(folder / name)
    return kept


def _is_system(name: str) -> bool:
    return name.lower() in _SYSTEM or name.lower().startswith(_SYSTEM_PREFIXES)


def folders(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the folders in a folder, sorted, without those of the system."""
    return [entry for entry in entries(folder) if os.path.isdir(entry)]


def walk(
    folder: pathlib.Path,
    ignored: Callable[[pathlib.Path], None] = lambda _: None,
    is_copy: Callable[[pathlib.Path], bool] = lambda _: False,
    above: tuple[str, ...] = (),
    seen: set[str] | None = None,
) -> Iterator[str]:
    """Yields all files under a folder, each folder once; links to a folder that contains them are not followed.

    Folders that link to each other have more paths than can be listed.

    Args:
      folder: where to look.
      ignored: called with each folder that is left out.
      is_copy: returns whether to leave a folder out.
      above: real paths of the folders that contain this one.
      seen: real paths of the folders that were already listed.
    """
    seen = set() if seen is None else seen
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    places = (*above, real)
    for entry in entries(folder, ignored):
        if not os.path.isdir(entry):
            yield str(entry)
        elif leads_up(entry, places):
            continue
        elif is_copy(entry):
            ignored(entry)
        else:
            yield from walk(entry, ignored, is_copy, places, seen)


def leads_up(folder: pathlib.Path, places: Collection[str]) -> bool:
    """Returns whether a folder is a link to one of `places`, which are real paths, or to a folder above it."""
    real = os.path.realpath(folder) + os.sep
    return any((place + os.sep).startswith(real) for place in places)


def say_ignored(ignored: Collection[pathlib.Path], log: Callable[[str], None]) -> None:
    """Logs the names of the folders that were left out, in one line."""
    names = [printable(name) for name in dict.fromkeys(folder.name for folder in ignored)]
    if names:
        which = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
        log(f"ignored {len(ignored)} folder{'s' * (len(ignored) > 1)} of the system or of thumbnails: {which}")


def find(folder: str | os.PathLike, log: Callable[[str], None] = lambda _: None) -> list[pathlib.Path]:
    """Returns the photos in a folder and its subfolders, recognised by content or extension, sorted by path.

    Args:
      folder: where to look.
      log: called with a line about the folders that were left out.
    """
    ignored: list[pathlib.Path] = []
    found = [path for path in map(pathlib.Path, walk(pathlib.Path(folder), ignored.append)) if is_photo(path)]
    say_ignored(ignored, log)
    return found


def is_photo(path: pathlib.Path) -> bool:
    """Returns whether a file is a photo by its content or its name."""
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        if not path.is_file():  # opening a pipe would wait forever
            return False
        with open(path, "rb") as file:
            head = file.read(32)
    except OSError:
        return False
    is_bmp = head.startswith(b"BM") and head[6:10] == bytes(4)
    is_container = (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or (
        head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"hevc")
    )
    return head.startswith(_MAGICS) or is_bmp or is_container


def read(path: str | os.PathLike, preprocessing: Preprocessing, size: tuple[int, int]) -> np.ndarray:
    """Returns a photo, prepared for a network as in evaluation.

    Args:
      path: path of a JPEG, PNG, WebP, BMP or GIF file of any size; it is rotated by its EXIF orientation.
      preprocessing: how it is resized and cropped.
      size: height and width in pixels.

    Returns:
      uint8 [height, width, 3], RGB.

    Raises:
      decode.UndecodableError: it can't be read; the message says why.
    """
    if not os.path.lexists(path):
        raise decode.UndecodableError("no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of harmless oddities, such as unknown EXIF fields
            orientation, plain = decode.examine(os.fspath(path))
        name = tf.constant(os.fsencode(path))
        image = decode.decode(tf.io.read_file(name) if plain else pillow_files.read_as_bmp(name), orientation)
        return preprocessing.resize_and_crop(image, size).numpy()
    except (tf.errors.OpError, OSError):  # it changed or vanished meanwhile
        raise decode.UndecodableError("corrupt") from None
