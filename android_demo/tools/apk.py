"""Writes and checks an APK's zip file: Android maps uncompressed, aligned files into memory."""

import struct
import zipfile
from pathlib import Path

PAGE = 16384  # bytes; Android's largest memory page: native libraries are aligned to it
WORD = 4  # bytes; alignment of other uncompressed files
_STORED = (".so", ".tflite", ".arsc", ".png", ".webp")


def write(apk: Path, resources: Path, files: dict[str, Path]) -> None:
    """Writes an unsigned APK.

    Args:
      apk: file to write.
      resources: aapt2's output: manifest, resource table and resource files.
      files: other files, by name in the APK.
    """
    with zipfile.ZipFile(apk, "w") as target, zipfile.ZipFile(resources) as source:
        for name in source.namelist():
            _add(target, name, source.read(name))
        for name, path in sorted(files.items()):
            _add(target, name, path.read_bytes())


def _add(target: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, (1981, 1, 1, 1, 1, 2))  # reproducible
    info.external_attr = 0o644 << 16
    info.compress_type = zipfile.ZIP_STORED if name.endswith(_STORED) else zipfile.ZIP_DEFLATED
    if info.compress_type == zipfile.ZIP_STORED:
        start = target.fp.tell() + 30 + len(name.encode())  # after the local header
        alignment = _alignment(name)
        padding = -(start + 6) % alignment
        # The extra field of Android's zipalign: id, length, alignment, zeros.
        info.extra = struct.pack("<HHH", 0xD935, 2 + padding, alignment) + bytes(padding)
    target.writestr(info, content)


def _alignment(name: str) -> int:
    return PAGE if name.endswith(".so") else WORD


def misaligned(apk: Path) -> list[str]:
    """Returns the names of files that are compressed or misaligned but must not be."""
    wrong = []
    with zipfile.ZipFile(apk) as content, apk.open("rb") as raw:
        for info in content.infolist():
            if not info.filename.endswith((".so", ".tflite", ".arsc")):
                continue
            raw.seek(info.header_offset + 26)
            name_length, extra_length = struct.unpack("<HH", raw.read(4))
            start = info.header_offset + 30 + name_length + extra_length
            if info.compress_type != zipfile.ZIP_STORED or start % _alignment(info.filename):
                wrong.append(info.filename)
    return wrong


def page_size(library: Path | bytes) -> int:
    """Returns the largest memory page, bytes, that a native library (ELF) supports."""
    elf = library if isinstance(library, bytes) else library.read_bytes()
    wide = elf[4] == 2
    offset, size, count = (
        struct.unpack_from("<Q", elf, 32)[0] if wide else struct.unpack_from("<I", elf, 28)[0],
        *struct.unpack_from("<HH", elf, 54 if wide else 42),
    )
    headers = [offset + index * size for index in range(count)]
    loads = [header for header in headers if struct.unpack_from("<I", elf, header)[0] == 1]
    return min(
        struct.unpack_from("<Q", elf, load + 48)[0] if wide else struct.unpack_from("<I", elf, load + 28)[0] for load in loads
    )
