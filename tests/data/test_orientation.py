"""EXIF orientation: read by TensorFlow from every place where cameras and programs write it, as Pillow reads it."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from shufflenet_tf.data import decode, orientation

ORIENTATIONS = range(1, 9)
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)
XMP_ID = b"http://ns.adobe.com/xap/1.0/\0"
GRAPH = tf.function(decode.decode, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
READ = tf.function(orientation.read, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)


def encode(kind: str, mode: str = "RGB", **options) -> bytes:
    content = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(content, kind, **options)
    return content.getvalue()


PLAIN_JPEG, PLAIN_PNG = encode("JPEG", quality=95, subsampling=0), encode("PNG")


def tiff(value: int, little: bool = True, kind: int = 3, start: int = 8, count: int = 1) -> bytes:
    """EXIF data of three entries, the orientation being the second."""
    order = "<" if little else ">"
    number = struct.pack(order + "HH", value, 0) if kind == 3 else struct.pack(order + "I", value)
    entries = [(0x10F, 2, 4, b"Abc\0"), (0x112, kind, count, number), (0x213, 3, 1, struct.pack(order + "HH", 1, 0))]
    table = b"".join(struct.pack(order + "HHI", tag, type_, n) + data for tag, type_, n, data in entries)
    head = (b"II*\0" if little else b"MM\0*") + struct.pack(order + "I", start) + bytes(start - 8)
    return head + struct.pack(order + "H", len(entries)) + table + bytes(4)


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def jpeg(*segments: bytes) -> bytes:
    return PLAIN_JPEG[:2] + b"".join(segments) + PLAIN_JPEG[2:]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes, last: bool = False) -> bytes:
    place = len(PLAIN_PNG) - 12 if last else 33
    return PLAIN_PNG[:place] + b"".join(chunks) + PLAIN_PNG[place:]


def raw_profile(exif: bytes) -> bytes:
    digits = exif.hex()
    lines = "\n".join(digits[place : place + 72] for place in range(0, len(digits), 72))
    return f"\nexif\n{len(exif):8}\n{lines}\n".encode()


def places(value: int) -> dict[str, bytes]:
    """Files whose orientation is `value`."""
    exif = b"Exif\0\0" + tiff(value)
    others = segment(0xE0, b"JFIF\0" + bytes(9)) + segment(0xE2, b"ICC_PROFILE\0" + bytes(3000)) + segment(0xFE, b"comment")
    attribute = b'<rdf xmlns:tiff="a" tiff:Orientation="%d"/>' % value
    element = b"\xff\xfe <tiff:Orientation>%d</tiff:Orientation>" % value
    pillow = Image.Exif()
    pillow[0x0112] = value
    return {
        "jpeg": jpeg(segment(0xE1, exif)),
        "big endian": jpeg(segment(0xE1, b"Exif\0\0" + tiff(value, little=False))),
        "long": jpeg(segment(0xE1, b"Exif\0\0" + tiff(value, kind=4))),
        "big endian long": jpeg(segment(0xE1, b"Exif\0\0" + tiff(value, little=False, kind=4))),
        "table further on": jpeg(segment(0xE1, b"Exif\0\0" + tiff(value, start=20))),
        "behind other segments": jpeg(others, segment(0xE1, XMP_ID + b"<x/>"), b"\xff\xff", segment(0xE1, exif)),
        "xmp": jpeg(segment(0xE1, XMP_ID + attribute)),
        "xmp with odd bytes": jpeg(segment(0xE1, XMP_ID + element)),
        "png": png(chunk(b"eXIf", tiff(value))),
        "png, behind the pixels": png(chunk(b"eXIf", tiff(value)), last=True),
        "png, xmp": png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + attribute)),
        "png, deflated xmp": png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0en\0word\0" + zlib.compress(attribute))),
        "png, text": png(chunk(b"tEXt", b"Raw profile type exif\0" + raw_profile(exif))),
        "png, deflated text": png(chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw_profile(exif)))),
        "webp": encode("WEBP", exif=pillow),
        "webp, transparent": encode("WEBP", "RGBA", exif=pillow, lossless=True),
        "webp, xmp": encode("WEBP", xmp=attribute),
    }


def pillows(content: bytes) -> int:
    with Image.open(io.BytesIO(content)) as image:
        return image.getexif().get(0x0112, 1)


@pytest.mark.parametrize("value", ORIENTATIONS)
def test_the_orientation_is_found_wherever_it_is_written(value):
    for place, content in places(value).items():
        assert int(READ(content)) == value == pillows(content), place


@pytest.mark.parametrize("value", [0, 9, 300])
def test_an_impossible_orientation_is_upright(value):
    assert {int(READ(content)) for place, content in places(value).items() if "xmp" not in place} == {1}


def test_exif_goes_before_xmp_and_a_wrong_type_or_number_counts_as_none():
    xmp = segment(0xE1, XMP_ID + b'<rdf tiff:Orientation="8"/>')
    assert int(READ(jpeg(xmp, segment(0xE1, b"Exif\0\0" + tiff(3))))) == 3
    assert int(READ(jpeg(segment(0xE1, b"Exif\0\0" + tiff(6, count=2))))) == 1
    assert int(READ(jpeg(segment(0xE1, b"Exif\0\0" + tiff(6, kind=2))))) == 1


def test_damaged_files_have_some_orientation():
    rng = np.random.default_rng(0)
    for content in places(6).values():
        for _ in range(12):
            damaged = bytearray(content)
            for place in rng.integers(0, min(len(damaged), 120), rng.integers(1, 5)):
                damaged[place] = rng.integers(256)
            try:
                assert 1 <= int(READ(bytes(damaged[: rng.integers(0, len(damaged) + 1)]))) <= 8
            except tf.errors.DataLossError as error:  # a text that can't be inflated
                assert "inflate" in str(error)


@pytest.mark.parametrize("value", ORIENTATIONS)
def test_decode_applies_the_files_own_orientation_inside_a_graph(value):
    for place, content in places(value).items():
        if "webp" in place:
            continue
        with Image.open(io.BytesIO(content)) as image:
            expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB")).astype(int)
        actual = GRAPH(content).numpy()
        assert actual.shape == expected.shape and np.abs(actual - expected).max() <= 3, place


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK"])
def test_grey_transparent_and_cmyk_files_are_the_same_pixels_in_a_graph(mode, tmp_path):
    kind = "JPEG" if mode == "CMYK" else "PNG"
    content = encode(kind, mode)
    (tmp_path / "photo").write_bytes(content)
    value, plain = decode.examine(tmp_path / "photo")
    assert plain
    np.testing.assert_array_equal(decode.decode(content), decode.decode(tf.io.read_file(str(tmp_path / "photo")), value))


@pytest.mark.parametrize("kind", ["WEBP", "GIF", "palette BMP"])
def test_what_tensorflow_reads_otherwise_than_pillow_is_refused_in_a_graph(kind):
    content = encode("BMP", "P") if kind == "palette BMP" else encode(kind)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Convert it to JPEG or PNG"):
        decode.decode(content)
