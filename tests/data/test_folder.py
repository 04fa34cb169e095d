"""Own photos: which files and classes are found, how they are split, and what is said of bad ones."""

import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from shufflenet_tf.data.decode import decode
from shufflenet_tf.data.folder import open_folder
from shufflenet_tf.errors import UserError


@pytest.fixture(autouse=True)
def _no_progress(monkeypatch):
    """On a busy machine a line of progress would come between the others."""
    monkeypatch.setattr("shufflenet_tf.data.checked_photos._PROGRESS_SECONDS", 1e9)


def save(path: pathlib.Path, colour=(200, 30, 90), **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 16), colour).save(path, **options)


def fill(root: pathlib.Path, classes: dict[str, int]) -> pathlib.Path:
    """Photos of distinct colours: red is the class, green the number."""
    for index, (label, count) in enumerate(classes.items()):
        for number in range(count):
            save(root / label / f"{number:03}.png", (20 * index, number, 0))
    return root


def read(split, seed=None) -> list[tuple]:
    """[(class index, first pixel)], in order."""
    examples = [
        (int(example["label"]), tuple(decode(example["image"], example["orientation"]).numpy()[0, 0]))
        for example in split.examples(seed)
    ]
    assert len(examples) == split.size
    return examples


def silent(_: str) -> None:
    pass


def refused(path, **options) -> str:
    with pytest.raises(UserError) as error:
        open_folder(path, log=silent, **options)
    return str(error.value)


@pytest.mark.parametrize("name", ["test", "val", "validation", "valid", "Test"])
def test_a_folder_with_its_own_split(tmp_path, name):
    fill(tmp_path / "train", {"dog": 3, "cat": 2})
    fill(tmp_path / name, {"dog": 1, "cat": 2})
    source = open_folder(tmp_path)
    assert source.name == tmp_path.name
    assert source.labels == ("cat", "dog")
    assert (source.train.size, source.test.size) == (5, 3)
    assert read(source.train) == [(0, (20, 0, 0)), (0, (20, 1, 0)), (1, (0, 0, 0)), (1, (0, 1, 0)), (1, (0, 2, 0))]


def test_test_is_preferred_to_val_and_this_is_said(tmp_path):
    for name, count in (("train", 2), ("val", 3), ("test", 4)):
        fill(tmp_path / name, {"a": count, "b": count})
    said = []
    assert open_folder(tmp_path, log=said.append).test.size == 8
    assert said == [f"{tmp_path} has test and val: testing on test"]


def test_a_folder_without_a_split_is_split(tmp_path):
    source = open_folder(fill(tmp_path, {"a": 60, "b": 2}), log=silent)
    train, test = read(source.train), read(source.test)
    assert len(set(train) | set(test)) == 62
    assert 5 <= sum(label == 0 for label, _ in test) <= 20
    assert sum(label == 1 for label, _ in test) == 1
    assert read(open_folder(tmp_path).test) == test
    assert read(open_folder(tmp_path, seed=1).test) != test
    assert open_folder(tmp_path, test_fraction=0.5).test.size > 20


def test_a_new_photo_moves_no_other(tmp_path):
    fill(tmp_path, {"a": 40, "b": 40})
    before = {side: set(read(getattr(open_folder(tmp_path), side))) for side in ("train", "test")}
    fill(tmp_path, {"a": 60, "b": 41})
    after = {side: set(read(getattr(open_folder(tmp_path), side))) for side in ("train", "test")}
    assert before["train"] <= after["train"]
    assert before["test"] <= after["test"]


def test_a_train_folder_alone_is_split(tmp_path):
    fill(tmp_path / "train", {"a": 5, "b": 5})
    source = open_folder(tmp_path, log=silent)
    assert source.labels == ("a", "b")
    assert source.train.size + source.test.size == 10


def test_split_names_may_be_classes(tmp_path):
    assert open_folder(fill(tmp_path, {"train": 3, "bus": 3})).labels == ("bus", "train")


def test_order_is_by_the_seed_alone(tmp_path):
    source = open_folder(fill(tmp_path, {"a": 30, "b": 30}))
    tf.random.set_seed(1)
    first = read(source.train, 7)
    tf.random.set_seed(2)
    assert read(source.train, tf.constant(7, tf.int64)) == first
    assert first != read(source.train, 8)
    assert first != read(source.train)
    assert sorted(first) == sorted(read(source.train, 8)) == sorted(read(source.train))


