"""Image files that only Pillow reads, or reads rightly: opened without its limits, converted to what TensorFlow decodes."""

import io
import math
import os
import threading
from contextlib import AbstractContextManager, nullcontext

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

from shufflenet_tf.data.codecs import MAX_DECODED_PIXELS
from shufflenet_tf.limits import MEGAPIXELS

JPEG = ("JPEG", "MPO")  # MPO: a JPEG with more of them behind it, as many phones write
_LARGE_PIXELS, _BAND_PIXELS = 1 << 24, 1 << 22
_large = threading.Lock()
_PLUGINS = {
    b"\xff\xd8\xff": JpegImagePlugin.JpegImageFile,
    b"\x89PNG": PngImagePlugin.PngImageFile,
    b"RIFF": WebPImagePlugin.WebPImageFile,
    b"BM": BmpImagePlugin.BmpImageFile,
    b"GIF8": GifImagePlugin.GifImageFile,
}


class UndecodableError(Exception):
    """A file can't be used as an image; the message says why in a few words."""


def open_image(path: str | os.PathLike) -> Image.Image:
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


def turn_of(image: Image.Image) -> AbstractContextManager:
    """Large images are held one at a time: threads that hold several of them would fill the memory."""
    return _large if image.width * image.height > _LARGE_PIXELS else nullcontext()


def check_size(image: Image.Image) -> None:
    """Raises an UndecodableError for an image of more pixels than are read."""
    is_scanned = image.format in JPEG and "progressive" not in image.info  # else all of it is held in memory
    limit = MEGAPIXELS["scanned" if is_scanned else "held"]
    if image.width * image.height > limit * 1e6:
        raise UndecodableError(
            f"too many pixels, {image.width}x{image.height}: at most {limit:g} million are read without --max_megapixels"
        )


def read_as_bmp(path: tf.Tensor) -> tf.Tensor:
    """Reads any image that `decode.examine` accepts as an uncompressed 24-bit BMP, on a white background if it is transparent.

    It isn't rotated: `examine`'s orientation still applies. An image of more than 67 million pixels is reduced by an integer.
    `path` and the result are string scalars.
    """
    content = tf.numpy_function(lambda name: to_bmp(os.fsdecode(np.asarray(name, object).item())), [path], tf.string)
    content.set_shape([])
    return content


def to_bmp(path: str | os.PathLike) -> bytes:
    """See `read_as_bmp`."""
    content = io.BytesIO()
    with open_image(path) as image, turn_of(image):
        check_size(image)
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
        band = to_rgb(image.crop((0, top, image.width, min(top + rows, image.height))))
        small.paste(band.reduce(by) if by > 1 else band, (0, top // by))
    return small


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts an image to 8 bits of each colour, on a white background if it is transparent."""
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip rather than scale
        grey = np.asarray(image)
        scaled = np.round(grey / 257).astype(np.uint8)
        scaled[grey == image.info.get("transparency", -1)] = 255
        return Image.fromarray(scaled).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
