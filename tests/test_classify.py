"""The program that classifies photos: what it prints and draws, and one sentence for each thing that goes wrong."""

import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import flagsaver
from lite_models import COLOURS, CONTRACT, FLOAT32, SIDE, UINT8, colour_model, write
from photos import write_photos
from PIL import Image

import shufflenet_tf as st
from export.flatbuffer import metadata
from shufflenet_tf import classify, imagenet, prediction
from shufflenet_tf.evaluation.classified import classified
from shufflenet_tf.models import v2
from shufflenet_tf.tflite_classifier import LiteClassifier

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module", autouse=True)
def few_units():
    """Four units instead of sixteen: what is tested here does not depend on the depth, but most of the time does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(v2, "REPEATS", (2, 1, 1))
        yield


@pytest.fixture(autouse=True)
def defaults():
    """A program parses its flags once; here each test does."""
    saved = flagsaver.save_flag_values(classify.FLAGS)
    yield
    flagsaver.restore_flag_values(saved, classify.FLAGS)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder of models that tell red, green and blue photos apart, by their upper halves."""
    folder = tmp_path_factory.mktemp("models")
    write(folder / "float32.tflite", colour_model(order="bgr"), FLOAT32)
    write(folder / "uint8.tflite", colour_model("uint8"), UINT8)
    write(folder / "nameless.tflite", colour_model("uint8"))
    write(folder / "thousand.tflite", colour_model(classes=1000, order="bgr"), CONTRACT)
    return folder


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """The folder of a training run with a model.keras, of random weights."""
    folder = tmp_path_factory.mktemp("run")
    tf.keras.utils.set_random_seed(0)
    labels = ["ant", "queen bee", "cat", "dog"]
    model = st.create_model("shufflenet_v2_0.5x", input_shape=(SIDE, SIDE, 3), classes=4, labels=labels)
    linear = model.get_layer("linear")
    linear.set_weights([np.random.default_rng(0).normal(0, 2, values.shape) for values in linear.get_weights()])
    model.save(folder / "model.keras")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """blue, green and red, each with 000.jpg and 001.jpg, in a folder test."""
    return write_photos(tmp_path_factory.mktemp("photos"), per_class=2, splits=("test",)) / "test"


def run(*arguments) -> int:
    return classify.run(["classify", *map(str, arguments)])


def complaint(capsys) -> str:
    """Returns the one sentence on the standard error; nothing may have been printed."""
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("classify: ") and captured.out == ""
    return line


def blocks(output: str) -> dict[str, list[tuple[float, str]]]:
    """Returns the percentages and labels of each file as printed."""
    found = {}
    for block in output.strip().split("\n\n"):
        name, *lines = block.splitlines()
        rows = [re.fullmatch(r"  ([ \d]{3}\.\d)%  (\S.*)", line).groups() for line in lines]
        found[name] = [(float(percent), label) for percent, label in rows]
    return found


def rows(capsys) -> dict[str, list[dict]]:
    """Returns what --json has printed, by file."""
    return {row["file"]: row["top"] for row in map(json.loads, capsys.readouterr().out.splitlines())}


def seen(path: pathlib.Path, model: st.Bundle) -> np.ndarray:
    """The pixels [1, SIDE, SIDE, 3] of a photo without EXIF data that reach the model."""
    pixels = tf.constant(np.asarray(Image.open(path)))
    return model.preprocessing.resize_and_crop(pixels, (SIDE, SIDE)).numpy()[None]


def test_a_trained_model_on_one_photo(run_folder, photos, capsys):
    photo = photos / "red" / "000.jpg"
    assert run(f"--model={run_folder}", "--top=3", photo) == 0
    captured = capsys.readouterr()
    ((name, top),) = blocks(captured.out).items()
    bundle = st.load(run_folder)
    (expected,) = bundle.classify(seen(photo, bundle))
    order = np.argsort(-expected)[:3]
    assert name == str(photo) and captured.err == ""
    assert [label for _, label in top] == [bundle.labels[index] for index in order]
    np.testing.assert_allclose([percent for percent, _ in top], 100 * expected[order], atol=0.051)
    assert expected[order[0]] > 0.3  # else the order might be right by chance


