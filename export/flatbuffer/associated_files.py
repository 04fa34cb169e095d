"""The zip archive after the flatbuffer, in which TFLite metadata keeps labels and other files."""

import io
import zipfile

from export.flatbuffer.validation import InvalidModel
from shufflenet_tf.files import ARCHIVE_DAMAGE
from shufflenet_tf.tflite_metadata import MAX_UNPACKED

Files = list[tuple[zipfile.ZipInfo, bytes]]


def separate(data: bytes) -> tuple[bytes, Files]:
    """Returns the flatbuffer and the files of the archive that follows it, if any.

    Raises:
      InvalidModel: the files are too large; a small archive can unpack into any number of bytes.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            if sum(info.file_size for info in infos) > MAX_UNPACKED:
                raise InvalidModel(f"the files in it have more than {MAX_UNPACKED >> 20} MB")
            start = min((info.header_offset for info in infos), default=archive.start_dir)
            return data[:start], [(info, archive.read(info)) for info in infos if info.filename]
    except ARCHIVE_DAMAGE:
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
