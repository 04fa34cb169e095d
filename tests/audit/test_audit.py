"""The audit of a folder: program, page and table."""

import csv
import hashlib
import os
import pathlib
import re

import numpy as np
import pytest
from PIL import Image

from shufflenet_tf.audit import __main__ as program
from shufflenet_tf.audit import records
from shufflenet_tf.audit.run import audit_photos
from shufflenet_tf.errors import UserError

COLOURS = {"blue": (40, 60, 200), "green": (60, 190, 70), "red": (200, 50, 40)}


def photo(colour: tuple[int, int, int], seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 120, (6, 6, 3), dtype=np.uint8)).resize((120, 100), Image.Resampling.BICUBIC)
    return Image.fromarray(
        np.clip(np.asarray(coarse, int) + colour + rng.normal(0, 10, (100, 120, 3)), 0, 255).astype(np.uint8)
    )


def silent(_: str) -> None:
    pass


@pytest.fixture(autouse=True)
def _no_weights(monkeypatch, tmp_path):
    """What this computer has downloaded before plays no part."""
    monkeypatch.setenv("SHUFFLENET_TF_CACHE", str(tmp_path / "no cache"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> pathlib.Path:
    """Three classes of photos with one fault of most kinds."""
    path = tmp_path_factory.mktemp("my photos & more")
    for split, count in (("train", 12), ("test", 5)):
        for number, (label, colour) in enumerate(COLOURS.items()):
            (path / split / label).mkdir(parents=True)
            for index in range(count):
                seed = 1000 * number + 100 * (split == "test") + index
                photo(colour, seed).save(path / split / label / f"{index:02}.jpg", quality=92)
    photo(COLOURS["red"], 2003).save(path / "test" / "red" / "leaked <b>.jpg", quality=70)
    photo(COLOURS["green"], 777).save(path / "train" / "red" / "wrong.jpg")
    Image.new("RGB", (120, 100), COLOURS["blue"]).save(path / "train" / "blue" / "plain.png")
    (path / "train" / "blue" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    photo(COLOURS["green"], 778).save(os.fsencode(path / "train" / "green") + b"/latin\xe9.jpg", "JPEG")
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(COLOURS["green"], 779).save(path / "train" / "green" / "turned.jpg", exif=exif)
    return path


def content(folder: pathlib.Path) -> str:
    digests = [
        f"{file} {hashlib.sha256(file.read_bytes()).hexdigest()}" for file in sorted(folder.rglob("*")) if file.is_file()
    ]
    return "\n".join(digests)


def test_the_faults_are_found_and_nothing_is_changed(photos):
    before = content(photos)
    audit = audit_photos(photos, log=silent)

    def found(kind: str) -> list[str]:
        return [os.path.relpath(finding.photo, photos) for finding in audit.of_kind(kind)]

    assert found(records.COPY_ACROSS) == ["test/red/leaked <b>.jpg"]
    assert audit.of_kind(records.COPY_ACROSS)[0].other == str(photos / "train" / "red" / "03.jpg")
    assert found(records.WRONG_CLASS) == ["train/red/wrong.jpg"]
    assert audit.of_kind(records.WRONG_CLASS)[0].other_class == "green"
    assert found(records.EMPTY) == ["train/blue/plain.png"]
    assert found(records.UNREADABLE) == ["train/blue/broken.jpg"]
    assert not found(records.COPY) + found(records.BLURRED) + found(records.DARK)
    assert [(c.label, c.photos["train"], c.remark) for c in audit.classes] == [
        ("blue", 13, "fewer than 20 photos to train on"),
        ("green", 14, "fewer than 20 photos to train on"),
        ("red", 13, "fewer than 20 photos to train on"),
    ]
    assert max(audit.suspicion, key=audit.suspicion.get) == str(photos / "train" / "red" / "wrong.jpg")
    assert audit.seen_by.startswith("colours and textures")
    assert audit.notes == ["1 photo is stored turned, as EXIF says: training and the apps turn them back."]
    assert content(photos) == before


def test_the_program_writes_a_page_and_a_table(photos, tmp_path, capsys):
    assert program.run(["audit", str(photos), f"--output={tmp_path}/out"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"1 +copy of a training photo +test/red/leaked <b>.jpg: alike to 9\d\.\d%, test and train", said)
    assert f"open {tmp_path}/out/audit.html in a browser" in said and f"--dataset=folder:'{photos}'" in said
    page = (tmp_path / "out" / "audit.html").read_text(encoding="utf-8")
    assert "leaked &lt;b&gt;.jpg" in page and "leaked <b>" not in page
    assert '<h2 id="unreadable">Unreadable files: 1</h2>' in page and "Blurred" not in page
    assert page.count("data:image/jpeg;base64,") == sum(
        2 if "copy" in kind or kind == "same scene" else 1 for kind in shown(tmp_path)
    )
    assert "http" not in page  # nothing is loaded from elsewhere
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["audit.csv", "audit.html"]


def shown(folder: pathlib.Path) -> list[str]:
    """The kinds of the table's findings that have a picture."""
    with open(folder / "out" / "audit.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["class"] for row in rows if row["kind"] == "class"} == set(COLOURS)
    return [row["kind"] for row in rows if row["photo"] and row["kind"] != "unreadable"]


def test_what_a_person_may_get_wrong(photos, tmp_path, capsys):
    assert program.run(["audit"]) == 2
    assert "0 folders were given, but one was expected" in capsys.readouterr().err
    assert program.run(["audit", str(tmp_path / "none"), f"--output={tmp_path}/out"]) == 2
    assert "There is no folder" in capsys.readouterr().err
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose" / "1.jpg").touch()
    assert program.run(["audit", str(tmp_path / "loose"), f"--output={tmp_path}/out"]) == 2
    assert "but no class folders" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert program.run(["audit", str(photos), f"--output={tmp_path}/file/out"]) == 2
    assert "can't be written" in capsys.readouterr().err
    with pytest.raises(UserError, match="give one, whose features are taken"):
        audit_photos(photos, model="a", weights="b")
    for label in "ab":
        (tmp_path / "bad" / label).mkdir(parents=True)
        (tmp_path / "bad" / label / "1.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(UserError, match=r"None of 2 files in .* can be read"):
        audit_photos(tmp_path / "bad", log=silent)


def test_few_photos_identical_photos_and_one_colour(tmp_path):
    for label in "abcd":
        (tmp_path / label).mkdir()
        for index in range(5):
            image = photo(COLOURS["red"], 7 if label == "b" else ord(label) * 10 + index)
            image = Image.new("RGB", (50, 40), (200, 30, 30)) if label == "c" else image
            image.save(tmp_path / label / f"{index}.jpg")
    audit = audit_photos(tmp_path, log=silent)
    assert {c.label: c.remark for c in audit.classes}["b"] == "all photos are copies of one"
    assert len(audit.of_kind(records.COPY)) == 4 and len(audit.of_kind(records.EMPTY)) == 5
    assert not [finding for finding in audit.of_kind(records.WRONG_CLASS) if "/b/" in finding.photo]


@pytest.mark.both_generations
def test_a_networks_features_are_taken(photos, tmp_path):
    import shufflenet_tf as st

    model = st.create_model("shufflenet_v2_0.5x", classes=3, input_shape=(32, 32, 3))
    model.save(tmp_path / "model.keras")
    audit = st.audit_photos(photos, model=tmp_path / "model.keras", log=silent)
    assert audit.seen_by == f"shufflenet_v2_0.5x of {tmp_path}/model.keras"
    assert len(audit.suspicion) == len(audit.labels) == 56
    (tmp_path / "model.tflite").write_bytes(b"\0\0\0\0TFL3")
    with pytest.raises(UserError):
        st.audit_photos(photos, model=tmp_path / "model.tflite", log=silent)
