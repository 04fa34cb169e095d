"""Photos in folders: found by their content, without what systems leave beside them."""

import io
import os
import pathlib

import pytest
from PIL import Image

from shufflenet_tf.data import photos


def content(kind: str = "JPEG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (9, 90, 200)).save(stream, kind)
    return stream.getvalue()


def put(path: pathlib.Path, data: bytes = content()) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def names(folder: pathlib.Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in photos.find(folder)]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_photos_are_found_whatever_their_ending(tmp_path, kind):
    for name in ("none", "wrong.txt", "UPPER.JPG", "deep/er/x.dat"):
        put(tmp_path / name, content(kind))
    put(tmp_path / "notes.txt", b"BMW and MMX")
    put(tmp_path / "empty.jpg", b"")  # a person wants to know of it
    put(tmp_path / "empty", b"")
    assert names(tmp_path) == ["UPPER.JPG", "deep/er/x.dat", "empty.jpg", "none", "wrong.txt"]


SYSTEM = ["@eaDir", "#recycle", "#snapshot", "lost+found", "$RECYCLE.BIN", "RECYCLER", ".thumbnails", ".Trash-1000"]
SYSTEM += [".AppleDouble", "__MACOSX", ".git", "@Recycle", "@__thumb", "thumbnails", "Thumbs"]


def test_folders_of_systems_are_left_out_and_named_once(tmp_path):
    for place in (*SYSTEM, "System Volume Information", "a/@eaDir", "a/b/.thumbnails"):
        put(tmp_path / place / "x" / "p.jpg")
    for name in (
        "a/p.jpg",
        "a/._p.jpg",
        "a/Thumbs.db",
        "a/desktop.ini",
        "a/SYNOPHOTO_THUMB_XL.jpg",
        "a/.DS_Store",
        "eaDir/p.jpg",
    ):
        put(tmp_path / name)
    said = []
    found = [path.relative_to(tmp_path).as_posix() for path in photos.find(tmp_path, said.append)]
    assert found == ["a/p.jpg", "eaDir/p.jpg"]
    assert len(said) == 1 and said[0].startswith("ignored 18 folders of the system or of thumbnails: ")


def test_links_pipes_and_unreadable_files(tmp_path):
    put(tmp_path / "a" / "p")
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "gone").symlink_to(tmp_path / "nothing")
    (tmp_path / "a" / "linked").symlink_to(tmp_path / "a" / "p")
    os.mkfifo(tmp_path / "a" / "pipe")
    assert names(tmp_path) == ["a/linked", "a/p"]
