"""Copies of photos: which are found, and on which side of a split they end."""

import io
import pathlib

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from shufflenet_tf.data.copies import Copy, find_copies, group
from shufflenet_tf.data.fingerprints import SIZE, fingerprint
from shufflenet_tf.data.folder import open_folder


def scene(seed: int, side: int = 96) -> Image.Image:
    """A picture of its own: random blobs at several scales, in colour."""
    rng = np.random.default_rng(seed)
    layers = [rng.normal(0, 60, (n, n, 3)) for n in (3, 6, 12, 24)]
    sums = sum(
        np.stack([np.asarray(Image.fromarray(layer[..., c].astype(np.float32)).resize((side, side), 3)) for c in range(3)], -1)
        for layer in layers
    )
    return Image.fromarray(np.clip(sums + 120, 0, 255).astype(np.uint8))


def recompressed(image: Image.Image, quality: int = 40) -> Image.Image:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    return Image.open(content).convert("RGB")


CHANGES = {
    "recompressed": recompressed,
    "half the size": lambda image: image.resize((48, 48), Image.Resampling.LANCZOS),
    "twice the size": lambda image: image.resize((192, 192), Image.Resampling.BICUBIC),
    "cropped": lambda image: image.crop((4, 1, 92, 94)),
    "mirrored": ImageOps.mirror,
    "brightened": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "all": lambda image: recompressed(ImageOps.mirror(image.crop((1, 4, 93, 95))).resize((60, 60)), 50),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_and_no_other_photo(change):
    photos = [scene(seed) for seed in range(12)] + [CHANGES[change](scene(3))]
    copies = find_copies([fingerprint(photo) for photo in photos])
    assert [(copy.first, copy.second) for copy in copies] == [(3, 12)]
    assert copies[0].mirrored == (change in ("mirrored", "all"))


def test_photos_that_differ_in_colour_or_have_nothing_on_them_are_no_copies():
    rotated_hue = Image.merge("RGB", scene(0).split()[1:] + scene(0).split()[:1])
    grey = scene(0).convert("L").convert("RGB")
    assert not find_copies([fingerprint(ImageOps.colorize(grey.convert("L"), "black", c)) for c in ("red", "cyan")])
    assert not find_copies([fingerprint(scene(0)), fingerprint(rotated_hue)])
    assert not find_copies([fingerprint(Image.new("RGB", (40, 30), "red"))] * 3)
    assert not find_copies([b"", fingerprint(scene(0)), b""])
    assert not find_copies([])


def test_equal_files_are_paired_with_the_first_and_groups_join():
    prints = [fingerprint(scene(seed)) for seed in (0, 1, 0, 0)]
    assert find_copies(prints) == [Copy(0, 2, 1.0), Copy(0, 3, 1.0)]
    assert all(len(print_) == SIZE for print_ in prints)
    assert group(6, [Copy(0, 2, 1.0), Copy(4, 5, 1.0), Copy(2, 4, 1.0)]) == [0, 1, 0, 3, 0, 0]


def write(folder: pathlib.Path, **seeds: int) -> None:
    """Writes pictures, {name: seed}."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, seed in seeds.items():
        scene(seed).save(folder / f"{name}.jpg", quality=90)


def opened(path: pathlib.Path, **options) -> tuple[dict[str, list[str]], list[str]]:
    """Returns the names of the photos by side, and what was said."""
    said: list[str] = []
    source = open_folder(path, log=said.append, **options)
    sides = {"train": source.train, "test": source.test, "validation": source.validation}
    names = {
        side: [str(pathlib.Path(file).relative_to(path)) for file in split.files] for side, split in sides.items() if split
    }
    return names, [line for line in said if not line.startswith("checked")]


@pytest.fixture(scope="module")
def leaking(tmp_path_factory) -> pathlib.Path:
    """Two test photos are in train too, one of them in another class; all test photos of the class c are."""
    path = tmp_path_factory.mktemp("leaking")
    for label, first in (("a", 0), ("b", 10), ("c", 20)):
        write(path / "train" / label, x=first, y=first + 1)
    write(path / "test" / "a", copy=1, new=2)
    write(path / "test" / "b", copy=0, new=12)
    write(path / "test" / "c", copy=20)
    recompressed(scene(1).resize((70, 70)), 70).save(path / "test" / "a" / "copy.jpg")
    return path


def test_copies_of_training_photos_are_left_out_of_the_test_and_named(leaking):
    names, said = opened(leaking)
    assert names["test"] == ["test/a/new.jpg", "test/b/new.jpg", "test/c/copy.jpg"]
    assert len(names["train"]) == 6
    assert said == [
        "left 2 of 5 test photos out, copies of training photos: test/a/copy.jpg of train/a/y.jpg, test/b/copy.jpg of "
        "train/a/x.jpg (--keep_copies takes them for different photos)",
        "c: all test photos are copies of training photos and are kept, but what they give says nothing",
    ]


def test_copies_are_kept_on_demand_and_validation_photos_are_no_copies(leaking):
    names, said = opened(leaking, keep_copies=True)
    assert len(names["test"]) == 5 and not said
    for label, seed in (("a", 2), ("b", 13), ("c", 23)):
        write(leaking / "valid" / label, x=seed)
    names, said = opened(leaking, validation=0.1)
    assert names["validation"] == ["valid/b/x.jpg", "valid/c/x.jpg"]
    assert "left 1 of 3 validation photos out, copies of training or test photos: valid/a/x.jpg of test/a/new.jpg" in said[-1]


def test_a_division_keeps_copies_on_one_side(tmp_path):
    for label, first in (("a", 0), ("b", 100)):
        write(tmp_path / label, **{f"{i:02}": first + i // 3 for i in range(24)})  # eight pictures, each three times
        write(tmp_path / label, other=first + 50)
    write(tmp_path / "c", **{f"{i}": 200 for i in range(4)})  # one picture alone
    names, said = opened(tmp_path, validation=0.2)
    seeds = {side: {(file[0], int(file[2:4]) // 3) for file in files if file[2:4].isdigit()} for side, files in names.items()}
    assert not seeds["train"] & seeds["test"] and not seeds["train"] & seeds["validation"]
    assert 2 <= sum(file[0] == "a" for file in names["test"]) <= 12
    assert [file[0] for file in names["test"]].count("c") == 1
    assert said[0].startswith("35 photos are copies, kept on the side of their originals: a/01.jpg of a/00.jpg, ")
    assert said[1].startswith("c: all test photos are copies of training photos and are kept")
    assert opened(tmp_path, validation=0.2)[0] == names


def test_folds_keep_copies_together(tmp_path):
    for label, first in (("a", 0), ("b", 100)):
        write(tmp_path / label, **{f"{i:02}": first + i // 2 for i in range(8)})  # four pictures, each twice
    write(tmp_path / "c", **{f"{i:02}": 200 for i in range(4)})  # one picture alone
    tested = []
    for number in (1, 2):
        names, _ = opened(tmp_path, fold=(number, 2))
        pictures = {side: {(file[0], int(file[2:4]) // 2) for file in files if file[0] != "c"} for side, files in names.items()}
        assert not pictures["train"] & pictures["test"]
        assert sum(file[0] == "c" for file in names["train"]) == 2
        tested += names["test"]
    assert len(tested) == len(set(tested)) == 20
