"""Caches: what they give is what the dataset gives, of this dataset alone, and what has no room is refused in a sentence."""

import os
import pathlib

import pytest
from photos import write_photos
from splits import tfds_builder

from shufflenet_tf.data import cache, open_source, record_parts, tfds_source
from shufflenet_tf.data.cache import Cache
from shufflenet_tf.errors import UserError


@pytest.fixture(params=["memory", "folder"])
def place(request, tmp_path) -> str:
    return request.param if request.param == "memory" else str(tmp_path / "kept" / "here")


def contents(split, seed=None):
    return [(example["image"].numpy(), int(example["label"])) for example in split.examples(seed)]


def test_photos_are_read_once_and_again_when_they_change(tmp_path, place, monkeypatch):
    photos, opened = write_photos(tmp_path / "photos", 2), []
    plain = contents(open_source(f"folder:{photos}").train, 5)
    source = open_source(f"folder:{photos}", cache=place)
    read = "shufflenet_tf.data.checked_photos._Loader._read"
    monkeypatch.setattr(read, lambda _, photo: (opened.append(photo.path), pathlib.Path(photo.path).read_bytes())[1])
    assert contents(source.train, 5) == contents(source.train, 5) == plain
    assert len(opened) == len(set(opened)) == 6
    changed = photos / "train" / "red" / "000.jpg"
    changed.write_bytes((photos / "train" / "blue" / "001.jpg").read_bytes())
    os.utime(changed, ns=(1, 1))
    assert contents(source.train, 5) != plain and opened[6:] == [str(changed)]


def test_another_run_finds_a_folder_and_skips_what_is_damaged(tmp_path):
    photos, place = write_photos(tmp_path / "photos", 2), tmp_path / "kept"
    plain = contents(open_source(f"folder:{photos}", cache=str(place)).train)
    files = [file for file in place.rglob("*") if file.is_file()]
    assert len(files) == 6 and not [file for file in files if "." in file.name], "nothing temporary is left"
    files[0].write_bytes(files[0].read_bytes()[:-9])
    files[1].write_bytes(b"")
    assert contents(open_source(f"folder:{photos}", cache=str(place)).train) == plain
    other = write_photos(tmp_path / "other", 2, side=48)
    assert contents(open_source(f"folder:{other}", cache=str(place)).train) == contents(open_source(f"folder:{other}").train)


def test_files_of_records_are_copied(tmp_path, place, monkeypatch):
    monkeypatch.setattr(tfds_source, "_MEMORY", 0)
    monkeypatch.setattr(record_parts, "_FILES_EACH", 1)
    builder = tfds_builder(tmp_path / "tfds", {"train": [0, 1] * 6, "test": [0, 1] * 4}, files=4)
    plain = contents(tfds_source.from_builder(builder).train, 3)
    cached = tfds_source.from_builder(builder, cache=Cache(place)).train
    assert contents(cached, 3) == plain
    for file in pathlib.Path(builder.data_dir).glob("*train*tfrecord*"):
        status = file.stat()
        file.write_bytes(bytes(status.st_size))  # as if it were there, but slow
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert contents(cached, 3) == plain


def test_small_records_are_kept_in_memory_unless_told_otherwise(tmp_path):
    builder = tfds_builder(tmp_path / "tfds", {"train": [0, 1] * 6, "test": [0, 1] * 4})
    kept, read = (tfds_source.from_builder(builder, cache=Cache(place)).train for place in ("auto", "none"))
    assert contents(kept, 3) == contents(read, 3)
    for file in pathlib.Path(builder.data_dir).glob("*train*tfrecord*"):
        file.unlink()
    assert len(contents(kept)) == 12
    with pytest.raises(Exception, match="No such file"):
        contents(read)


def test_what_has_no_room_is_refused(tmp_path, place, monkeypatch):
    monkeypatch.setattr(cache, "_free_memory", lambda: 1000)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: cache.shutil._ntuple_diskusage(1, 1, 1000))
    photos = write_photos(tmp_path / "photos", 2)
    with pytest.raises(UserError, match=r"takes .* GB, but .* has room for 1e-06 GB: give .*--cache=none"):
        open_source(f"folder:{photos}", cache=place)


def test_a_folder_that_is_already_full_of_the_dataset_fits(tmp_path, monkeypatch):
    photos, place = write_photos(tmp_path / "photos", 2), str(tmp_path / "kept")
    source = open_source(f"folder:{photos}", cache=place)
    contents(source.train), contents(source.test)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: cache.shutil._ntuple_diskusage(1, 1, 0))
    open_source(f"folder:{photos}", cache=place)


def test_a_folder_that_becomes_full_is_no_error(tmp_path, monkeypatch):
    photos = write_photos(tmp_path / "photos", 2)
    source = open_source(f"folder:{photos}", cache=str(tmp_path / "kept"))

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "replace", fail)
    assert len(contents(source.train)) == 6
    assert not [file for file in (tmp_path / "kept").rglob("*") if file.is_file()]


@pytest.mark.parametrize(
    ("place", "said"), [("memmory", "is no folder: give auto, none, memory, or the path"), ("{file}/in", "can't be written")]
)
def test_a_place_that_is_none(tmp_path, place, said):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=said):
        Cache(place.format(file=tmp_path / "file"))
