"""Decodes image files to upright RGB pixels, whole or only a window: with TensorFlow or, if it can't, with Pillow."""

import errno
import os
import re
import stat
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf
from PIL import Image, UnidentifiedImageError

from shufflenet_tf.data.codecs import MAX_DECODED_PIXELS, decode_jpeg_box, decode_stored
from shufflenet_tf.data.orientation import is_transposed, read, stored_box, turn, upright
from shufflenet_tf.data.pillow_files import JPEG, UndecodableError, check_size, open_image, to_rgb, turn_of

# (height, width) of the upright image -> (top, left, height, width) of a window inside it; all are int32 scalars.
Window = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]]

_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)  # of a JPEG, but zeros and restarts, which lie within scans
_TURNS = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(encoded: tf.Tensor, orientation: tf.Tensor | int | None = None) -> tf.Tensor:
    """Decodes a whole image, with libjpeg's accurate transform; a JPEG of more than 67 million pixels at 1/2, 1/4 or 1/8.

    Args:
      encoded: content of a JPEG, PNG or plain BMP file, string scalar.
      orientation: EXIF orientation 1 to 8, int32 scalar; None: the file's.

    Returns:
      uint8 [height, width, 3], upright, on a white background if it is transparent.

    Raises:
      tf.errors.InvalidArgumentError: the content cannot be decoded.
    """
    if orientation is None:
        orientation = read(encoded)
    return (_compiled if tf.executing_eagerly() else _decode)(encoded, orientation)


def _decode(encoded: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    image = upright(decode_stored(encoded), orientation)
    image.set_shape([None, None, 3])
    return image


# Run one by one, so many small operations take tens of milliseconds.
_compiled = tf.function(_decode, input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int32)], autograph=False)


def decode_window(encoded: tf.Tensor, orientation: tf.Tensor | int, window: Window, target: tuple[int, int]) -> tf.Tensor:
    """Decodes a window of an image that is to be resized to `target`, for training: fast rather than exact.

    Of a JPEG, only the window is decoded. Chroma is not interpolated. If both sides of the window are at least 2 (4, 8) times
    the target's, libjpeg reduces it to 1/2 (1/4, 1/8), so that it is still at least as large as the target.

    Args:
      encoded: content of a JPEG, PNG or plain BMP file, string scalar.
      orientation: EXIF orientation 1 to 8, int32 scalar.
      window: chooses the window, in the upright image's pixels; it must lie inside the image and not be empty.
      target: (height, width) in pixels that the result will be resized to.

    Returns:
      uint8 [h, w, 3], upright: the window's (height, width) divided by 1, 2, 4 or 8, rounded to the pixel.

    Raises:
      tf.errors.InvalidArgumentError: the content cannot be decoded, or the window exceeds the image.
    """

    def stored() -> tf.Tensor:
        height, width, _ = tf.unstack(tf.io.extract_jpeg_shape(encoded))
        return decode_jpeg_box(encoded, tf.stack(window(height, width)), target)

    def turned() -> tf.Tensor:
        height, width, _ = tf.unstack(tf.io.extract_jpeg_shape(encoded))
        transpose = is_transposed(orientation)
        height, width = tf.where(transpose, width, height), tf.where(transpose, height, width)
        box = stored_box(tf.stack(window(height, width)), tf.stack([height, width]), orientation)
        return turn(decode_jpeg_box(encoded, box, tf.where(transpose, target[::-1], target)), orientation)

    def other() -> tf.Tensor:
        image = upright(decode_stored(encoded), orientation)
        top, left, height, width = window(*tf.unstack(tf.shape(image)[:2]))
        return tf.slice(image, [top, left, 0], [height, width, 3])

    # One switch instead of nested conditions, which would cost several percent of the time of a small photo.
    case = tf.where(tf.io.is_jpeg(encoded), tf.cast(tf.not_equal(orientation, 1), tf.int32), 2)
    image = tf.switch_case(case, [stored, turned, other])
    image.set_shape([None, None, 3])
    return image


def examine(path: str | os.PathLike) -> tuple[int, bool]:
    """Decodes a JPEG, PNG, WebP, BMP or GIF file with any extension, to find out how it can be read.

    Returns:
      (EXIF orientation 1 to 8, whether `decode` can decode it; if not, use `read_as_bmp`).

    Raises:
      UndecodableError: it is damaged, too large, unsupported, or not such an image.
    """
    return examine_closely(path, None)[:2]