def test_percentages_are_right_aligned_and_labels_left(models, photos, capsys):
    assert run(f"--model={models / 'float32.tflite'}", photos / "red" / "000.jpg") == 0
    _, *lines = capsys.readouterr().out.rstrip().splitlines()
    assert len(lines) == 3  # --top=5 of three classes is all of them
    assert {line.index("%") for line in lines} == {7} and lines[0].startswith("   9") and lines[-1].startswith("    ")
    assert lines[0][10:] == "red" and {line[10:] for line in lines} == set(COLOURS)


def test_files_and_folders_in_the_order_given(models, photos, capsys, tmp_path):
    (tmp_path / "holiday" / "beach" / "evening").mkdir(parents=True)
    nested = tmp_path / "holiday" / "beach" / "evening" / "sea.PNG"
    Image.new("RGB", (50, 40), "blue").save(nested)
    (tmp_path / "holiday" / "notes.txt").write_text("no photo")
    given = (photos / "red" / "001.jpg", tmp_path / "holiday", photos / "green" / "000.jpg")
    assert run(*given, f"--model={models / 'uint8.tflite'}", "--top=1") == 0
    found = blocks(capsys.readouterr().out)
    assert list(found) == [str(given[0]), str(nested), str(given[2])]
    assert [label for ((_, label),) in found.values()] == ["red", "blue", "green"]


def test_a_photo_is_turned_as_its_camera_says(models, capsys, tmp_path):
    pixels = np.zeros((60, 80, 3), np.uint8)
    pixels[:30, :, 0] = pixels[30:, :, 2] = 255  # red above blue
    Image.fromarray(pixels).save(tmp_path / "upright.png")
    exif = Image.Exif()
    for orientation, turns in ((3, 2), (6, 1), (8, 3)):
        exif[0x0112] = orientation
        Image.fromarray(np.rot90(pixels, turns)).save(tmp_path / f"{orientation}.png", exif=exif)
    Image.fromarray(np.rot90(pixels, 2)).save(tmp_path / "upside_down.png")
    assert run(f"--model={models / 'float32.tflite'}", "--json", tmp_path) == 0
    found = {pathlib.Path(file).stem: top for file, top in rows(capsys).items()}
    assert found["upright"][0]["label"] == "red" and found["upside_down"][0]["label"] == "blue"
    assert found["3"] == found["6"] == found["8"] == found["upright"]


def test_broken_files_are_told_and_the_others_go_on(models, photos, capsys, tmp_path):
    good = (photos / "red" / "000.jpg").read_bytes()
    for index in range(prediction.BATCH + 4):  # more than a batch
        (tmp_path / f"{index:02}.jpg").write_bytes(good)
    (tmp_path / "03.jpg").write_bytes(good[: len(good) // 2])
    (tmp_path / "05.png").write_bytes(b"")
    (tmp_path / "17.jpg").write_text("not a photo")
    missing = tmp_path / "gone.jpg"
    assert run(f"--model={models / 'uint8.tflite'}", tmp_path, missing) == 1
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [
        f"classify: {tmp_path / '03.jpg'} can't be read (truncated).",
        f"classify: {tmp_path / '05.png'} can't be read (empty).",
        f"classify: {tmp_path / '17.jpg'} can't be read (not a JPEG, PNG, WebP, BMP or GIF image).",
        f"classify: {missing} can't be read (no such file).",
    ]
    found = blocks(captured.out)
    good = [index for index in range(prediction.BATCH + 4) if index not in (3, 17)]
    assert list(found) == [str(tmp_path / f"{index:02}.jpg") for index in good]
    assert {top[0][1] for top in found.values()} == {"red"}


def test_nothing_readable(models, capsys, tmp_path):
    picture = tmp_path / "result.png"
    assert run(f"--model={models / 'uint8.tflite'}", f"--show={picture}", tmp_path / "gone.jpg") == 1
    assert "no such file" in complaint(capsys) and not picture.exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["{photo}"], "There is no model"),
        (["--model={model}"], "There is no photo: give some"),
        (["--model={model}", "{empty}"], "There is no photo in the folder"),
        (["--model={empty}/gone", "{photo}"], "There is no model at"),
        (["--model={empty}", "{photo}"], "There is no model at"),
        (["--model={photo}", "{photo}"], "000.jpg"),
        (["--model={model}", "--speed=3", "{photo}"], "speed"),
        (["--model={model}", "--top=0", "{photo}"], "top"),
        (["--model={model}", "--top=many", "{photo}"], "many"),
        (["--model={model}", "--labels={empty}/gone", "{photo}"], "can't be read, as there is no such file: check the path"),
        (["--model={model}", "--labels={photo}", "{photo}"], "is not a text file in UTF-8"),
        (["--model={model}", "--labels=imagenet", "{photo}"], "has 1000 labels, but the model has 3 classes"),
        (["--model={model}", "--show={empty}/result.jpg", "{photo}"], "ends with .png, .pdf or .svg"),
        (["--model={model}", "--show={empty}", "{photo}"], "ends with .png, .pdf or .svg"),
    ],
)
def test_one_sentence_and_status_2(arguments, sentence, models, photos, capsys, tmp_path):
    places = {"model": models / "uint8.tflite", "photo": photos / "red" / "000.jpg", "empty": tmp_path}
    assert run(*(argument.format(**places) for argument in arguments)) == 2
    assert sentence in complaint(capsys)
    assert not list(tmp_path.iterdir())


