"""The program: what it leaves behind, and one sentence for each thing that a person can get wrong."""

import csv
import json
import pathlib
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
from photos import write_photos
from PIL import Image

import shufflenet_tf as st
import train_main
from shufflenet_tf.models import v2
from shufflenet_tf.training import callbacks
from shufflenet_tf.weights import canonical

ROOT = pathlib.Path(__file__).resolve().parents[1]
SMALL = ("--network=shufflenet_v2_0.5x", "--image_size=32", "--batch_size=8", "--steps=4", "--steps_per_epoch=2")

LIGHT = (*SMALL, "--nosaved_model", "--notensorboard")  # of which nothing is looked at but the model and what is told


@pytest.fixture(scope="module", autouse=True)
def few_units():
    """Four units instead of sixteen: what is tested here does not depend on the depth, but most of the time does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(v2, "REPEATS", (2, 1, 1))
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"))


def run(*arguments) -> int:
    return train_main.run(["train_main.py", *map(str, arguments)])


def complaint(capsys) -> str:
    """Returns the one sentence on the standard error."""
    lines = capsys.readouterr().err.strip().splitlines()
    lines = [line for line in lines if line.startswith("train_main.py: ") or "Traceback" in line]
    assert len(lines) == 1 and "Traceback" not in lines[0]
    return lines[0]


@pytest.fixture(scope="module")
def finished(photos, tmp_path_factory):
    output = tmp_path_factory.mktemp("finished")
    assert run(f"--dataset=folder:{photos}", f"--output={output}", *SMALL) == 0
    return output


def test_what_a_run_leaves_behind(finished, photos):
    names = {path.name for path in finished.iterdir()}
    assert names >= {"model.keras", "saved_model", "labels.txt", "metrics.json", "history.csv", "best.npz", "checkpoint.npz"}
    assert not [name for name in names if name.startswith(".")]
    assert (finished / "labels.txt").read_text().split() == ["blue", "green", "red"]
    metrics = json.loads((finished / "metrics.json").read_text())
    assert (
        metrics["steps"] == 4
        and metrics["test"]["examples"] == 24
        and metrics["parameters"] == st.complexity.parameters(st.load(finished).model)
    )
    with open(finished / "history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "4"] and all(float(row["val_loss"]) > 0 for row in rows)
    for name in ("training.png", "confusion.png", "mistakes.png", "attention.png"):
        assert min(Image.open(finished / name).size) > 100
    assert metrics["started_from"] is None and "top5" not in metrics["test"]  # random weights, three classes
    with open(finished / "mistakes.csv", encoding="utf-8-sig", newline="") as file:
        wrong = list(csv.DictReader(file))
    assert len(wrong) == round(24 * (1 - metrics["test"]["top1"]))
    assert all(pathlib.Path(row["file"]).parent == photos / "test" / row["true"] for row in wrong)
    assert all(pathlib.Path(row["file"]).is_file() and row["predicted"] != row["true"] for row in wrong)
    assert list((finished / "tensorboard").rglob("events.*"))


def test_the_reported_figures_are_those_of_the_saved_model(finished, photos):
    bundle = st.load(finished)
    right = []
    for i, label in enumerate(bundle.labels):
        for file in sorted((photos / "test" / label).iterdir()):
            pixels = bundle.preprocessing.resize_and_crop(np.asarray(Image.open(file)), (32, 32))
            right.append(int(np.argmax(bundle.model(bundle.preprocessing.normalize(pixels)[None]))) == i)
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["test"]["top1"] == pytest.approx(np.mean(right), abs=1.5 / 24)


def test_a_finished_run_is_only_reported_again(finished, photos, capsys):
    before = (finished / "history.csv").read_bytes()
    assert run(f"--dataset=folder:{photos}", f"--output={finished}", *LIGHT) == 0
    assert "Going on at step 4 of 4" in capsys.readouterr().out
    assert (finished / "history.csv").read_bytes() == before


def test_a_longer_run_goes_on_and_says_what_changed(finished, photos, tmp_path, capsys):
    changed = ("--steps=6", "--rand_augment=5", "--mixup=0.2", "--cutmix=1", "--schedule=cosine", "--label_smoothing=0.1")
    assert run(f"--dataset=folder:{photos}", f"--output={finished}", *LIGHT, *changed) == 0
    text = capsys.readouterr().out
    assert "Going on at step 4 of 6" in text and "changed since: schedule from linear to cosine" in text
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["steps"] == 6


def test_other_labels_and_other_models_are_not_gone_on_with(finished, photos, tmp_path, capsys):
    other = write_photos(tmp_path / "other")
    (other / "train" / "red").rename(other / "train" / "rose")
    (other / "test" / "red").rename(other / "test" / "rose")
    assert run(f"--dataset=folder:{other}", f"--output={finished}", *SMALL) == 2
    assert "differing in red, rose: give another --output" in complaint(capsys)
    assert run(f"--dataset=folder:{photos}", f"--output={finished}", *SMALL, "--wiring=torchvision") == 2
    assert "has another model" in complaint(capsys)


@pytest.mark.long
def test_fine_tuning_takes_the_network_from_the_weights(finished, photos, tmp_path, capsys):
    """Same classes: the classifier is kept; others: it is new; frozen layers are those of the weights."""
    recipe = f"--flagfile={ROOT / 'recipes/finetune_photos.flags'}"
    small = (recipe, "--image_size=32", "--batch_size=4", "--steps=2", "--warmup_steps=0", *LIGHT[-2:], f"--weights={finished}")
    assert run(*small, f"--dataset=folder:{photos}", f"--output={tmp_path / 'same'}") == 0
    assert "classifier     kept" in capsys.readouterr().out
    shutil.copytree(photos, tmp_path / "photos", ignore=lambda *_: ["red"])
    canonical.save(st.load(finished).model, tmp_path / "weights.npz")
    small = (*small[:-1], f"--weights={tmp_path / 'weights.npz'}", "--freeze=backbone")
    assert run(*small, f"--dataset=folder:{tmp_path / 'photos'}", f"--output={tmp_path / 'other'}") == 0
    assert "classifier     new" in capsys.readouterr().out
    old, new = (canonical.arrays(st.load(folder).model) for folder in (finished, tmp_path / "other"))
    assert old.keys() == new.keys() and new["linear/b"].shape == (2,)
    assert all(np.array_equal(old[name], new[name]) for name in old if not name.startswith("linear/"))


@pytest.mark.long
def test_cross_validation(photos, tmp_path, capsys):
    """Each fold is a run of its own, which is not repeated."""
    arguments = (f"--dataset=folder:{photos}", f"--output={tmp_path}", *SMALL, "--steps=1", "--nosaved_model", "--folds=2")
    assert run(*arguments) == 0
    text = capsys.readouterr().out
    assert "2 folds: top-1" in text and "of all 24 photos" in text and "not calibrated" in text
    result = json.loads((tmp_path / "metrics.json").read_text())["cross_validation"]
    assert result["examples"] == 24 and (tmp_path / "fold2_of_2" / "model.keras").exists()
    assert run("--dataset=shapes/tiny", f"--output={tmp_path / 'shapes'}", *SMALL, "--folds=2") == 2
    assert "give a folder of photos" in complaint(capsys)


def test_overwrite_removes_the_run_and_nothing_else(photos, tmp_path, capsys):
    write_photos(tmp_path, per_class=1, splits=("mine",))
    (tmp_path / "checkpoint.npz").write_bytes(b"old")
    for name in ("saved_model", "qat"):
        (tmp_path / name).mkdir()
    assert run(f"--dataset=folder:{photos}", f"--output={tmp_path}", "--overwrite", *SMALL, "--batch_size=99") == 2
    assert "21 training images, fewer than a batch of 99" in complaint(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--network=shufflenet_v3_1.0x"], "There is no model 'shufflenet_v3_1.0x': did you mean"),
        (["--dataset=shape"], "There is no dataset 'shape': did you mean shapes?"),
        (["--dataset=folder:/no/such/place"], "/no/such/place"),
        (["--image_size=31"], "--image_size=31 can't be used"),
        (["--image_size=big"], "of 32 px or more"),
        (["--image_size=64,64,3"], "--image_size=64,64,3 can't be used"),
        (["--deterministic", "--rand_augment=5"], "--deterministic can't go with"),
        (["--validation=0.95"], "validation=0.95"),
        (["--choose", "--budget=cheap"], "--budget=cheap can't be read"),
        (["--classifier_first"], "--classifier_first would fit a classifier to random layers: give --weights too"),
        (["--unlabelled=/no/such/place"], "There is no folder /no/such/place"),
    ],
)
def test_bad_input(arguments, sentence, photos, tmp_path, capsys):
    assert run(f"--dataset=folder:{photos}", f"--output={tmp_path / 'run'}", *SMALL, *arguments) == 2
    assert sentence in complaint(capsys)


def test_weights_that_do_not_fit(finished, photos, tmp_path, capsys):
    common = (f"--dataset=folder:{photos}", f"--output={tmp_path / 'run'}", "--image_size=32")
    assert run(*common, f"--weights={finished}", "--network=shufflenet_v1_1.0x_g3") == 2
    assert "is a shufflenet_v2_0.5x and no shufflenet_v1_1.0x_g3" in complaint(capsys)
    assert run(*common, f"--weights={tmp_path / 'none.pth'}") == 2
    assert "There is no model at" in complaint(capsys)
    assert run(*common, "--freeze=stage4") == 2
    assert "give --weights too" in complaint(capsys)


def test_a_loss_that_is_no_number_stops_with_advice_and_keeps_the_last_checkpoint(photos, tmp_path, capsys):
    arguments = ("--learning_rate=100", "--steps=40", "--steps_per_epoch=20", "--checkpoint_steps=1", "--notensorboard")
    assert run(f"--dataset=folder:{photos}", f"--output={tmp_path}", *SMALL, "--weight_decay=1", *arguments) == 1
    assert "is no longer a number at step" in (text := complaint(capsys)) and "--learning_rate=25" in text
    with np.load(tmp_path / "checkpoint.npz") as file:
        assert all(np.isfinite(file[name]).all() for name in file.files if name.startswith("weights/"))


def test_a_full_disk(photos, tmp_path, capsys):
    """A limit on the size of files fails in the same place as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        assert run(f"--dataset=folder:{photos}", f"--output={tmp_path}", *SMALL, "--notensorboard") == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "File too large" in complaint(capsys)
    assert not list(tmp_path.glob(".*")) and not (tmp_path / callbacks.BEST).exists()


