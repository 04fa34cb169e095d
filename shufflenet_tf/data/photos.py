"""Photos as people have them: files and folders, read for evaluation one at a time."""

import os
import pathlib
import warnings

import numpy as np
import tensorflow as tf

from shufflenet_tf.data import decode
from shufflenet_tf.data.folder import _walk
from shufflenet_tf.preprocessing import Preprocessing

# In a folder these count as photos. The last ones can't be read, but a person who has such photos wants to know that.
SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".heic", ".heif", ".avif", ".tif", ".tiff"}


def find(folder: str | os.PathLike) -> list[pathlib.Path]:
    """Returns the photos in a folder and the folders within it, by their names' endings, in order of their paths."""
    return [path for path in map(pathlib.Path, _walk(pathlib.Path(folder))) if path.suffix.lower() in SUFFIXES]


def read(path: str | os.PathLike, preprocessing: Preprocessing, size: tuple[int, int]) -> np.ndarray:
    """Returns a photo as a network is given it in evaluation.

    Args:
      path: of a JPEG, PNG, WebP, BMP or GIF file, of any size, turned as its camera says.
      preprocessing: says how it is resized and cropped.
      size: height and width in pixels.

    Returns:
      uint8 [height, width, 3], RGB.

    Raises:
      decode.UndecodableError: why it can't be read.
    """
    if not os.path.lexists(path):
        raise decode.UndecodableError("no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of harmless oddities, such as unknown EXIF fields
            orientation, plain = decode.examine(os.fspath(path))
        name = tf.constant(os.fsencode(path))
        image = decode.decode(tf.io.read_file(name) if plain else decode.read_as_bmp(name), orientation)
        return preprocessing.resize_and_crop(image, size).numpy()
    except (tf.errors.OpError, OSError):  # it changed or vanished meanwhile
        raise decode.UndecodableError("corrupt") from None