def test_a_model_without_softmax_or_without_classifier(photos, capsys, tmp_path):
    photo = photos / "red" / "000.jpg"
    arguments = {
        "where probabilities are expected": {"classifier_activation": None, "classes": 300},
        "has no classifier": {"include_top": False},
    }
    for sentence, changed in arguments.items():
        st.create_model("shufflenet_v2_0.5x", input_shape=(SIDE, SIDE, 3), **changed).save(tmp_path / "a.keras")
        assert run(f"--model={tmp_path / 'a.keras'}", photo) == 2
        assert sentence in complaint(capsys)


def test_a_damaged_model_gives_no_numbers(run_folder, photos, capsys, tmp_path):
    model = st.load(run_folder).model
    kernel, *others = model.get_layer("linear").get_weights()
    model.get_layer("linear").set_weights([kernel * np.nan, *others])
    model.save(tmp_path / "model.keras")
    assert run(f"--model={tmp_path}", photos) == 2
    assert "gives no numbers" in complaint(capsys)


def test_labels_of_a_file_replace_the_models_own(models, photos, capsys, tmp_path):
    names = tmp_path / "labels.txt"
    names.write_bytes("\ufeffRot\r\nGrün\r\nBlau, wie das Meer\r\n".encode())
    for model in ("uint8.tflite", "nameless.tflite"):
        assert run(f"--model={models / model}", f"--labels={names}", "--top=1", photos / "blue" / "000.jpg") == 0
        (((_, label),),) = blocks(capsys.readouterr().out).values()
        assert label == "Blau, wie das Meer"


@pytest.mark.parametrize("count", [2, 4])
def test_labels_of_another_number(count, models, photos, capsys, tmp_path):
    (tmp_path / "labels.txt").write_text("a\n" * count)
    assert run(f"--model={models / 'uint8.tflite'}", f"--labels={tmp_path / 'labels.txt'}", photos) == 2
    assert f"has {count} labels, but the model has 3 classes" in complaint(capsys)


def test_classes_without_names_are_numbered(models, photos, capsys):
    assert run(f"--model={models / 'nameless.tflite'}", "--top=1", photos / "blue" / "000.jpg") == 0
    (((_, label),),) = blocks(capsys.readouterr().out).values()
    assert label == "class 2"


