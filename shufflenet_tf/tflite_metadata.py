"""What a .tflite file says of itself: TFLite's metadata (metadata_schema.fbs, M001), files packed in it, its compiler."""

import contextlib
import dataclasses
import io
import re
import struct
import zipfile
from collections.abc import Iterator

from flatbuffers import encode, packer
from flatbuffers.table import Table

from shufflenet_tf.files import ARCHIVE_DAMAGE
from shufflenet_tf.text_files import decode_text

LABELS = "labels.txt"
_METADATA, _IDENTIFIER = b"TFLITE_METADATA", b"M001"
_MAX_ITEMS = 1 << 16
MAX_UNPACKED = 1 << 24  # bytes of all files packed in one
# Numbers of metadata_schema.fbs.
_LABEL_FILES = (2, 3)  # TENSOR_AXIS_LABELS, TENSOR_VALUE_LABELS
_NORMALIZATION, _SCORE_THRESHOLDING = 1, 3
_COMPILED = {
    b"ethos-u": "compiled for Arm's Ethos-U by Vela",
    b"edgetpu-custom-op": "compiled for Google's Edge TPU",
    b"DISPATCH_OP": "compiled for an NPU by LiteRT",
}


class DamagedMetadataError(ValueError):
    """Metadata or packed files that can't be read; the message says why in a few words."""


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What metadata say of the one input and the one output.

    Attributes:
      label_files: names of the packed files with the names of the classes, the likeliest first.
      mean, std: NormalizationOptions of the input: (pixel - mean) / std, of each channel or of all; None: there are none.
      threshold: ScoreThresholdingOptions of the output: smaller scores don't count; None: there are none.
    """

    label_files: tuple[str, ...] = ()
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    threshold: float | None = None


def compiled_for(content: bytes) -> str | None:
    """Returns in words for which accelerator a .tflite file is compiled; None: it's made for every processor."""
    with contextlib.suppress(struct.error, IndexError, TypeError, ValueError, OverflowError):
        for code in _tables(_root(content), 1):
            if (compiled := _COMPILED.get(_text(code, 1))) is not None:
                return compiled
    return None


def read_metadata(content: bytes) -> Metadata:
    """Returns what a .tflite file's metadata say.

    Raises:
      DamagedMetadataError: they can't be read.
    """
    try:
        metadata = _metadata_buffer(content)
        if metadata is None:
            return Metadata()
        if metadata[4:8] != _IDENTIFIER:
            raise DamagedMetadataError("its metadata are of an unknown kind")
        return _parsed(_root(metadata))
    except (struct.error, IndexError, TypeError, OverflowError, UnicodeDecodeError):
        raise DamagedMetadataError("its metadata are damaged") from None


def _metadata_buffer(content: bytes) -> bytes | None:
    model = _root(content)
    buffers = list(_tables(model, 4))
    for entry in _tables(model, 6):
        if _text(entry, 0) == _METADATA:
            return _bytes(buffers[_scalar(entry, 1, packer.uint32)], 0)
    return None


def _parsed(model: Table) -> Metadata:
    subgraph = next(_tables(model, 3), None)
    if subgraph is None:
        return Metadata(tuple(_label_files(model, 6)))
    outputs = list(_tables(subgraph, 3))
    # A file for the axis of the one output; else what belongs to the subgraph or to the model.
    names = [name for output in outputs[:1] for name in _label_files(output, 6)]
    names += [*_label_files(subgraph, 4), *_label_files(model, 6)]
    mean = std = threshold = None
    for options in _process_units(list(_tables(subgraph, 2))[:1], _NORMALIZATION):
        mean, std = _floats(options, 0), _floats(options, 1)
    for options in _process_units(outputs[:1], _SCORE_THRESHOLDING):
        value = _scalar(options, 0, packer.float32)
        threshold = float(value) if 0 < value <= 1 else None  # 0 is the schema's default, and NaN is no threshold
    return Metadata(tuple(dict.fromkeys(names)), mean, std, threshold)


def _process_units(tensors: list[Table], kind: int) -> Iterator[Table]:
    """Yields the options of the process units of a kind of some tensors."""
    for tensor in tensors:
        for unit in _tables(tensor, 4):
            options = _table(unit, 1)
            if _scalar(unit, 0, packer.uint8) == kind and options is not None:
                yield options


def _label_files(table: Table, slot: int) -> Iterator[str]:
    """Names of associated files with labels; those in no language, or English, come first."""
    files = [file for file in _tables(table, slot) if _scalar(file, 2, packer.int8) in _LABEL_FILES]
    files.sort(key=lambda file: _text(file, 3)[:2] not in (b"", b"en"))
    return (_text(file, 0).decode() for file in files)


