"""python -m export.tflite: one command from a trained network to files for phones, whole or not at all."""

import json
import pathlib
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from lite_models import colour_model
from photos import COLOURS, write_photos

import shufflenet_tf as st
from export import tflite
from export.convert.from_keras import convert
from export.convert.precision import Precision
from shufflenet_tf.models import v2
from shufflenet_tf.tflite_classifier import LiteClassifier


@pytest.fixture(scope="module", autouse=True)
def few_units():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(v2, "REPEATS", (2, 1, 1))
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory) -> pathlib.Path:
    """A folder as train_main.py leaves it."""
    folder = tmp_path_factory.mktemp("run")
    preprocessing = st.Preprocessing(resize=36, crop=32)
    tf.keras.utils.set_random_seed(0)
    model = st.create_model(
        "shufflenet_v2_0.5x", input_shape=(32, 32, 3), classes=3, labels=sorted(COLOURS), preprocessing=preprocessing
    )
    model.save(folder / "model.keras")
    (folder / "metrics.json").write_text(json.dumps({"dataset_spec": f"folder:{photos}"}))
    return folder


def run(*arguments) -> int:
    return tflite.run(["export.tflite", *map(str, arguments)])


def test_a_run_is_exported_with_its_own_images(trained, capsys):
    """Ranges from the training images, proof on the test images, and everything that is promised."""
    learnt = trained / "qat" / "int8_as_converted.tflite"  # as export.qat leaves it
    learnt.parent.mkdir()
    grey = list(np.full((1, 32, 32, 3), 128, np.uint8))
    learnt.write_bytes(convert(st.load(trained).model, Precision("int8", calibration=grey)))
    assert run(f"--model={trained}", "--calibration_images=8", "--runs=2") == 0
    learnt.unlink()
    folder = trained / "export"
    names = {"model_float32.tflite", "model_float16.tflite", "model_int8.tflite", "labels.txt", "report.md", "report.json"}
    names |= {"model_int8_trained.tflite"}
    names |= {"verify.png", "verify.json"}
    assert {path.name for path in folder.iterdir()} == names
    report = json.loads((folder / "report.json").read_text())
    assert report["images"] == 24 and report["top1"] is not None
    rows = {row["name"]: row for row in report["files"]}
    kinds = ("float32", "float16", "int8", "int8_trained")
    assert rows.keys() == {f"{k} as converted" for k in kinds} | {n for n in names if "tflite" in n}
    assert rows["model_float32.tflite"]["max_error"] <= 1e-5 and rows["model_float32.tflite"]["agreement"] == 1
    assert rows["model_int8.tflite"]["max_error"] <= rows["int8 as converted"]["max_error"] + 0.05
    assert rows["model_int8.tflite"]["partitions"] == 1 and not rows["model_int8.tflite"]["not_delegated"]
    assert all(row["bytes"] > 0 and row["milliseconds"] > 0 for row in rows.values())
    text = (folder / "report.md").read_text()
    printed = capsys.readouterr().out
    assert text in printed and "| model_int8.tflite |" in text
    assert f'make android MODEL="{folder}/model_float32.tflite {folder}/model_int8.tflite"' in printed
    assert f"--model={folder}/model_int8.tflite PHOTO.jpg" in printed
    check_predictions(report, rows, text)
    assert "| layer (signal to noise in dB) | min-max | best |" in text and "| mean of " in text
    for kind in ("float32", "float16", "int8"):
        classifier = LiteClassifier(folder / f"model_{kind}.tflite")
        assert classifier.labels == tuple(sorted(COLOURS)) and classifier.preprocessing.crop == 32
    assert st.load(folder / "model_int8.tflite").size == (32, 32)
    with zipfile.ZipFile(folder / "model_int8.tflite") as packed:
        assert packed.read("labels.txt").decode() == (folder / "labels.txt").read_text()