def test_a_long_label_is_cut(models, photos, capsys, tmp_path):
    (tmp_path / "labels.txt").write_text(f"{'red ' * 30}\n{'green ' * 30}\n蓝{'色' * 50}\n")
    assert run(f"--model={models / 'uint8.tflite'}", f"--labels={tmp_path / 'labels.txt'}", photos / "red") == 0
    labels = [label for top in blocks(capsys.readouterr().out).values() for _, label in top]
    assert len(labels) == 6 and all(label.endswith("…") and len(label) <= classify.MAX_LABEL for label in labels)


def test_json_is_an_object_a_photo(models, photos, capsys, tmp_path):
    odd = tmp_path / 'a "b"\n.jpg'
    odd.write_bytes((photos / "green" / "000.jpg").read_bytes())
    assert run(f"--model={models / 'uint8.tflite'}", "--json", "--top=2", odd, photos / "red" / "000.jpg") == 0
    found = rows(capsys)
    assert list(found) == [str(odd), str(photos / "red" / "000.jpg")]
    for top, label in zip(found.values(), ("green", "red"), strict=True):
        assert [set(row) for row in top] == [{"label", "probability", "index"}] * 2
        assert top[0]["label"] == label and COLOURS[top[0]["index"]] == label
        assert 1 >= top[0]["probability"] >= top[1]["probability"] >= 0


@pytest.fixture(scope="module")
def unsure(models):
    """A model whose own threshold no photo reaches."""
    content = (models / "nameless.tflite").read_bytes()
    path = models / "unsure.tflite"
    path.write_bytes(metadata.attach(content, "colours", "a test", COLOURS, st.Preprocessing(), threshold=1.0))
    return path


def test_not_sure(unsure, photos, capsys, tmp_path):
    assert run(f"--model={unsure}", f"--show={tmp_path / 'shown.png'}", photos / "red") == 0
    text = capsys.readouterr().out
    assert text.count("  not sure; likeliest:\n") == 2 and '"not sure" of 2 of 2 photos' in text
    assert min(Image.open(tmp_path / "shown.png").size) > 100
    assert run(f"--model={unsure}", "--json", photos / "red" / "000.jpg") == 0
    row = json.loads(capsys.readouterr().out)
    assert row["sure"] is False and row["top"][0]["label"] == "red"
    assert [one.sure for one in st.classify_photos(unsure, [photos / "red" / "000.jpg"])[0]] == [False] * len(COLOURS)


def test_another_threshold(unsure, models, photos, capsys):
    assert run(f"--model={unsure}", "--json", "--threshold=0.01", photos / "red" / "000.jpg") == 0
    assert json.loads(capsys.readouterr().out)["sure"] is True
    for arguments in ((f"--model={unsure}", "--threshold=0"), (f"--model={models / 'uint8.tflite'}",)):
        classify.FLAGS.unparse_flags()
        assert run(*arguments, photos / "red" / "000.jpg") == 0
        assert "not sure" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["float32.tflite", "uint8.tflite"])
def test_a_tflite_file_gives_what_its_classifier_gives(name, models, photos, capsys):
    assert run(f"--model={models / name}", "--json", photos / "red", photos / "blue") == 0
    classifier = LiteClassifier(models / name)
    found = rows(capsys)
    assert len(found) == 4
    for file, top in found.items():
        (expected,) = classifier(seen(pathlib.Path(file), classifier))
        np.testing.assert_allclose([row["probability"] for row in top], sorted(expected, reverse=True), rtol=1e-6)
        assert sum(row["probability"] for row in top) == pytest.approx(1, abs=0.02)


def test_all_probabilities_of_a_trained_model_sum_to_one(run_folder, photos, capsys):
    assert run(f"--model={run_folder}", "--json", photos) == 0
    found = rows(capsys)
    assert len(found) == 6
    for top in found.values():
        assert sorted(row["index"] for row in top) == [0, 1, 2, 3]
        assert sum(row["probability"] for row in top) == pytest.approx(1, abs=1e-5)


