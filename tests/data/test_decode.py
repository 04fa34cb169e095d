"""Decoding: every kind of file to the right pixels, and windows that equal the crop of the whole image."""

import io
import multiprocessing.pool
import struct
import time
import zlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from shufflenet_tf import limits
from shufflenet_tf.data import decode, pillow_files

ORIENTATIONS = range(1, 9)


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    """A smooth picture, as lossy codecs change it little, without any symmetry."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    planes = [x, y, 0.5 + 0.4 * np.sin(5 * x + 9 * y), 0.25 + 0.5 * y]
    return np.round(255 * np.clip(np.stack(planes[:channels], axis=-1), 0, 1)).astype(np.uint8)


def encode(image: Image.Image, kind: str, **options) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def jpeg(height: int, width: int, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(Image.fromarray(picture(height, width)), "JPEG", quality=95, exif=exif)


def raw_png(values: np.ndarray, bits: int, colour: int, **chunks: bytes) -> bytes:
    """A PNG of `values` [h, w] or [h, w, channels], of kinds that Pillow does not write."""
    rows = values.astype(">u2" if bits == 16 else np.uint8)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *((k.encode(), v) for k, v in chunks.items()), (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    body = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def load(path) -> tuple[np.ndarray, bool]:
    """What `examine` and the decoder that it asks for make of a file: upright pixels, and whether it is plain."""
    orientation, plain = decode.examine(str(path))
    content = tf.io.read_file(str(path)) if plain else pillow_files.read_as_bmp(tf.constant(str(path)))
    return decode.decode(content, orientation).numpy(), plain


def on_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return rgb * share + 255 * (1 - share)


RGB = picture(40, 56)
GREY = RGB[..., 1]
ALPHA = picture(40, 56, 4)[..., 3]
IMAGE = Image.fromarray(RGB)
PNG = encode(IMAGE, "PNG")
PALETTE = IMAGE.quantize(64)
GREY_RGB = np.repeat(GREY[..., None], 3, axis=-1)
DEEP = np.round(picture(40, 56).astype(np.float64) * 257).astype(np.uint16)
FRAMES = [IMAGE.quantize(64), ImageOps.invert(IMAGE).quantize(64)]
TRANSPARENT = np.where((np.asarray(PALETTE) == 3)[..., None], 255, np.asarray(PALETTE.convert("RGB")))

# name: (content, expected pixels, tolerance, plain)
KINDS = {
    "rgb.jpg": (encode(IMAGE, "JPEG", quality=95), RGB, 16, True),  # chroma is stored at half the resolution
    "full_chroma.jpg": (encode(IMAGE, "JPEG", quality=95, subsampling=0), RGB, 6, True),
    "progressive.jpg": (encode(IMAGE, "JPEG", quality=95, subsampling=0, progressive=True), RGB, 6, True),
    "rgb_stored.jpg": (encode(IMAGE, "JPEG", quality=95, keep_rgb=True), RGB, 6, True),
    "grey.jpg": (encode(IMAGE.convert("L"), "JPEG", quality=95), np.asarray(IMAGE.convert("L").convert("RGB")), 4, True),
    "cmyk.jpg": (encode(IMAGE.convert("CMYK"), "JPEG", quality=95), RGB, 8, True),
    "two.mpo": (
        encode(IMAGE, "MPO", quality=95, subsampling=0, save_all=True, append_images=[FRAMES[1].convert("RGB")]),
        RGB,
        6,
        True,
    ),
    "rgb.png": (encode(IMAGE, "PNG"), RGB, 0, True),
    "grey.png": (encode(Image.fromarray(GREY), "PNG"), GREY_RGB, 0, True),
    "palette.png": (encode(PALETTE, "PNG"), np.asarray(PALETTE.convert("RGB")), 0, True),
    "palette4.png": (encode(IMAGE.quantize(7), "PNG"), np.asarray(IMAGE.quantize(7).convert("RGB")), 0, True),
    "transparent_palette.png": (encode(PALETTE, "PNG", transparency=3), TRANSPARENT, 0, True),
    "bilevel.png": (encode(IMAGE.convert("1"), "PNG"), np.asarray(IMAGE.convert("1").convert("RGB")), 0, True),
    "rgba.png": (encode(Image.fromarray(np.dstack([RGB, ALPHA])), "PNG"), on_white(RGB, ALPHA), 1, True),
    "la.png": (encode(Image.fromarray(np.dstack([GREY, ALPHA])), "PNG"), on_white(GREY_RGB, ALPHA), 1, True),
    "grey16.png": (encode(Image.fromarray(DEEP[..., 1]), "PNG"), GREY_RGB, 0, True),
    "key16.png": (
        raw_png(DEEP[..., 1], 16, 0, tRNS=struct.pack(">H", DEEP[20, 0, 1])),
        np.where((DEEP[..., 1] == DEEP[20, 0, 1])[..., None], 255, GREY_RGB),
        0,
        True,
    ),
    "rgb16.png": (raw_png(DEEP, 16, 2), RGB, 1, True),
    "rgba16.png": (raw_png(np.dstack([DEEP, ALPHA * 257.0]), 16, 6), on_white(RGB, ALPHA), 2, True),
    "lossless.webp": (encode(IMAGE, "WEBP", lossless=True), RGB, 0, False),
    "alpha.webp": (
        encode(Image.fromarray(np.dstack([RGB, ALPHA])), "WEBP", lossless=True, exact=True),
        on_white(RGB, ALPHA),
        1,
        False,
    ),
    "rgb.bmp": (encode(IMAGE, "BMP"), RGB, 0, False),
    "palette.bmp": (encode(PALETTE, "BMP"), np.asarray(PALETTE.convert("RGB")), 0, False),
    "animated.gif": (
        encode(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]),
        np.asarray(FRAMES[0].convert("RGB")),
        0,
        False,
    ),
    "png_named.jpg": (encode(IMAGE, "PNG"), RGB, 0, True),
    "checksum.png": (PNG[:-1] + b"\0", RGB, 0, False),
    # Recovered from a memory card: zeros where the end was.
    "endless.jpg": (encode(IMAGE, "JPEG", quality=95, subsampling=0)[:-2] + bytes(100), RGB, 6, False),
    "with_more_behind.jpg": (encode(IMAGE, "JPEG", quality=95, subsampling=0) + b"\xff\xd8\xff\xda\0\0", RGB, 6, True),
    "restarts.jpg": (encode(IMAGE, "JPEG", quality=95, subsampling=0, restart_marker_blocks=2), RGB, 6, True),
    "jpeg_named.png": (encode(IMAGE, "JPEG", quality=95, subsampling=0), RGB, 6, True),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_file_has_the_right_pixels(name, tmp_path):
    content, expected, tolerance, plain = KINDS[name]
    (tmp_path / name).write_bytes(content)
    pixels, found_plain = load(tmp_path / name)
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(float) - expected).max() <= tolerance
    assert found_plain == plain
    with Image.open(tmp_path / name) as image:
        np.testing.assert_array_equal(pixels, np.asarray(pillow_files.to_rgb(image)))


@pytest.mark.parametrize("most", [40 * 56, 40 * 56 // 3])
@pytest.mark.parametrize("name", [name for name in KINDS if name != "two.mpo"])
def test_bands_of_rows_make_the_whole_image(name, most, tmp_path, monkeypatch):
    """Large images are converted and reduced in bands."""
    (tmp_path / name).write_bytes(KINDS[name][0])
    with Image.open(tmp_path / name) as image:
        expected = pillow_files.to_rgb(image)
    expected = expected.reduce(2) if most < 40 * 56 else expected
    monkeypatch.setattr(decode, "MAX_DECODED_PIXELS", most)
    monkeypatch.setattr(pillow_files, "MAX_DECODED_PIXELS", most)
    monkeypatch.setattr(pillow_files, "_BAND_PIXELS", 7 * 56)
    pixels = np.asarray(Image.open(io.BytesIO(pillow_files.to_bmp(tmp_path / name)))).astype(int)
    by_libjpeg = most < 40 * 56 and KINDS[name][0].startswith(b"\xff\xd8")
    assert np.abs(pixels - np.asarray(expected)).max() <= (24 if by_libjpeg else 0)


def test_large_images_are_held_one_at_a_time(tmp_path, monkeypatch):
    """Eight threads with a large WebP each would fill the memory of a laptop."""
    (tmp_path / "large.webp").write_bytes(KINDS["lossless.webp"][0])
    held, most, real = [], [], pillow_files.to_rgb

    def hold(image):
        held.append(image)
        time.sleep(0.01)
        most.append(len(held))
        held.remove(image)
        return real(image)

    monkeypatch.setattr(pillow_files, "to_rgb", hold)
    monkeypatch.setattr(pillow_files, "_LARGE_PIXELS", 40 * 56 - 1)
    with multiprocessing.pool.ThreadPool(4) as pool:
        pool.map(pillow_files.to_bmp, [tmp_path / "large.webp"] * 8)
    assert len(most) == 8 and max(most) == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_exif_orientation_is_applied(orientation, kind, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "photo").write_bytes(encode(IMAGE, kind, quality=95, lossless=True, exif=exif))
    pixels, _ = load(tmp_path / "photo")
    with Image.open(tmp_path / "photo") as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB")).astype(int)
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).max() <= 2


@pytest.mark.parametrize("value", [0, 9, 1000])
def test_an_impossible_orientation_is_upright(value, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(jpeg(8, 8, value))
    assert decode.examine(str(tmp_path / "photo.jpg")) == (1, True)


PHOTO = jpeg(64, 96)
BAD = {
    "empty": (b"", "empty"),
    "text": (b"hello, this is text", "not a JPEG, PNG, WebP, BMP or GIF image"),
    "truncated jpeg": (PHOTO[: len(PHOTO) // 2], "truncated"),
    "followed by another jpeg": (PHOTO[:-2] + PHOTO, "corrupt"),
    "header of a jpeg": (PHOTO[:100], "truncated"),
    "truncated png": (PNG[: len(PNG) // 2], "truncated"),
    "corrupt png": (PNG[:60] + bytes(20) + PNG[80:], "corrupt"),
    "bomb": (raw_png(np.zeros((1, 1)), 8, 0).replace(struct.pack(">II", 1, 1), struct.pack(">II", 60000, 60000)), None),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_with_the_reason(name, tmp_path):
    content, reason = BAD[name]
    if name == "bomb":  # the header's checksum has to fit
        header = content[12:29]
        reason = "too many pixels, 60000x60000: at most 179 million are read without --max_megapixels"
        content = content[:29] + struct.pack(">I", zlib.crc32(header)) + content[33:]
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(decode.UndecodableError) as error:
        decode.examine(str(tmp_path / "file"))
    assert str(error.value) == reason


@pytest.mark.parametrize("name", ["rgb.jpg", "progressive.jpg", "rgb.png", "lossless.webp"])
def test_a_limit_of_pixels_can_be_raised(name, tmp_path, monkeypatch):
    for kind in limits.MEGAPIXELS:
        monkeypatch.setitem(limits.MEGAPIXELS, kind, 40 * 56 / 1e6 - 1e-5)
    (tmp_path / name).write_bytes(KINDS[name][0])
    with pytest.raises(decode.UndecodableError, match=r"too many pixels, 56x40: at most 0\.00223 million .* --max_megapixels"):
        decode.examine(tmp_path / name)
    limits.allow_megapixels(40 * 56 / 1e6)
    assert load(tmp_path / name)[0].shape == (40, 56, 3)


def windowed(content, orientation, box, target):
    return decode.decode_window(content, orientation, lambda height, width: (box[0], box[1], box[2], box[3]), target)


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Stored to upright pixels, by Pillow."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.open(io.BytesIO(encode(Image.fromarray(pixels), "PNG", exif=exif)))
    return np.asarray(ImageOps.exif_transpose(image))


GRAPH = tf.function(
    windowed,
    input_signature=[
        tf.TensorSpec([], tf.string),
        tf.TensorSpec([], tf.int32),
        tf.TensorSpec([4], tf.int32),
        tf.TensorSpec([2], tf.int32),
    ],
    autograph=False,
)


@st.composite
def windows(draw, longest):
    """(stored height, stored width, orientation, box in the upright image)."""
    height, width = draw(st.integers(1, longest)), draw(st.integers(1, longest))
    orientation = draw(st.sampled_from(ORIENTATIONS))
    upright = (width, height) if orientation > 4 else (height, width)
    size = [draw(st.integers(1, side)) for side in upright]
    start = [draw(st.integers(0, side - length)) for side, length in zip(upright, size, strict=True)]
    return height, width, orientation, (*start, *size)


@settings(max_examples=100, deadline=None)
@given(windows(70))
def test_a_window_is_the_crop_of_the_whole_image(case):
    height, width, orientation, (top, left, h, w) = case
    content = jpeg(height, width)
    whole = tf.io.decode_jpeg(content, channels=3, fancy_upscaling=False, dct_method="INTEGER_ACCURATE").numpy()
    expected = turned(whole, orientation)[top : top + h, left : left + w]
    actual = GRAPH(content, orientation, (top, left, h, w), (1000, 1000)).numpy()
    np.testing.assert_array_equal(actual, expected)
    exact = decode.decode(content, orientation).numpy()[top : top + h, left : left + w]
    assert np.abs(actual.astype(int) - exact).max() <= 80  # chroma of neighbours is interpolated there


@settings(max_examples=100, deadline=None)
@given(windows(200), st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_a_reduced_window_is_never_out_of_bounds_nor_smaller_than_the_target(case, target):
    height, width, orientation, box = case
    shape = GRAPH(jpeg(height, width), orientation, box, target).shape
    ratio = max(r for r in (1, 2, 4, 8) if r == 1 or (box[2] >= r * target[0] and box[3] >= r * target[1]))
    for side, full, least in zip(shape[:2], box[2:], target, strict=True):
        assert abs(side - full / ratio) < 1
        assert side >= min(full, least)


@pytest.mark.parametrize("ratio", [2, 4, 8])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_reduced_window_is_the_mean_of_its_pixels(orientation, ratio):
    content = jpeg(240, 320)
    top, left, h, w = 2 * ratio, 3 * ratio, 20 * ratio, 24 * ratio
    actual = GRAPH(content, orientation, (top, left, h, w), (20, 24)).numpy()
    exact = decode.decode(content, orientation).numpy()[top : top + h, left : left + w]
    expected = exact.reshape(20, ratio, 24, ratio, 3).mean(axis=(1, 3))
    assert actual.shape == (20, 24, 3)
    error = np.abs(actual - expected)
    assert error.max() <= 12
    assert error.mean() <= 2


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_window_of_a_png_is_exact(orientation):
    top, left, h, w = 3, 5, 20, 30
    actual = GRAPH(PNG, orientation, (top, left, h, w), (2, 2)).numpy()
    np.testing.assert_array_equal(actual, turned(RGB, orientation)[top : top + h, left : left + w])


def test_the_window_is_chosen_by_the_upright_size():
    seen = []

    def window(height, width):
        seen.append((int(height), int(width)))
        return 0, 0, height, width

    assert decode.decode_window(jpeg(30, 50), 6, window, (1000, 1000)).shape == (50, 30, 3)
    assert seen == [(50, 30)]


def test_decoding_is_the_same_in_a_dataset():
    eager = windowed(PHOTO, 6, (4, 8, 40, 32), (20, 16)).numpy()
    dataset = tf.data.Dataset.from_tensors((PHOTO, 6)).map(
        lambda content, orientation: windowed(content, orientation, (4, 8, 40, 32), (20, 16))
    )
    assert dataset.element_spec.shape.as_list() == [None, None, 3]
    np.testing.assert_array_equal(next(iter(dataset)).numpy(), eager)
