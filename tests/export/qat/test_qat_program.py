"""`python -m export.qat`: what it leaves behind, and what it says where it can't work. Runs under Keras 2 only."""

import json
import subprocess
import zipfile

import numpy as np
import pytest
from photos import write_photos
from qat_networks import CLASSES, few_units, network

import shufflenet_tf as st
from shufflenet_tf.models import v2
from shufflenet_tf.models.kernels import LEGACY_KERAS

if not LEGACY_KERAS:
    pytest.skip("tensorflow-model-optimization needs TF_USE_LEGACY_KERAS=1", allow_module_level=True)

from export import pipeline
from export.qat import __main__ as program
from export.qat import pixel_source, results
from export.qat.keras2_loading import _canonical, load
from shufflenet_tf.errors import UserError
from shufflenet_tf.tflite_classifier import LiteClassifier
from shufflenet_tf.weights import canonical

pytestmark = pytest.mark.both_generations


@pytest.fixture(scope="module", autouse=True)
def shallow():
    with pytest.MonkeyPatch.context() as patch:
        few_units(patch)
        patch.setattr(v2, "REPEATS", (1, 1, 1))
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "weights.npz"
    canonical.save(network("shufflenet_v2_0.5x", (32, 32)).model, path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"), splits=("any",))


def run(*arguments) -> int:
    return program.run(["export.qat", *map(str, arguments)])


def test_photos_without_labels_teach(weights, folder, capsys):
    (weights.parent / "qat.flags").write_text("# Two steps.\n--steps=2\n--batch_size=4\n--runs=2\n--checkpoint_steps=1\n")
    assert run(f"--model={weights}", f"--dataset={folder}", f"--flagfile={weights.parent / 'qat.flags'}") == 0
    told = capsys.readouterr().out
    assert "the float network as teacher" in told and "step 2 of 2" in told
    output = weights.parent / pipeline.QAT_FOLDER
    assert f'make android MODEL="{output / results.FINISHED}"' in told
    finished = LiteClassifier(output / results.FINISHED)
    assert finished.labels == CLASSES and finished.input_shape == (1, 32, 32, 3)
    (trained,) = pipeline.trained_conversion(weights.parent, ["int8"])
    assert trained.converted.content == (output / pipeline.QAT_GRAPH).read_bytes()
    learnt = st.load(output / "model.npz")
    assert learnt.labels == CLASSES
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    np.testing.assert_allclose(finished(images), learnt.classify(images), atol=0.1)
    rows = json.loads((output / "report.json").read_text())["files"]
    assert [row["partitions"] for row in rows] == [1, 1, 1, 1] and rows[-1]["bytes"] < 0.6 * rows[0]["bytes"]
    assert (output / "report.md").read_text().count("int8, trained") == 1
    assert "Post-training, layer by layer" in (output / "report.md").read_text()
    left = (
        "best.npz",
        "post_training_int8.tflite",
        "post_training_float32.tflite",
        "checkpoint.npz",
        "history.csv",
        "training.png",
        "verify.png",
        "verify.json",
        "ranges.json",
        "labels.txt",
    )
    assert all((output / name).stat().st_size for name in left)


def test_plain_folder_is_divided(folder):
    source = pixel_source.open_photos(str(folder))
    assert source.labels == () and source.train.size + source.test.size == 24 and 1 <= source.test.size < 12
    batches = list(pixel_source.pixel_batches(source.train, st.Preprocessing(), (32, 48), 8, 10))
    assert [images.shape for images, _ in batches] == [(8, 32, 48, 3), (2, 32, 48, 3)] and batches[0][0].dtype == np.uint8


def test_files_of_the_other_generation_are_read_by_it(tmp_path):
    """By a process of its own, which knows nothing of this one's shallow networks: it gets one that is not theirs."""
    model = network("squeezenet_1.1", (64, 64)).model
    canonical.save(model, tmp_path / "weights.npz")
    with np.load(_canonical(tmp_path / "weights.npz", tmp_path / "copy.npz")) as copy:
        assert json.loads(str(copy[canonical.CONFIG])) == canonical.config(model)
        arrays = canonical.arrays(model)
        assert copy.keys() == {canonical.CONFIG, *arrays}
        assert all(np.array_equal(copy[name], array) for name, array in arrays.items())


def test_what_the_other_generation_says_is_passed_on(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "no.keras", "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
    failed = subprocess.CompletedProcess([], 2, "", "a warning\nshufflenet_tf.weights: error: no.keras can't be loaded.\n")
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **keywords: failed)
    with pytest.raises(UserError, match=r"^no.keras can't be loaded\.$"):
        load(tmp_path / "no.keras")


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"dataset": "shapes"}, "There is no model: give --model="),
        ({"model": "nowhere"}, "There is no model at nowhere"),
        ({"model": "{weights}"}, "doesn't name its training dataset: give --dataset="),
        ({"model": "{weights}", "dataset": "{empty}"}, "has 0 usable photos"),
        ({"model": "{weights}", "dataset": "{folder}", "nodistill": ""}, "don't match the model's, so they can't teach it"),
        ({"model": "{weights}", "dataset": "{folder}", "batch_size": "0"}, "batch_size"),
    ],
)
def test_one_sentence_for_what_cannot_work(given, sentence, weights, folder, tmp_path, capsys):
    places = {"weights": weights, "folder": folder, "empty": tmp_path}
    arguments = [f"--{key}" + (f"={value.format(**places)}" if value else "") for key, value in given.items()]
    assert run(*arguments, f"--output_dir={tmp_path / 'qat'}") == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("export.qat: ") and sentence in lines[0]


def test_another_network_of_ours(tmp_path, capsys):
    st.create_model("squeezenet_1.1", input_shape=(32, 32, 3), classes=2).save(tmp_path / "other.keras")
    assert run(f"--model={tmp_path / 'other.keras'}", "--dataset=shapes", f"--output={tmp_path / 'qat'}") == 2
    assert "is a squeezenet_1.1, but quantization-aware training needs a ShuffleNet" in capsys.readouterr().err


def test_a_model_that_is_not_ours(tmp_path, capsys):
    import tensorflow as tf

    tf.keras.Sequential([tf.keras.Input((8, 8, 3)), tf.keras.layers.Flatten()]).save(tmp_path / "other.keras")
    assert run(f"--model={tmp_path / 'other.keras'}", "--dataset=shapes") == 2
    assert "holds a Sequential, which has no preprocessing: give a model of this project." in capsys.readouterr().err