def check_predictions(report: dict, rows: dict[str, dict], text: str) -> None:
    """A person sees at once which figures are a phone's, predicted, and which are this machine's, measured."""
    assert report["target"] == "phone" and report["threads"] == 1
    for name, row in rows.items():
        if name.endswith("as converted"):
            assert row["predicted_ratio"] is None
        else:
            assert 0 < row["predicted_ratio"] <= 1
            assert row["predicted_milliseconds"] == pytest.approx(row["predicted_ratio"] * row["predicted_as_converted"])
    head = next(line for line in text.splitlines() if line.startswith("| file |"))
    columns = [column.strip() for column in head.strip("|").split("|")]
    assert columns[-4:] == ["phone, predicted: ms", "ratio to converted", "this machine, measured: ms", "ratio to converted"]
    for line in text.splitlines():
        if line.startswith("| model_") or (" as converted |" in line and line != head):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            assert len(cells) == len(columns) and all(float(cell) > 0 for cell in cells[7:]), line
    assert "phone: Arm Cortex-A76" in text and "(a model, not a measurement: " in text
    assert "This machine: 1 thread(s), medians of 2 interleaved runs" in text


def test_any_photos_serve_and_one_kind_is_enough(trained, photos, tmp_path, capsys):
    model = tmp_path / "model.keras"
    model.write_bytes((trained / "model.keras").read_bytes())
    given = (f"--calibration={photos}", "--calibration_images=6", "--kinds=int8", "--int8_output=float32", "--runs=1")
    given = (*given, "--max_drop=100")
    assert run(f"--model={model}", *given, f"--output={tmp_path / 'out'}") == 0
    assert (tmp_path / "out" / "model_int8.tflite").exists() and not (tmp_path / "out" / "model_float32.tflite").exists()
    told = capsys.readouterr().out
    assert "4 images" in told and "mixed precision: 0 of 21 layers in floating point" in told
    classifier = LiteClassifier(tmp_path / "out" / "model_int8.tflite")
    assert classifier(np.zeros((1, 32, 32, 3), np.uint8)).sum() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model={model}", "--kinds=float32", "--max_drop=1"], "--max_drop applies to int8, but --kinds=float32 lacks it"),
        ([], "There is no model: give --model=PATH"),
        (["extra", "--model=x"], "Unexpected argument 'extra'"),
        (["--model=nowhere"], "There is no model at nowhere"),
        (["--model={model}", "--kinds=int4"], "--kinds has an unknown kind 'int4'"),
        (["--model={model}"], "give --calibration=FOLDER"),
        (["--model={model}", "--calibration={empty}"], "no photo in"),
        (["--model={model}", "--calibration={photos}"], "--calibration_images=48"),
        (["--model={model}", "--calibration={photos}", "--calibration_images=0"], "calibration_images"),
        (["--model={model}", "--calibration={photos}", "--calibration_images=2", "--test=shape"], "did you mean shapes"),
        (["--model={lite}"], "is already a .tflite file"),
        (["--model={damaged}"], "no TFLite"),
    ],
)
def test_one_sentence_and_nothing_written(trained, photos, tmp_path, capsys, arguments, sentence):
    (tmp_path / "empty").mkdir()
    (tmp_path / "model.keras").write_bytes((trained / "model.keras").read_bytes())
    (tmp_path / "lite.tflite").write_bytes(colour_model("uint8"))
    (tmp_path / "damaged.tflite").write_bytes(b"\0\0\0\0TFL3" + bytes(50))
    paths = {name: tmp_path / f"{name}{end}" for name, end in (("lite", ".tflite"), ("damaged", ".tflite"), ("empty", ""))}
    filled = [a.format(model=tmp_path / "model.keras", photos=photos, **paths) for a in arguments]
    status = run(*filled, f"--output={tmp_path / 'out'}")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("export.tflite: ")]
    if "{damaged}" in str(arguments):
        sentence = "damaged.tflite"
    assert status == 2 and len(lines) == 1 and sentence in lines[0]
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