def test_folders_named_as_labels_tell_the_agreement(models, photos, capsys, tmp_path):
    for folder, names in {"Red": ["red"], "green": ["green", "blue"], "other": ["red"]}.items():
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{name}.jpg").write_bytes((photos / name / "000.jpg").read_bytes())
    assert run(f"--model={models / 'uint8.tflite'}", tmp_path) == 0
    *_, last = capsys.readouterr().out.splitlines()
    expected = "2 of 3 photos are in the folder of their top label (66.7%); 1 more in none that is named as a label."
    assert last == expected
    assert run(f"--model={models / 'uint8.tflite'}", "--json", tmp_path) == 0
    captured = capsys.readouterr()
    assert captured.err == f"{expected}\n" and len([json.loads(line) for line in captured.out.splitlines()]) == 4


def test_the_folder_given_counts_and_a_broken_photo_does_not(models, photos, capsys, tmp_path):
    (tmp_path / "red" / "2024").mkdir(parents=True)
    (tmp_path / "red" / "2024" / "a.jpg").write_bytes((photos / "red" / "000.jpg").read_bytes())
    (tmp_path / "red" / "b.jpg").write_bytes(b"")
    assert run(f"--model={models / 'uint8.tflite'}", tmp_path / "red") == 1
    *_, last = capsys.readouterr().out.splitlines()
    assert last == "1 of 1 photo is in the folder of their top label (100.0%)."


def test_no_agreement_is_told_where_no_folder_is_a_label(models, photos, capsys, tmp_path):
    (tmp_path / "a.jpg").write_bytes((photos / "red" / "000.jpg").read_bytes())
    assert run(f"--model={models / 'uint8.tflite'}", tmp_path) == 0
    assert "top label" not in capsys.readouterr().out


def test_a_thousand_classes_are_imagenets_where_the_user_says_so(models, photos, capsys, tmp_path):
    tench = tmp_path / imagenet.synsets()[0]
    tench.mkdir()
    (tench / "a.jpg").write_bytes((photos / "red" / "000.jpg").read_bytes())
    given = (f"--model={models / 'thousand.tflite'}", "--json", "--top=4")
    assert run(*given, "--labels=imagenet", tench) == 0
    captured = capsys.readouterr()
    (row,) = map(json.loads, captured.out.splitlines())
    assert captured.err.startswith("1 of 1 photo is in the folder of their top label")
    assert [item["index"] for item in row["top"][:1]] == [0]
    for item in row["top"]:
        assert item["synset"] == imagenet.synsets()[item["index"]]
        assert item["label"] == imagenet.labels()[item["index"]]
    assert run(*given, tench) == 0
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert [item["label"] for item in row["top"]] == [f"class {item['index']}" for item in row["top"]]


def test_synsets_as_labels_are_shown_as_names(models, photos, capsys, tmp_path):
    (tmp_path / "labels.txt").write_text("\n".join(imagenet.synsets()))
    arguments = (f"--model={models / 'thousand.tflite'}", f"--labels={tmp_path / 'labels.txt'}", "--top=1")
    assert run(*arguments, photos / "red" / "000.jpg") == 0
    (((_, label),),) = blocks(capsys.readouterr().out).values()
    assert label == "tench"


@pytest.mark.parametrize(("given", "shape"), [("red/000.jpg", (1, 1)), (".", (1, 6))])
def test_show_draws_a_picture(given, shape, models, photos, tmp_path):
    picture = tmp_path / "new" / "result.png"
    assert run(f"--model={models / 'uint8.tflite'}", f"--show={picture}", photos / given) == 0
    width, height = Image.open(picture).size
    assert max(300, 200 * shape[1]) < width < 400 * (shape[1] + 1) and 200 < height < 600
    colours = np.asarray(Image.open(picture).convert("RGB")).reshape(-1, 3).astype(int)
    reddish = (colours[:, 0] > 150) & (colours[:, 1:] < 100).all(-1)
    assert reddish.mean() > 0.03  # the photo is in it
    assert [path.name for path in picture.parent.iterdir()] == ["result.png"]


@pytest.mark.parametrize(("flag", "name"), [("--explain", "explained.png"), ("--explain=new/where.png", "new/where.png")])
def test_explain_draws_where_the_network_looks(flag, name, run_folder, photos, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(f"--model={run_folder.resolve()}", flag, "--top=1", photos.resolve()) == 0
    captured = capsys.readouterr()
    assert len(blocks(captured.out)) == 6 and captured.err == f"Where the network looks: {name}\n"
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()] == [name]
    with Image.open(name) as picture:
        assert picture.width > 600 and picture.height > 300


