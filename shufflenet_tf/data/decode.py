"""From image files to upright RGB pixels: by TensorFlow, whole or a window alone; what it cannot decode, by Pillow."""

import errno
import functools
import io
import os
import stat
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from PIL import Image, UnidentifiedImageError

# (height, width) of the upright image -> (top, left, height, width) of a window inside it; all are int32 scalars.
Window = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]]

# What libjpeg can divide both sides by while it decodes, at a fraction of the work.
_RATIOS = (1, 2, 4, 8)
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
_EXIF_ORIENTATION = 0x0112


def decode(encoded: tf.Tensor, orientation: tf.Tensor | int = 1) -> tf.Tensor:
    """Decodes a whole image, with libjpeg's accurate transform.

    Args:
      encoded: content of a JPEG, PNG, GIF (the first frame counts) or BMP file, string scalar.
      orientation: EXIF orientation 1 to 8, int32 scalar.

    Returns:
      uint8 [height, width, 3], upright.

    Raises:
      tf.errors.InvalidArgumentError: the content cannot be decoded.
    """
    image = tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: _decode_other(encoded),
    )
    image = _upright(image, orientation)
    image.set_shape([None, None, 3])
    return image


def decode_window(encoded: tf.Tensor, orientation: tf.Tensor | int, window: Window, target: tuple[int, int]) -> tf.Tensor:
    """Decodes a window of an image that is to be resized to `target`, for training: fast rather than exact.

    Of a JPEG only the window is decoded, chroma is not interpolated, and a window of at least 2 (4, 8) times the target
    in both sides is reduced to 1/2 (1/4, 1/8) by libjpeg, which leaves it at least as large as the target.

    Args:
      encoded: content of a JPEG, PNG, GIF (the first frame counts) or BMP file, string scalar.
      orientation: EXIF orientation 1 to 8, int32 scalar.
      window: chooses the window, in the upright image's pixels; it must lie inside the image and not be empty.
      target: (height, width) in pixels that the result will be resized to.

    Returns:
      uint8 [h, w, 3], upright: the window's (height, width) divided by 1, 2, 4 or 8, rounded to the pixel.

    Raises:
      tf.errors.InvalidArgumentError: the content cannot be decoded, or the window leaves the image.
    """

    def upright() -> tf.Tensor:
        height, width, _ = tf.unstack(tf.io.extract_jpeg_shape(encoded))
        return _decode_jpeg_box(encoded, tf.stack(window(height, width)), target)

    def turned() -> tf.Tensor:
        height, width, _ = tf.unstack(tf.io.extract_jpeg_shape(encoded))
        transpose, _ = _steps(orientation)
        height, width = tf.where(transpose, width, height), tf.where(transpose, height, width)
        box = _stored(tf.stack(window(height, width)), tf.stack([height, width]), orientation)
        return _turn(_decode_jpeg_box(encoded, box, tf.where(transpose, target[::-1], target)), orientation)

    def other() -> tf.Tensor:
        image = _upright(_decode_other(encoded), orientation)
        top, left, height, width = window(*tf.unstack(tf.shape(image)[:2]))
        return tf.slice(image, [top, left, 0], [height, width, 3])

    # One switch rather than nested conditions: those would cost several percent of the time of a small photo.
    case = tf.where(tf.io.is_jpeg(encoded), tf.cast(tf.not_equal(orientation, 1), tf.int32), 2)
    image = tf.switch_case(case, [upright, turned, other])
    image.set_shape([None, None, 3])
    return image


