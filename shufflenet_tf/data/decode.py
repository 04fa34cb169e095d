"""Decodes image files to upright RGB pixels, whole or only a window: with TensorFlow or, if it can't, with Pillow."""

import errno
import io
import math
import os
import stat
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from shufflenet_tf.data.codecs import MAX_DECODED_PIXELS, decode_jpeg_box, decode_stored
from shufflenet_tf.data.orientation import is_transposed, read, stored_box, turn, upright
from shufflenet_tf.limits import MEGAPIXELS

# (height, width) of the upright image -> (top, left, height, width) of a window inside it; all are int32 scalars.
Window = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]]

_LARGE_PIXELS, _BAND_PIXELS = 1 << 24, 1 << 22
_large = threading.Lock()
_JPEG = ("JPEG", "MPO")  # MPO: a JPEG with more of them behind it, as many phones write
_TURNS = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PLUGINS = {
    b"\xff\xd8\xff": JpegImagePlugin.JpegImageFile,
    b"\x89PNG": PngImagePlugin.PngImageFile,
    b"RIFF": WebPImagePlugin.WebPImageFile,
    b"BM": BmpImagePlugin.BmpImageFile,
    b"GIF8": GifImagePlugin.GifImageFile,
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


class UndecodableError(Exception):
    """A file can't be used as an image; the message says why in a few words."""


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
        with _open(path) as image, _turn_of(image):
            _check_size(image)
            size = image.size
            content = tf.io.read_file(os.fsencode(path))
            if not (plain := _is_plain(image, content)) or image.format in _JPEG:
                # JPEG: all bytes are read but, of a large one, only one pixel of 64 is computed; TensorFlow refuses what
                # Pillow refuses.
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
    if plain and image.format not in _JPEG:  # as the network sees it, since Pillow has not loaded it
        return Image.fromarray(_compiled(content, tf.constant(orientation)).numpy())
    rgb = _to_rgb(image)
    return rgb.transpose(_TURNS[orientation]) if orientation > 1 else rgb


def _orientation_or_upright(content: tf.Tensor) -> int:
    try:
        return int(read(content))
    except tf.errors.DataLossError:  # a damaged text; the pixels may be sound
        return 1


def _open(path: str | os.PathLike) -> Image.Image:
    """Opens an image file with Pillow, but without Pillow's limits of size, which apply to a whole process."""
    with open(path, "rb") as stream:
        content = stream.read(32)
        kind = next((kind for magic, kind in _PLUGINS.items() if content.startswith(magic)), None)
        if kind is None or (kind is WebPImagePlugin.WebPImageFile and content[8:12] != b"WEBP"):
            raise UnidentifiedImageError
        # Long texts and colour profiles, which Pillow refuses, are not needed here.
        if kind is PngImagePlugin.PngImageFile:
            return kind(io.BytesIO(_without_texts(content + stream.read())))
    return kind(os.fspath(path))


def _without_texts(png: bytes) -> bytes:
    kept, place = [png[:8]], 8
    while place < len(png):
        end = place + 12 + int.from_bytes(png[place : place + 4], "big")
        if png[place + 4 : place + 8] not in (b"tEXt", b"zTXt", b"iTXt", b"iCCP"):
            kept.append(png[place:end])
        place = end
    return b"".join(kept)


def _turn_of(image: Image.Image) -> AbstractContextManager:
    """Large images are held one at a time: threads that hold several of them would fill the memory."""
    return _large if image.width * image.height > _LARGE_PIXELS else nullcontext()


def _check_size(image: Image.Image) -> None:
    is_scanned = image.format in _JPEG and "progressive" not in image.info  # else all of it is held in memory
    limit = MEGAPIXELS["scanned" if is_scanned else "held"]
    if image.width * image.height > limit * 1e6:
        raise UndecodableError(
            f"too many pixels, {image.width}x{image.height}: at most {limit:g} million are read without --max_megapixels"
        )


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
        if image.format in _JPEG:
            tf.io.extract_jpeg_shape(content)
            if any(marker in content.numpy() for marker in (b"\xff\xc9", b"\xff\xca")):  # perhaps arithmetic coding
                tf.io.decode_jpeg(content, ratio=8)
            return image.mode in ("L", "RGB", "CMYK")
        if image.format == "PNG" and image.width * image.height <= MAX_DECODED_PIXELS:
            tf.io.decode_png(content, channels=4)
            return True
    except tf.errors.OpError:  # stricter than Pillow, for example about checksums, which can be wrong in an intact image
        return False
    return False


def read_as_bmp(path: tf.Tensor) -> tf.Tensor:
    """Reads any image that `examine` accepts as an uncompressed 24-bit BMP, on a white background if it is transparent.

    It isn't rotated: `examine`'s orientation still applies. An image of more than 67 million pixels is reduced by an integer.
    `path` and the result are string scalars.
    """
    content = tf.numpy_function(lambda name: to_bmp(os.fsdecode(np.asarray(name, object).item())), [path], tf.string)
    content.set_shape([])
    return content


def to_bmp(path: str | os.PathLike) -> bytes:
    """See `read_as_bmp`."""
    content = io.BytesIO()
    with _open(path) as image, _turn_of(image):
        _check_size(image)
        _rgb_of_bounded_size(image).save(content, "BMP")
    return content.getvalue()


def _rgb_of_bounded_size(image: Image.Image) -> Image.Image:
    """Converts in bands of rows: RGBA copies of a whole large image would fill the memory."""

    def factor() -> int:
        return max(1, math.ceil(math.sqrt(image.width * image.height / MAX_DECODED_PIXELS)))

    if factor() > 1:
        image.draft(None, (image.width // factor(), image.height // factor()))  # of a JPEG, libjpeg computes fewer pixels
    by = factor()
    rows = by * max(1, _BAND_PIXELS // (image.width * by))
    small = Image.new("RGB", (math.ceil(image.width / by), math.ceil(image.height / by)))
    for top in range(0, image.height, rows):
        band = _to_rgb(image.crop((0, top, image.width, min(top + rows, image.height))))
        small.paste(band.reduce(by) if by > 1 else band, (0, top // by))
    return small


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip rather than scale
        grey = np.asarray(image)
        scaled = np.round(grey / 257).astype(np.uint8)
        scaled[grey == image.info.get("transparency", -1)] = 255
        return Image.fromarray(scaled).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