def test_examples_can_be_made_inside_a_dataset(tmp_path):
    fill(tmp_path, {"a": 5, "b": 5})
    save(tmp_path / "a" / "odd.webp")  # read by way of Python
    source = open_folder(tmp_path)
    epochs = tf.data.Dataset.range(3).flat_map(source.train.examples)
    assert epochs.element_spec == {
        "image": tf.TensorSpec([], tf.string),
        "label": tf.TensorSpec([], tf.int64),
        "orientation": tf.TensorSpec([], tf.int32),
        "position": tf.TensorSpec([], tf.int64),
    }
    assert len(list(epochs)) == 3 * source.train.size


def test_nested_folders_odd_names_and_litter(tmp_path):
    fill(tmp_path, {"ein Hund": 2, "кошка": 2})
    save(tmp_path / "ein Hund" / "deep" / "er ü" / "фото 1.jpg")
    for litter in (".DS_Store", "ein Hund/Thumbs.db", "кошка/desktop.ini", "кошка/._photo.jpg", "__MACOSX/x/y.jpg", ".git/x"):
        path = tmp_path / litter
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("litter")
    said = []
    source = open_folder(tmp_path, log=said.append, strict=True)
    assert source.labels == ("ein Hund", "кошка")
    assert len(read(source.train)) + len(read(source.test)) == 5
    assert said == ["ignored 2 folders of the system or of thumbnails: .git, __MACOSX"]


def test_phone_photos_stay_jpeg_and_carry_their_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for label in "ab":
        for number in range(2):
            save(tmp_path / label / f"{number}.jpg", exif=exif)
    example = next(iter(open_folder(tmp_path).train.examples(None)))
    assert int(example["orientation"]) == 6
    assert example["image"].numpy() == (tmp_path / "a" / "0.jpg").read_bytes()  # both photos are the same
    assert decode(example["image"], example["orientation"]).shape == (24, 16, 3)


def test_odd_files_keep_their_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 8
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    for side in ("train", "test"):
        for label in "ab":
            save(tmp_path / side / label / "0.png")
    Image.fromarray(pixels).save(tmp_path / "train" / "a" / "0.webp", lossless=True, exif=exif)
    example = list(open_folder(tmp_path).train.examples(None))[1]
    actual = decode(example["image"], example["orientation"]).numpy()
    np.testing.assert_array_equal(actual, np.rot90(pixels))


def test_a_loop_of_links_ends(tmp_path):
    fill(tmp_path / "photos", {"a": 3, "b": 3})
    (tmp_path / "photos" / "a" / "self").symlink_to(tmp_path / "photos" / "a")
    (tmp_path / "photos" / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "photos" / "b" / "loop").symlink_to(tmp_path / "photos" / "b" / "loop")
    (tmp_path / "more").mkdir()
    save(tmp_path / "more" / "linked.png")
    (tmp_path / "photos" / "b" / "more").symlink_to(tmp_path / "more")
    said = []
    source = open_folder(tmp_path / "photos", log=said.append)
    assert source.train.size + source.test.size == 7
    assert said == ["skipped 1 of 8 files: loop (broken link)"]


@pytest.mark.parametrize("name", ["all", "_none"])
@pytest.mark.parametrize("target", [".", "..", "../.."])
def test_a_class_that_links_to_a_folder_above_is_ignored_and_named(tmp_path, name, target):
    """It would take in the other classes, and whatever lies beside the dataset."""
    save(tmp_path / "holiday" / "0.png")
    photos = fill(tmp_path / "sets" / "photos", {"a": 3, "b": 3})
    (photos / name).symlink_to(target)
    said = []
    source = open_folder(photos, log=said.append)
    assert source.labels == ("a", "b") and source.none is None
    assert source.train.size + source.test.size == 6
    where = (photos / target).resolve()
    assert said == [f"ignored {photos / name}: it is a link to {where}, in which the dataset itself lies"]