class Examined(NamedTuple):
    """A usable file: see `examine`; and what it shows, upright, RGB, without what libjpeg can leave out of it."""

    orientation: int
    plain: bool
    size: tuple[int, int]  # width and height of the whole, upright
    image: Image.Image | None


def examine_closely(path: str | os.PathLike, side: int | None) -> Examined:
    """Does what `examine` does and returns the image that was decoded for it.

    Args:
      path: of a file.
      side: pixels of the shorter side that are enough: a larger JPEG is decoded at 1/2, 1/4 or 1/8; None: no image is wanted.

    Raises:
      UndecodableError: see `examine`.
    """
    head = b""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait forever
            raise UndecodableError("not a file")
        with open(path, "rb") as stream:
            if not (head := stream.read(32)):
                raise UndecodableError("empty")
        with open_image(path) as image, turn_of(image):
            check_size(image)
            size = image.size
            content = tf.io.read_file(os.fsencode(path))
            if not (plain := _is_plain(image, content)) or image.format in JPEG:
                # JPEG: all bytes are read but, of a large one, only one pixel of 64 is computed; TensorFlow refuses what
                # Pillow refuses, and what `_is_plain` knows of.
                image.draft(None, (side, side) if side else (max(1, image.width // 8), max(1, image.height // 8)))
                image.load()
            orientation = _orientation_or_upright(content)
            return Examined(
                orientation,
                plain,
                size[::-1] if orientation > 4 else size,
                None if side is None else _upright(image, plain, content, orientation),
            )
    except UndecodableError:
        raise
    except Exception as error:  # a damaged file can raise anything inside Pillow
        raise UndecodableError(_reason(error, head)) from error


def _upright(image: Image.Image, plain: bool, content: tf.Tensor, orientation: int) -> Image.Image:
    if plain and image.format not in JPEG:  # as the network sees it, since Pillow has not loaded it
        return Image.fromarray(_compiled(content, tf.constant(orientation)).numpy())
    rgb = to_rgb(image)
    return rgb.transpose(_TURNS[orientation]) if orientation > 1 else rgb


def _orientation_or_upright(content: tf.Tensor) -> int:
    try:
        return int(read(content))
    except tf.errors.DataLossError:  # a damaged text; the pixels may be sound
        return 1


def _reason(error: Exception, head: bytes) -> str:
    text = str(error).lower()
    is_jpeg = head.startswith(b"\xff\xd8\xff")
    match error:
        case FileNotFoundError() | OSError(errno=errno.ELOOP):
            return "broken link"
        case PermissionError():
            return "no permission to read it"
        case MemoryError():
            return "not enough memory"
        case UnidentifiedImageError() | SyntaxError() if not is_jpeg and not head.startswith((b"\x89PNG", b"GIF8")):
            return "not a JPEG, PNG, WebP, BMP or GIF image"
    # Pillow has no error classes for these.
    if isinstance(error, OSError | SyntaxError | NotImplementedError) and any(
        word in text for word in ("unsupported", "not supported", "cannot handle")
    ):
        return f"unsupported kind of {'JPEG' if is_jpeg else 'BMP' if head.startswith(b'BM') else 'image'}"
    return "truncated" if "truncated" in text else "corrupt"


def _is_plain(image: Image.Image, content: tf.Tensor) -> bool:
    """Returns whether `decode` can decode a file correctly."""
    try:
        if image.format in JPEG:
            tf.io.extract_jpeg_shape(content)
            jpeg = content.numpy()
            if any(marker in jpeg for marker in (b"\xff\xc9", b"\xff\xca")):  # perhaps arithmetic coding
                tf.io.decode_jpeg(content, ratio=8)
            return image.mode in ("L", "RGB", "CMYK") and _has_end(jpeg)
        if image.format == "PNG" and image.width * image.height <= MAX_DECODED_PIXELS:
            tf.io.decode_png(content, channels=4)
            return True
    except tf.errors.OpError:  # stricter than Pillow, for example about checksums, which can be wrong in an intact image
        return False
    return False


def _has_end(jpeg: bytes) -> bool:
    """Returns whether a JPEG's markers lead to that of its end, which photos recovered from a memory card often lack.

    TensorFlow needs it; to Pillow, the last row of pixels is enough.
    """
    place = 2
    while found := _MARKER.search(jpeg, place):
        place = found.end()
        match jpeg[place - 1]:
            case 0xD9:
                return True
            case 0xD8:  # another image begins
                return False
        place += int.from_bytes(jpeg[place : place + 2], "big")  # of a scan, this is its header
    return False