def _decode_other(encoded: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_image(encoded, channels=3, expand_animations=False)


def _decode_jpeg_box(encoded: tf.Tensor, box: tf.Tensor, target: tuple[int, int] | tf.Tensor) -> tf.Tensor:
    """Decodes `box`, int32 [top, left, height, width], divided by the largest ratio that leaves it at least `target`.

    All in stored pixels.
    """

    def decode_at(ratio: int) -> tf.Tensor:
        scaled = box
        if ratio > 1:
            # TensorFlow crops *after* scaling. A scaled side is ceil(side / ratio) long, so that edges rounded to the
            # nearest pixel stay inside; and they stay apart, as a box that is scaled is at least `ratio` long.
            start, size = tf.split(box, 2)
            end = (start + size + ratio // 2) // ratio
            start = (start + ratio // 2) // ratio
            scaled = tf.concat([start, end - start], axis=0)
        # The accurate transform costs as much as the fast one (SIMD); interpolating chroma, a tenth of the decoding.
        return tf.image.decode_and_crop_jpeg(
            encoded, scaled, channels=3, ratio=ratio, fancy_upscaling=False, dct_method="INTEGER_ACCURATE"
        )

    index = tf.raw_ops.Bucketize(input=tf.reduce_min(box[2:] // target), boundaries=_RATIOS[1:])
    return tf.switch_case(index, [functools.partial(decode_at, ratio) for ratio in _RATIOS])


def _steps(orientation: tf.Tensor | int) -> tuple[tf.Tensor, tf.Tensor]:
    """What makes a stored image upright: whether to transpose it, bool; then what to flip, bool [rows, columns]."""
    steps = tf.constant(
        [
            [False, False, False],  # 1: upright
            [False, False, True],  # 2: mirrored
            [False, True, True],  # 3: upside down
            [False, True, False],  # 4: upside down, mirrored
            [True, False, False],  # 5: transposed
            [True, False, True],  # 6: to be turned clockwise
            [True, True, True],  # 7: transposed along the other diagonal
            [True, True, False],  # 8: to be turned anticlockwise
        ]
    )[orientation - 1]
    return steps[0], steps[1:]


def _upright(image: tf.Tensor, orientation: tf.Tensor | int) -> tf.Tensor:
    return tf.cond(tf.equal(orientation, 1), lambda: image, lambda: _turn(image, orientation))


def _turn(image: tf.Tensor, orientation: tf.Tensor | int) -> tf.Tensor:
    """Stored pixels [h, w, 3] to upright pixels, [h, w, 3] or [w, h, 3]."""
    transpose, flip = _steps(orientation)
    image = tf.transpose(image, tf.where(transpose, [1, 0, 2], [0, 1, 2]))
    return tf.raw_ops.Reverse(tensor=image, dims=tf.concat([flip, [False]], axis=0))


def _stored(box: tf.Tensor, upright_size: tf.Tensor, orientation: tf.Tensor | int) -> tf.Tensor:
    """[top, left, height, width] in upright pixels to the same box in stored pixels: `_turn` backwards."""
    transpose, flip = _steps(orientation)
    start, size = tf.split(box, 2)
    start = tf.where(flip, upright_size - start - size, start)
    return tf.gather(tf.concat([start, size], axis=0), tf.where(transpose, [1, 0, 3, 2], [0, 1, 2, 3]))


class UndecodableError(Exception):
    """A file that is of no use as an image; the message says why in a few words."""


def examine(path: str) -> tuple[int, bool]:
    """Decodes a JPEG, PNG, WebP, BMP or GIF file, whatever its extension, to learn how it is to be read.

    Returns:
      (EXIF orientation 1 to 8, whether TensorFlow decodes it rightly itself; if not, use `read_as_bmp`).

    Raises:
      UndecodableError: it is damaged, too large, or no such image.
    """
    head = b""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for ever
            raise UndecodableError("not a file")
        with open(path, "rb") as stream:
            if not (head := stream.read(32)):
                raise UndecodableError("empty")
            stream.seek(0)
            image = Image.open(stream, formats=_FORMATS)
            plain = _is_plain(image, head, path)
            # JPEG: all bytes are read but only one pixel of 64 is computed; TensorFlow refuses what Pillow refuses.
            image.draft(None, (max(1, image.width // 8), max(1, image.height // 8)))
            image.load()
            return _orientation(image), plain
    except UndecodableError:
        raise
    except Exception as error:  # a damaged file can raise anything inside Pillow
        raise UndecodableError(_reason(error, head)) from error


def _reason(error: Exception, head: bytes) -> str:
    match error:
        case FileNotFoundError() | OSError(errno=errno.ELOOP):
            return "broken link"
        case PermissionError():
            return "no permission to read it"
        case Image.DecompressionBombError():
            return "too many pixels"
        case UnidentifiedImageError() if not head.startswith((b"\xff\xd8\xff", b"\x89PNG", b"GIF8")):
            return "not a JPEG, PNG, WebP, BMP or GIF image"
    return "truncated" if "truncated" in str(error).lower() else "corrupt"


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # damaged EXIF data can raise anything; the pixels may be sound
        return 1
    return value if value in range(1, 9) else 1


def _is_plain(image: Image.Image, head: bytes, path: str) -> bool:
    if image.format in ("JPEG", "MPO"):  # MPO: a JPEG with more of them behind it, as many phones write
        return image.mode in ("L", "RGB")
    # Bytes 24 and 25 of a PNG: bits a channel; colour type: 0 grey, 2 RGB, 3 palette (others have an alpha channel).
    if image.format != "PNG" or head[24] != 8 or head[25] not in (0, 2, 3) or "transparency" in image.info:
        return False
    try:  # stricter than Pillow: wrong checksums, for one, which a sound image can have
        tf.io.decode_png(tf.io.read_file(path))
    except tf.errors.InvalidArgumentError:
        return False
    return True


def read_as_bmp(path: tf.Tensor) -> tf.Tensor:
    """Reads any image that `examine` accepts as an uncompressed 24-bit BMP, on white where it is transparent.

    It isn't turned: `examine`'s orientation still applies. `path` and the result are string scalars.
    """
    content = tf.numpy_function(lambda name: _to_bmp(os.fsdecode(np.asarray(name, object).item())), [path], tf.string)
    content.set_shape([])
    return content


def _to_bmp(path: str) -> bytes:
    content = io.BytesIO()
    with Image.open(path, formats=_FORMATS) as image:
        _to_rgb(image).save(content, "BMP")
    return content.getvalue()


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