def test_classes_may_be_links_to_other_folders(tmp_path):
    fill(tmp_path / "all", {"a": 3, "b": 3, "c": 3})
    (tmp_path / "some").mkdir()
    for label in "ac":
        (tmp_path / "some" / label).symlink_to(tmp_path / "all" / label)
    source = open_folder(tmp_path / "some", log=silent)
    assert source.labels == ("a", "c") and source.train.size + source.test.size == 6


def with_bad_files(root: pathlib.Path) -> pathlib.Path:
    fill(root, {"a": 4, "b": 4})
    save(root / "a" / "cut.jpg")
    os.truncate(root / "a" / "cut.jpg", os.path.getsize(root / "a" / "cut.jpg") - 10)
    (root / "a" / "empty.jpg").touch()
    (root / "b" / "notes.txt").write_text("not a picture")
    os.mkfifo(root / "b" / "pipe.jpg")
    return root


BAD = "cut.jpg (truncated), empty.jpg (empty), notes.txt (not a JPEG, PNG, WebP, BMP or GIF image), pipe.jpg (not a file)"


def test_bad_files_are_skipped_counted_and_named(tmp_path):
    said = []
    source = open_folder(with_bad_files(tmp_path), log=said.append)
    assert said == [f"skipped 4 of 12 files: {BAD}"]
    assert len(read(source.train)) + len(read(source.test)) == 8


def test_only_the_first_bad_files_are_named(tmp_path):
    fill(tmp_path, {"a": 2, "b": 2})
    for number in range(9):
        (tmp_path / "a" / f"x{number}.jpg").touch()
    said = []
    open_folder(tmp_path, log=said.append)
    assert said == ["skipped 9 of 13 files: " + ", ".join(f"x{n}.jpg (empty)" for n in range(5)) + ", …"]


def test_strict_stops_at_bad_files(tmp_path):
    message = refused(with_bad_files(tmp_path), strict=True)
    assert message == f"4 of 12 files cannot be used: {BAD}: repair or remove them"


def test_progress_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr("shufflenet_tf.data.checked_photos._PROGRESS_SECONDS", -1)
    said = []
    open_folder(fill(tmp_path, {"a": 2, "b": 2}), log=said.append)
    assert said == [f"checked {done} of 4 files" for done in (1, 2, 3, 4)]


def test_mistakes_about_the_path(tmp_path):
    (tmp_path / "photos").mkdir()
    assert refused(tmp_path / "fotos") == f"There is no folder {tmp_path}/fotos: did you mean {tmp_path}/photos?"
    assert refused(tmp_path / "xyz" / "x") == f"There is no folder {tmp_path}/xyz/x: check the path"
    (tmp_path / "a.jpg").touch()
    assert "a.jpg is a file: give the folder" in refused(tmp_path / "a.jpg")


def test_mistakes_about_the_classes(tmp_path):
    assert refused(tmp_path) == f"{tmp_path} is empty: put one folder of images per class into it"
    save(tmp_path / "1.jpg")
    assert f"{tmp_path} has files, such as 1.jpg, but no class folders: move" in refused(tmp_path)
    fill(tmp_path, {"cat": 2})
    assert "has one class only, cat: add a folder for at least one other class" in refused(tmp_path)
    (tmp_path / "dog").mkdir()
    assert f"Class folder {tmp_path}/dog is empty: add images" in refused(tmp_path)
    (tmp_path / "dog" / "bad.jpg").touch()
    assert f"Class folder {tmp_path}/dog has no usable image: add images" in refused(tmp_path)
    save(tmp_path / "dog" / "1.jpg")
    assert "Class dog has one usable image: it needs at least two" in refused(tmp_path)


def test_mistakes_about_the_split(tmp_path):
    fill(tmp_path / "train", {"a": 1, "b": 1, "c": 1})
    fill(tmp_path / "extra", {"a": 1})
    assert "has a train folder but no test folder: name" in refused(tmp_path)
    fill(tmp_path / "test", {"a": 1, "b": 1})
    assert f"{tmp_path}/train has classes that {tmp_path}/test lacks (c): add them" in refused(tmp_path)
    fill(tmp_path / "test", {"c": 1, "d": 1})
    assert f"{tmp_path}/test has classes that {tmp_path}/train lacks (d): add them" in refused(tmp_path)
    (tmp_path / "train").rename(tmp_path / "training")
    assert "has a test folder but no train folder: name" in refused(tmp_path)
    assert "test_fraction is 1.5 but it must lie between 0 and 1" in refused(tmp_path, test_fraction=1.5)


