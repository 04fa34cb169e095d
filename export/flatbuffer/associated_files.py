"""The zip archive after the flatbuffer, in which TFLite metadata keeps labels and other files."""

import io
import zipfile

Files = list[tuple[zipfile.ZipInfo, bytes]]


def separate(data: bytes) -> tuple[bytes, Files]:
    """Returns the flatbuffer and the files of the archive that follows it, if any."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            start = min((info.header_offset for info in infos), default=archive.start_dir)
            return data[:start], [(info, archive.read(info)) for info in infos]
    except (zipfile.BadZipFile, zipfile.LargeZipFile, OSError, EOFError, ValueError, RuntimeError, NotImplementedError):
        return data, []


def attach(flatbuffer: bytes, files: Files) -> bytes:
    """Returns the flatbuffer followed by an archive of `files`."""
    if not files:
        return flatbuffer
    target = io.BytesIO(flatbuffer)
    with zipfile.ZipFile(target, "a") as archive:
        for info, content in files:
            archive.writestr(info, content)
    return target.getvalue()