def packed_files(content: bytes) -> dict[str, bytes]:
    """Returns the files that are packed behind a .tflite file's flatbuffer, by name; of folders in it, none.

    Raises:
      DamagedMetadataError: they can't be unpacked.
    """
    try:
        if not zipfile.is_zipfile(io.BytesIO(content)):
            return {}
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            kept = [info for info in archive.infolist() if not info.filename.endswith("/")]
            if sum(info.file_size for info in kept) > MAX_UNPACKED:
                raise DamagedMetadataError(f"the files in it have more than {MAX_UNPACKED >> 20} MB")
            return {info.filename: archive.read(info) for info in kept}
    except DamagedMetadataError:
        raise
    except ARCHIVE_DAMAGE as error:
        raise DamagedMetadataError(str(error)[:200]) from None


def label_text(metadata: Metadata, files: dict[str, bytes], classes: int) -> str | None:
    """Returns the text with the names of the classes, one a line; None: there is none.

    The metadata say which file it is. Without that it is labels.txt, or the only packed text of so many lines.

    Raises:
      DamagedMetadataError: the file is missing, or is no text.
    """
    for name in metadata.label_files:
        if name in files:
            return _decoded(name, files[name])
    if metadata.label_files:
        raise DamagedMetadataError(f"{metadata.label_files[0]} is missing, where its metadata say that the labels are")
    if LABELS in files:
        return _decoded(LABELS, files[LABELS])
    fitting = []
    for name, content in files.items():
        with contextlib.suppress(DamagedMetadataError):
            if name.lower().endswith(".txt") and len(_decoded(name, content).rstrip().splitlines()) == classes:
                fitting.append(_decoded(name, content))
    return fitting[0] if len(fitting) == 1 else None


def _decoded(name: str, content: bytes) -> str:
    try:
        return decode_text(content)
    except ValueError:
        raise DamagedMetadataError(f"{name} is no text in UTF-8") from None


def litert_reason(error: Exception) -> str:
    """Returns why LiteRT can't run a file, each sentence once: it says the same of many tensors."""
    sentences = (
        re.split(r"\.(?=[A-Za-z_])|\n", str(error).strip().rstrip(".")) if str(error).strip() else [type(error).__name__]
    )
    once = {re.sub(r"\d+", "0", sentence.strip()): sentence.strip() for sentence in reversed(sentences) if sentence.strip()}
    return ". ".join(reversed(once.values()))[:300]


def source_of(path: str) -> dict[str, str | bytes]:
    """Returns the arguments by which LiteRT's Interpreter takes a file; it refuses paths that are no UTF-8."""
    try:
        path.encode()
        return {"model_path": path}
    except UnicodeEncodeError:
        with open(path, "rb") as file:
            return {"model_content": file.read()}


def _root(content: bytes) -> Table:
    return Table(content, encode.Get(packer.uoffset, content, 0))


def _field(table: Table, slot: int) -> int:
    """The place of a field's value; 0: it isn't there."""
    offset = table.Offset(4 + 2 * slot)
    return table.Pos + offset if offset else 0


def _table(table: Table, slot: int) -> Table | None:
    place = _field(table, slot)
    return Table(table.Bytes, table.Indirect(place)) if place else None


def _vector(table: Table, slot: int, width: int) -> tuple[int, int]:
    """The start and the length of a vector, whose elements are `width` bytes long and must lie within the file."""
    place = _field(table, slot)
    if not place:
        return 0, 0
    start = place + encode.Get(packer.uoffset, table.Bytes, place)
    length = encode.Get(packer.uoffset, table.Bytes, start)
    if start + 4 + length * width > len(table.Bytes):
        raise IndexError
    return start + 4, length


def _tables(table: Table, slot: int) -> Iterator[Table]:
    start, length = _vector(table, slot, 4)
    for place in range(start, start + 4 * min(length, _MAX_ITEMS), 4):
        yield Table(table.Bytes, table.Indirect(place))


def _bytes(table: Table, slot: int) -> bytes:
    start, length = _vector(table, slot, 1)
    return bytes(table.Bytes[start : start + length])


_text = _bytes  # a string is a vector of bytes


def _scalar(table: Table, slot: int, kind: object) -> int:
    place = _field(table, slot)
    return encode.Get(kind, table.Bytes, place) if place else 0


def _floats(table: Table, slot: int) -> tuple[float, ...]:
    start, length = _vector(table, slot, 4)
    return struct.unpack_from(f"<{min(length, 16)}f", table.Bytes, start)