def test_images_straight_in_train_and_test(tmp_path):
    for side in ("train", "test"):
        save(tmp_path / side / "1.jpg")
    assert f"{tmp_path}/train has files, such as 1.jpg, but no class folders" in refused(tmp_path)


def test_an_unreadable_folder(tmp_path, monkeypatch):
    fill(tmp_path, {"a": 2, "b": 2})
    listdir = os.listdir

    def forbidding(path):
        if pathlib.Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", forbidding)
    assert refused(tmp_path) == f"Cannot read the folder {tmp_path}/b (Permission denied): check its permissions"


def test_systems_folders_and_a_copy_of_the_dataset_are_no_classes(tmp_path):
    fill(tmp_path, {"apple": 3, "pear": 3, "plum": 2})
    fill(tmp_path / "copy", {"apple": 3, "pear": 3})
    fill(tmp_path / "apple" / "backup" / "all", {"apple": 1, "pear": 1})
    fill(tmp_path / "pear" / "again", {"apple": 1, "pear": 1, "plum": 1})
    for folder in ("@eaDir", "apple/@eaDir/000.png", "#recycle", "lost+found", "$RECYCLE.BIN", "pear/.thumbnails"):
        save(tmp_path / folder / "thumb.png")
    said = []
    source = open_folder(tmp_path, log=said.append)
    assert source.labels == ("apple", "pear", "plum")
    assert source.train.size + source.test.size == 8
    assert sorted(line for line in said if not line.startswith("checked")) == [
        f"ignored {tmp_path}/apple/backup: it holds folders of the same names as the classes, a copy of the dataset",
        f"ignored {tmp_path}/copy: it holds folders of the same names as the classes, a copy of the dataset",
        f"ignored {tmp_path}/pear/again: it holds folders of the same names as the classes, a copy of the dataset",
        "ignored 6 folders of the system or of thumbnails: #recycle, $RECYCLE.BIN, @eaDir, lost+found, .thumbnails",
    ]


def test_folders_of_class_folders_are_explained(tmp_path):
    fill(tmp_path / "one" / "cell_images", {"a": 2, "b": 2})
    assert f"the dataset (a, b) is one level down: give folder:{tmp_path}/one/cell_images" in refused(tmp_path / "one")
    assert f"is 2 levels down: give folder:{tmp_path}/one/cell_images" in refused(tmp_path)
    fill(tmp_path / "two" / "Fold1", {"a": 2, "b": 2})
    fill(tmp_path / "two" / "Fold2", {"a": 2, "b": 2})
    assert "such as Fold1 and Fold2, that hold folders of the same names (a, b), which look like the classes" in refused(
        tmp_path / "two"
    )
    fill(tmp_path / "three" / "animals", {"cat": 1, "dog": 1})
    fill(tmp_path / "three" / "plants", {"oak": 1, "rose": 1})
    said = []
    assert open_folder(tmp_path / "three", log=said.append).labels == ("animals", "plants")
    assert any("the folders inside them, such as cat, dog, are not classes" in line for line in said)


def test_names_of_classes_are_normalized_where_they_enter(tmp_path):
    fill(tmp_path / "a", {"cafe\u0301": 2, "tea ": 2})
    assert open_folder(tmp_path / "a", log=silent).labels == ("café", "tea")
    fill(tmp_path / "a", {"caf\u00e9": 3})
    said = []
    source = open_folder(tmp_path / "a", log=said.append)
    assert source.labels == ("café", "tea") and source.train.size + source.test.size == 7
    assert f"{tmp_path}/a has the class café in two spellings: their photos are merged" in said
    fill(tmp_path / "b" / "train", {"cafe\u0301": 2, "tea": 2})
    fill(tmp_path / "b" / "val", {"caf\u00e9": 2, " tea": 2})
    assert open_folder(tmp_path / "b", log=silent).labels == ("café", "tea")
    fill(tmp_path / "c", {"Cat": 2, "cat": 2})
    assert open_folder(tmp_path / "c", log=said.append).labels == ("Cat", "cat")
    assert "Cat and cat count as two classes: if they are one, put their photos into one folder" in said
    fill(tmp_path / "d" / "train", {"Cat": 2, "dog": 2})
    fill(tmp_path / "d" / "test", {"cat": 2, "dog": 2})
    assert "(Cat, except for capital letters)" in refused(tmp_path / "d")