def test_explain_needs_a_keras_model(models, photos, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(f"--model={models / 'uint8.tflite'}", "--explain", photos / "red") == 2
    assert "has no gradients" in complaint(capsys) and not list(tmp_path.iterdir())


def test_show_refuses_to_overwrite_a_photo(models, capsys, tmp_path, monkeypatch):
    Image.new("RGB", (40, 40), "red").save(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    monkeypatch.chdir(tmp_path)
    for show, photo in (("a.png", tmp_path), (tmp_path / "a.png", "a.png")):
        assert run(f"--model={models / 'uint8.tflite'}", f"--show={show}", photo) == 2
        assert "is one of the photos" in complaint(capsys)
    assert (tmp_path / "a.png").read_bytes() == before


def test_a_picture_of_more_photos_than_it_shows(tmp_path):
    images = np.zeros((50, 8, 8, 3), np.uint8)
    tops = [[("a label with $ and $", 0.75)]] * 50
    classified(images, ["a.jpg"] * 50, tops, tmp_path / "all.png")
    width, height = Image.open(tmp_path / "all.png").size
    assert 1200 < width < 2000 and 2000 < height < 4000  # 8 rows of 6


def test_a_picture_of_nothing_or_of_lists_that_disagree(tmp_path):
    image = np.zeros((8, 8, 3), np.uint8)
    for lists in (([], [], []), ([image], ["a", "b"], [[("x", 1.0)]]), ([image], ["a"], [])):
        with pytest.raises(st.UserError, match="give one or more, of each"):
            classified(*lists, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_help_shows_examples_and_every_flag(capsys):
    assert run("--help") == 0
    text = capsys.readouterr().out
    assert "python -m shufflenet_tf.classify --model=runs/latest" in text
    assert all(f"--{flag}" in text for flag in ("model=", "top=", "labels=", "show=", "explain", "json"))


def test_as_a_program(models, photos, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"")
    command = [sys.executable, "-m", "shufflenet_tf.classify", f"--model={models / 'uint8.tflite'}", "--top=1"]
    done = subprocess.run([*command, photos / "red", tmp_path / "broken.jpg"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == f"classify: {tmp_path / 'broken.jpg'} can't be read (empty).\n"
    *photo_lines, last = done.stdout.rstrip().splitlines()
    assert [label for ((_, label),) in blocks("\n".join(photo_lines)).values()] == ["red", "red"]
    assert last == "2 of 2 photos are in the folder of their top label (100.0%)."


def test_the_earlier_spelling_is_read_in_flag_files_too_and_not_listed(models, photos, capsys, tmp_path):
    (tmp_path / "a.flags").write_text(f"--weights={models / 'uint8.tflite'}\n--top=1\n")
    assert run(f"--flagfile={tmp_path / 'a.flags'}", photos / "red" / "000.jpg") == 0
    assert "red" in capsys.readouterr().out
    assert run("--help") == 0 and "--weights" not in capsys.readouterr().out


def test_from_python(models, photos, tmp_path):
    """A path or what st.load returned; the same figures as the program's."""
    files = [photos / "red" / "000.jpg", str(photos / "blue" / "000.jpg")]
    path = models / "float32.tflite"
    first, second = st.classify_photos(path, files, top=2)
    assert [first[0].label, second[0].label] == ["red", "blue"] and len(first) == 2
    assert first[0].probability > first[1].probability and st.load(path).labels[first[0].index] == "red"
    assert st.classify_photos(st.load(path), files, top=2) == [first, second]
    (tmp_path / "broken.jpg").write_bytes(b"")
    for given, sentence in (([tmp_path / "broken.jpg"], "can't be read"), ("photo.jpg", "give a list"), (files, "top=0")):
        with pytest.raises(st.UserError, match=sentence):
            st.classify_photos(path, given, top=0 if given is files else 1)