def test_a_folder_that_cannot_be_written(photos, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert run(f"--dataset=folder:{photos}", f"--output={tmp_path / 'file' / 'run'}", *SMALL) == 2
    assert "can't be written" in complaint(capsys)


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("--batch_size=0", "--batch_size=0"),
        ("--bach_size=8", "Did you mean: batch_size"),
        ("--schedule=poly", "<linear|cosine|step|constant>"),
        ("--flagfile=missing.flags", "missing.flags"),
        ("stray", "Unexpected argument 'stray'"),
    ],
)
def test_usage_errors(argument, sentence, capsys):
    assert run(argument) == 2 and sentence in complaint(capsys)


def test_usage_errors_of_the_program_itself():
    command = [sys.executable, ROOT / "train_main.py", "--schedule=poly"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and "<linear|cosine|step|constant>" in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.long
def test_mirrored_on_two_devices(photos, tmp_path):
    script = (
        "import sys, tensorflow as tf\n"
        "cpu = tf.config.list_physical_devices('CPU')[0]\n"
        "tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)\n"
        "tf.distribute.MirroredStrategy = lambda make=tf.distribute.MirroredStrategy: make(['CPU:0', 'CPU:1'])\n"
        "import train_main\n"
        "from shufflenet_tf.models import v2\n"
        "v2.REPEATS = (2, 1, 1)\n"
        "sys.exit(train_main.run())\n"
    )
    arguments = [f"--dataset=folder:{photos}", f"--output={tmp_path}", "--strategy=mirrored", *SMALL, "--nosaved_model"]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((tmp_path / "metrics.json").read_text())["steps"] == 4