@pytest.mark.parametrize("name", [b"\xb2\xe2", b"a\nb", b"\xe2\x80\x8f"])
def test_names_that_cannot_be_labels_are_refused(tmp_path, name):
    fill(tmp_path, {"pear": 2})
    os.mkdir(os.path.join(os.fsencode(tmp_path), name))
    assert ": rename it." in refused(tmp_path)


def test_photos_that_vanish_or_change_later_are_left_out_and_named_once(tmp_path):
    fill(tmp_path, {"a": 5, "b": 5})
    said = []
    source = open_folder(tmp_path, log=said.append)
    split = source.train
    assert len(list(split.examples(None))) == split.size
    said.clear()
    trained = [tmp_path / "a" / name for name in sorted(os.listdir(tmp_path / "a"))]
    trained = [path for path in trained if any(path.read_bytes() == e["image"].numpy() for e in split.examples(None))]
    trained[0].unlink()
    trained[1].write_bytes(b"something else")
    save(trained[2], (7, 7, 7))  # another sound photo
    for _ in range(2):
        assert len(list(split.examples(1))) == split.size - 2
    assert sorted(said) == [
        f"skipped {trained[0]} (no such file), which could be read before",
        f"skipped {trained[1]} (not a JPEG, PNG, WebP, BMP or GIF image), which could be read before",
    ]


def test_a_photo_that_vanishes_is_an_error_if_strict_or_the_last_one(tmp_path):
    fill(tmp_path, {"a": 2, "b": 2})
    strict, lenient = (open_folder(tmp_path, strict=strict, log=silent) for strict in (True, False))
    for label in "ab":
        for photo in (tmp_path / label).iterdir():
            photo.unlink()
    with pytest.raises(tf.errors.OpError, match=r"\.png can't be read any more \(no such file\): put it back"):
        list(strict.train.examples(None))
    with pytest.raises(tf.errors.OpError, match="No photo of 2 can be read any more"):
        list(lenient.train.examples(None))


@pytest.mark.parametrize("places", [("_none",), ("train/_none", "test/_None")])
def test_photos_of_none_of_the_classes_are_no_class(tmp_path, places):
    fill(tmp_path / "train", {"dog": 3, "cat": 2})
    fill(tmp_path / "test", {"dog": 1, "cat": 2})
    for place in places:
        save(tmp_path / place / "deep" / "chart.png")
    source = open_folder(tmp_path, log=silent)
    assert source.labels == ("cat", "dog") and (source.train.size, source.test.size) == (5, 3)
    assert source.none.size == len(places) == len(list(source.none.examples(None)))


def test_photos_of_none_of_the_classes_beside_classes_that_are_split(tmp_path):
    fill(tmp_path, {"dog": 5, "cat": 5, "_none": 4})
    source = open_folder(tmp_path, log=silent)
    assert source.labels == ("cat", "dog") and source.none.size == 4
    assert open_folder(fill(tmp_path / "plain", {"dog": 5, "cat": 5}), log=silent).none is None


def test_folds_test_every_photo_once(tmp_path):
    fill(tmp_path, {"dog": 7, "cat": 5})
    tested = []
    for number in (1, 2, 3):
        source = open_folder(tmp_path, fold=(number, 3), validation=0.2, log=silent)
        sides = [source.train.files, source.validation.files, source.test.files]
        assert sum(map(len, sides)) == len(set().union(*sides)) == 12
        tested += source.test.files
    assert len(tested) == len(set(tested)) == 12


def test_folds_leave_the_test_folder_out(tmp_path):
    fill(tmp_path / "train", {"dog": 3, "cat": 3})
    fill(tmp_path / "test", {"dog": 2, "cat": 2})
    source = open_folder(tmp_path, fold=(1, 3), log=silent)
    assert not [file for file in source.train.files + source.test.files if "/test/" in file]
    save(tmp_path / "single" / "a" / "1.png")
    fill(tmp_path / "single", {"b": 2})
    assert "needs at least two" in refused(tmp_path / "single", fold=(1, 2))
