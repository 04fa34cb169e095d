"""Reads the EXIF orientation from a file's content and applies it to pixels, all in TensorFlow, so that it works in graphs."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

_TAG = 0x0112
_EXIF, _XMP_ID = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_XMP_KEYWORD, _RAW_KEYWORD = b"XML:com.adobe.xmp\0", b"Raw profile type exif\0"
_MAX_SEGMENTS = 1 << 20
_MAX_SIZE = 1 << 30  # bytes of a segment
_MAX_DEFLATED = 1 << 16  # bytes of compressed text; metadata with an orientation is not longer


class _Segment(NamedTuple):
    """Part of a file: its kind, where its content is, from the segment's start, and where the next one starts (0: none)."""

    exif: tf.Tensor | bool
    xmp: tf.Tensor | bool
    raw: tf.Tensor | bool  # EXIF in hexadecimal text, as ImageMagick writes it into a PNG
    offset: tf.Tensor | int
    size: tf.Tensor
    advance: tf.Tensor


# Traced once in a process, as it consists of some thousand operations, and called by every graph that reads files.
@functools.partial(tf.function, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def read(encoded: tf.Tensor) -> tf.Tensor:
    """Returns the orientation in an image file's EXIF data or, without them, its XMP data, int32 scalar 1 to 8.

    Args:
      encoded: content of a file, string scalar. Only JPEG, PNG and WebP files have an orientation; for others, it is 1.
    """
    head = tf.strings.substr(encoded, 0, 4)
    container = tf.where(tf.equal(tf.strings.substr(head, 0, 3), b"\xff\xd8\xff"), 1, 0)
    container = tf.where(tf.equal(head, b"\x89PNG"), 2, tf.where(tf.equal(head, b"RIFF"), 3, container))
    container = tf.where(_is_bare(encoded, container), 0, container)  # most images of datasets: this saves most of the time
    scans = [lambda: _scan(encoded, 2, _jpeg_segment), lambda: _scan(encoded, 8, _png_chunk)]
    scans += [lambda: _scan(encoded, 12, _webp_chunk)]
    # The formats differ only in their segments, whose content is parsed by one graph for all formats.
    value = _of_segments(encoded, tf.switch_case(container, [lambda: tf.zeros((3, 2), tf.int32), *scans]))
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _is_bare(encoded: tf.Tensor, container: tf.Tensor) -> tf.Tensor:
    """Returns whether a JPEG's tables come first, or directly after JFIF's segment."""
    head = tf.strings.join([tf.strings.substr(encoded, 0, 22), bytes(22)])
    first, behind_jfif = tf.strings.substr(head, 2, 2), tf.strings.substr(head, 20, 2)
    jpeg = tf.equal(first, b"\xff\xdb") | (tf.equal(first, b"\xff\xe0") & tf.equal(behind_jfif, b"\xff\xdb"))
    return tf.equal(container, 1) & jpeg


def is_transposed(orientation: tf.Tensor | int) -> tf.Tensor:
    """Returns whether the upright image's height is the stored one's width."""
    return _steps(orientation)[0]


def upright(image: tf.Tensor, orientation: tf.Tensor | int) -> tf.Tensor:
    """Rotates stored pixels [h, w, 3] to upright pixels, [h, w, 3] or [w, h, 3]; does nothing if they are upright."""
    return tf.cond(tf.equal(orientation, 1), lambda: image, lambda: turn(image, orientation))


def turn(image: tf.Tensor, orientation: tf.Tensor | int) -> tf.Tensor:
    """Rotates stored pixels [h, w, 3] to upright pixels, [h, w, 3] or [w, h, 3]."""
    transpose, flip = _steps(orientation)
    image = tf.transpose(image, tf.where(transpose, [1, 0, 2], [0, 1, 2]))
    return tf.raw_ops.Reverse(tensor=image, dims=tf.concat([flip, [False]], axis=0))


def stored_box(box: tf.Tensor, upright_size: tf.Tensor, orientation: tf.Tensor | int) -> tf.Tensor:
    """Returns a box [top, left, height, width] of the upright image in stored pixels, the inverse of `turn`."""
    transpose, flip = _steps(orientation)
    start, size = tf.split(box, 2)
    start = tf.where(flip, upright_size - start - size, start)
    return tf.gather(tf.concat([start, size], axis=0), tf.where(transpose, [1, 0, 3, 2], [0, 1, 2, 3]))


def _steps(orientation: tf.Tensor | int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns how to make a stored image upright: whether to transpose it, bool; then what to flip, bool [rows, columns]."""
    steps = tf.constant(
        [
            [False, False, False],  # 1: upright
            [False, False, True],  # 2: mirrored
            [False, True, True],  # 3: upside down
            [False, True, False],  # 4: upside down, mirrored
            [True, False, False],  # 5: transposed
            [True, False, True],  # 6: to be rotated clockwise
            [True, True, True],  # 7: transposed along the other diagonal
            [True, True, False],  # 8: to be rotated anticlockwise
        ]
    )[orientation - 1]
    return steps[0], steps[1:]


def _integer(encoded: tf.Tensor, start: tf.Tensor, kind: tf.DType, little: bool = False) -> tf.Tensor:
    return tf.cast(tf.io.decode_raw(tf.strings.substr(encoded, start, kind.size), kind, little_endian=little)[0], tf.int32)


def _is(values: tf.Tensor, expected: bytes) -> tf.Tensor:
    return tf.reduce_all(values[: len(expected)] == list(expected))


def _number(values: tf.Tensor, count: int, little: tf.Tensor | bool = False) -> tf.Tensor:
    """Returns the first `count` bytes, int32 [n, ...], as a number; four bytes above 2**31 give a negative number."""
    orders = [
        [tf.bitwise.left_shift(values[i], 8 * n) for n, i in enumerate(order)] for order in (range(count), range(count)[::-1])
    ]
    return tf.where(little, *map(tf.add_n, orders))


def _jpeg_segment(encoded: tf.Tensor, place: tf.Tensor) -> _Segment:
    marker, size = _integer(encoded, place, tf.uint16), _integer(encoded, place + 2, tf.uint16)
    name = tf.strings.substr(encoded, place + 4, len(_XMP_ID))
    exif = tf.equal(marker, 0xFFE1) & tf.equal(tf.strings.substr(name, 0, len(_EXIF)), _EXIF)
    xmp = tf.equal(marker, 0xFFE1) & tf.equal(name, _XMP_ID)
    # Bytes 0xFF may fill the space before a marker. All metadata comes before the pixels' tables (C0 to CF).
    is_last = (
        (marker < 0xFF00) | ((marker >= 0xFFC0) & (marker < 0xFFD0)) | (marker >= 0xFFD9) & (marker <= 0xFFDA) | (size < 2)
    )
    return _Segment(exif, xmp, False, 4, size - 2, tf.where(tf.equal(marker, 0xFFFF), 1, tf.where(is_last, 0, size + 2)))


def _png_chunk(encoded: tf.Tensor, place: tf.Tensor) -> _Segment:
    size, kind = _integer(encoded, place, tf.int32), tf.strings.substr(encoded, place + 4, 4)
    name = tf.strings.substr(encoded, place + 8, len(_RAW_KEYWORD))
    xmp = tf.equal(kind, b"iTXt") & tf.equal(tf.strings.substr(name, 0, len(_XMP_KEYWORD)), _XMP_KEYWORD)
    raw = (tf.equal(kind, b"zTXt") | tf.equal(kind, b"tEXt")) & tf.equal(name, _RAW_KEYWORD)
    is_last = tf.equal(kind, b"IEND") | (size < 0) | (size > _MAX_SIZE)
    return _Segment(tf.equal(kind, b"eXIf"), xmp, raw, 8, size, tf.where(is_last, 0, size + 12))


def _webp_chunk(encoded: tf.Tensor, place: tf.Tensor) -> _Segment:
    size, kind = _integer(encoded, place + 4, tf.int32, True), tf.strings.substr(encoded, place, 4)
    advance = tf.where((size < 0) | (size > _MAX_SIZE), 0, size + 8 + size % 2)
    return _Segment(tf.equal(kind, b"EXIF"), tf.equal(kind, b"XMP "), False, 8, size, advance)


def _scan(encoded: tf.Tensor, start: int, segment: Callable[[tf.Tensor, tf.Tensor], _Segment]) -> tf.Tensor:
    """Returns start and size, int32 [3, 2], of a file's first EXIF, XMP and raw segment; ends at EXIF. 0: there is none."""
    last = tf.strings.length(encoded) - 8

    def step(place: tf.Tensor, found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        here = segment(encoded, place)
        is_new = tf.stack([here.exif, here.xmp, here.raw])[:, None] & (found[:, 1:] <= 0)  # the first of a kind counts
        found = tf.where(is_new, tf.stack([place + here.offset, here.size])[None], found)
        ends = tf.equal(here.advance, 0) | (here.advance > last - place)
        return tf.where(ends, last + 1, place + here.advance), found

    def goes_on(place: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
        return (place <= last) & (found[0, 1] <= 0)

    loop = (tf.constant(start), tf.zeros((3, 2), tf.int32))
    return tf.while_loop(goes_on, step, loop, maximum_iterations=_MAX_SEGMENTS)[1]


def _of_segments(encoded: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    """Returns the orientation in the segments that `_scan` found; 0 or less: there is none."""
    texts = [lambda n=n: tf.strings.substr(encoded, found[n, 0], found[n, 1]) for n in range(3)]
    value = tf.cond(found[0, 1] > 0, lambda: _of_tiff(tf.io.decode_raw(texts[0](), tf.uint8)), lambda: 0)
    value = tf.cond(tf.equal(value, 0) & (found[2, 1] > 0), lambda: _of_tiff(_unpacked(texts[2]())), lambda: value)
    return tf.cond(tf.equal(value, 0) & (found[1, 1] > 0), lambda: _of_xmp(texts[1]()), lambda: value)


def _of_tiff(content: tf.Tensor) -> tf.Tensor:
    """Returns the orientation in EXIF data, uint8 [n]; 0: there is none, -1: it is invalid."""
    prefixed = tf.concat([content, tf.zeros(6, tf.uint8)], 0)
    content = tf.cond(_is(tf.cast(prefixed, tf.int32), _EXIF), lambda: content[6:], lambda: content)
    values = tf.cast(tf.concat([content, tf.zeros(8, tf.uint8)], 0), tf.int32)
    little = _is(values, b"II")
    start = _number(values[4:], 4, little)
    is_tiff = (little | _is(values, b"MM")) & (start >= 8) & (start + 2 <= tf.size(content))

    def entries() -> tf.Tensor:
        count = _number(values[start:], 2, little)
        count = tf.minimum(count, (tf.size(content) - start - 2) // 12)
        table = tf.transpose(tf.reshape(values[start + 2 : start + 2 + 12 * count], [-1, 12]))  # [12, entries]
        table = tf.ensure_shape(table, [12, None])
        tags, kinds, counts = (_number(table[a:], count, little) for a, count in ((0, 2), (2, 2), (4, 4)))
        is_short = tf.equal(kinds, 3)
        usable = (is_short | tf.equal(kinds, 4)) & tf.equal(counts, 1)
        number = tf.where(is_short, _number(table[8:], 2, little), _number(table[8:], 4, little))
        ours = tf.boolean_mask(tf.where(usable & (number > 0), number, -1), tf.equal(tags, _TAG))
        return tf.concat([[0], ours], 0)[-1]

    return tf.cond(is_tiff, entries, lambda: -1)


def _of_xmp(content: tf.Tensor) -> tf.Tensor:
    """Returns the orientation in XMP data or in a PNG's text chunk with XMP data, string scalar; 0: there is none."""
    is_deflated = tf.equal(tf.strings.substr(content, 0, len(_XMP_KEYWORD) + 1), _XMP_KEYWORD + b"\1")

    def inflated() -> tf.Tensor:  # a language, and the keyword in it, follow the keyword and its flags
        rest = _from(content, len(_XMP_KEYWORD) + 2)
        parts = tf.strings.length(tf.concat([tf.strings.split(rest, b"\0", 2), ["", ""]], 0))
        return _inflated(_from(rest, parts[0] + parts[1] + 2))

    text = tf.cond(is_deflated, inflated, lambda: content)
    following = tf.strings.split(text, "tiff:Orientation")[1:]
    digits = tf.strings.regex_replace(tf.strings.substr(following, 0, 3), '^(?:="|>)([0-9]).?$', r"\1")
    digits = tf.boolean_mask(digits, tf.strings.regex_full_match(digits, "[0-9]"))
    return tf.strings.to_number(tf.concat([digits, ["0"]], 0)[0], tf.int32)


def _unpacked(chunk: tf.Tensor) -> tf.Tensor:
    """Returns the bytes, uint8 [n], of a PNG's text chunk, string scalar, with EXIF data in hexadecimal digits."""
    text = _from(chunk, len(_RAW_KEYWORD))
    is_deflated = tf.equal(tf.strings.substr(text, 0, 1), b"\0")
    text = tf.cond(is_deflated, lambda: _inflated(_from(text, 1)), lambda: text)
    lines = tf.strings.split(text, "\n")[3:]  # the first lines are an empty one, "exif" and the number of bytes
    digits = tf.cast(tf.io.decode_raw(tf.strings.reduce_join(tf.strings.strip(lines)), tf.uint8), tf.int32)
    digits = tf.where(digits < ord("A"), digits - ord("0"), digits % 32 + 9)
    pairs = tf.reshape(digits[: tf.size(digits) // 2 * 2], [-1, 2])
    return tf.cast(pairs[:, 0] * 16 + pairs[:, 1], tf.uint8)


def _from(text: tf.Tensor, start: tf.Tensor | int) -> tf.Tensor:
    """Returns the bytes of a string from `start` on."""
    length = tf.strings.length(text)
    return tf.strings.substr(text, tf.minimum(start, length), length)


def _inflated(content: tf.Tensor) -> tf.Tensor:
    return tf.cond(tf.strings.length(content) <= _MAX_DEFLATED, lambda: tf.io.decode_compressed(content, "ZLIB"), lambda: "")
