"""Runs that choose for themselves, that have a limit, and that learn from a teacher."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from photos import write_photos
from tensorflow.python.framework import config

import shufflenet_tf as st
import train_main
from shufflenet_tf.data.folder import open_folder
from shufflenet_tf.errors import UserError
from shufflenet_tf.models import v2
from shufflenet_tf.preprocessing import Preprocessing
from shufflenet_tf.training import checkpoint, pace
from shufflenet_tf.training.classifier import solve
from shufflenet_tf.training.distillation import Teacher
from shufflenet_tf.weights import canonical

QUICK = ("--image_size=32", "--notensorboard", "--nosaved_model")


@pytest.fixture(scope="module", autouse=True)
def few_units():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(v2, "REPEATS", (2, 1, 1))
        yield
    config.disable_op_determinism()  # which --deterministic has turned on for the whole process


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"))


def run(*arguments) -> int:
    return train_main.run(["train_main.py", *map(str, arguments)])


@pytest.fixture(scope="module")
def teacher(photos, tmp_path_factory):
    """A run that chose for itself what isn't given, and has learnt its three colours."""
    output = tmp_path_factory.mktemp("teacher")
    given = ("--epochs=12", "--mixup=0", "--cutmix=0", "--label_smoothing=0", "--deterministic")
    assert run("--choose", f"--dataset=folder:{photos}", f"--output={output}", *given, *QUICK) == 0
    return output


@pytest.mark.long
def test_the_flags_of_a_run_give_the_same_model(teacher, tmp_path, capsys):
    assert run(f"--flagfile={teacher / 'run.flags'}", "--deterministic", f"--output={tmp_path}") == 0
    first, second = (canonical.arrays(st.load(folder).model) for folder in (teacher, tmp_path))
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    text = (teacher / "run.flags").read_text()
    assert (
        "--choose" not in text and "--network=shufflenet_v2_0.5x" in text and "--epochs=12.0" in text and "cutmix" not in text
    )


@pytest.mark.long
def test_figures_say_what_the_best_epoch_was_chosen_on(teacher):
    metrics = json.loads((teacher / "metrics.json").read_text())
    assert (metrics["training_images"], metrics["validation_images"], metrics["test"]["examples"]) == (21, 3, 24)
    assert metrics["weights"] == f"those of epoch {metrics['epoch']}, the best one on the validation images"


@pytest.mark.long
def test_classifier_first_on_what_a_run_has_learnt(teacher, photos, tmp_path, capsys):
    shutil.copytree(photos, tmp_path / "photos", ignore=lambda *_: ["red"])
    arguments = ("--classifier_first", f"--weights={teacher}", "--steps=1", "--learning_rate=1e-6", "--validation=0")
    arguments += (f"--dataset=folder:{tmp_path / 'photos'}", f"--output={tmp_path / 'run'}", "--batch_size=8", *QUICK)
    assert run(*arguments) == 0
    assert "fitted to the features of the trained layers, knows" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["weights"] == "those of epoch 1, the last one" and metrics["test"]["top1"] > 0.9


@pytest.mark.long
def test_a_student_learns_from_a_teacher_alone(teacher, photos, tmp_path, capsys):
    """Labels count for nothing here: what the student knows is the teacher's; half of the photos have none."""
    few = tmp_path / "few"
    for side in ("train", "test"):
        for label in ("blue", "green", "red"):
            (few / side / label).mkdir(parents=True)
            for file in sorted((photos / side / label).iterdir())[: 3 if side == "train" else 8]:
                (few / side / label / file.name).symlink_to(file)
    arguments = (
        f"--teacher={teacher}",
        "--teacher_weight=1",
        f"--unlabelled={photos / 'train'}",
        "--min_area=0.5",
        "--jitter=0.1",
    )
    more = ("--network=shufflenet_v2_0.5x", "--batch_size=8", "--steps=60", "--validation=0", "--learning_rate=0.02")
    assert run(f"--dataset=folder:{few}", f"--output={tmp_path / 'run'}", *arguments, *more, *QUICK) == 0
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]["top1"] > 0.8


@pytest.mark.long
def test_a_teachers_answers_are_those_that_it_gives_to_the_photos(teacher, photos):
    bundle = st.load(teacher)
    labels = tuple(reversed(bundle.labels))
    contract = Preprocessing(channel_order="bgr", mean=(0.2, 0.3, 0.4), std=(0.5, 0.6, 0.7))
    pixels = np.random.default_rng(0).integers(0, 256, (3, *bundle.size, 3), np.uint8)
    answers = Teacher(teacher, labels, contract, temperature=1.0).probabilities(contract.normalize(pixels))
    np.testing.assert_allclose(answers[:, ::-1], bundle.classify(pixels), atol=1e-4)


@pytest.mark.long
def test_a_teacher_of_other_classes_is_refused(teacher):
    with pytest.raises(UserError, match=r"doesn't know 1 of 2 classes, such as violet: give one"):
        Teacher(teacher, ("blue", "violet"), Preprocessing())


@pytest.mark.long
def test_a_limit_in_minutes_shortens_the_training_once_and_leaves_the_start_as_it_was(photos, tmp_path, monkeypatch, capsys):
    """The steps that are timed leave no trace: a run of that length from the start gives the same model."""
    monkeypatch.setattr(pace, "affordable_steps", spied(pace.affordable_steps, 7))
    common = (f"--dataset=folder:{photos}", "--network=shufflenet_v2_0.5x", "--batch_size=8", "--first_size=0.5", "--ema=0.9")
    common = (*common, "--steps=1000", "--steps_per_epoch=3", "--warmup_steps=2", "--schedule=cosine", "--deterministic")
    common = (*common, *QUICK[1:], "--image_size=64")
    assert run(*common, "--minutes=10", f"--output={tmp_path / 'limited'}") == 0
    assert "10 minutes allow 6 of 1,000 steps" in capsys.readouterr().out
    assert "--steps=6" in (tmp_path / "limited" / "run.flags").read_text()
    assert run(f"--flagfile={tmp_path / 'limited' / 'run.flags'}", f"--output={tmp_path / 'plain'}") == 0
    first, second = (canonical.arrays(st.load(tmp_path / name).model) for name in ("limited", "plain"))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def spied(function, steps):
    """The function, whose steps are tried; its answer depends on the machine and is replaced."""

    def call(*arguments):
        assert 1 <= function(*arguments) <= 1000
        return steps

    return call


@pytest.mark.long
def test_it_ends_early_where_nothing_gets_better_and_is_not_gone_on_with(photos, tmp_path, capsys):
    common = (f"--dataset=folder:{photos}", f"--output={tmp_path}", "--network=shufflenet_v2_0.5x", "--batch_size=8", *QUICK)
    common = (*common, "--learning_rate=1e-8", "--steps=40", "--steps_per_epoch=1", "--patience=2")
    assert run(*common) == 0
    ended = checkpoint.read_progress(tmp_path)
    assert ended.step < 40 and ended.step == ended.best_epoch + 2
    assert f"none of the last 2 evaluations was better than that of epoch {ended.best_epoch}" in capsys.readouterr().out
    assert run(*common) == 0
    assert checkpoint.read_progress(tmp_path).step == ended.step


def test_rare_classes_count_as_much():
    """Of two overlapping classes, 20 to 1, the plain classifier answers the frequent one, the balanced one both."""
    random = np.random.default_rng(0)
    y = np.repeat([0, 1], [2000, 100])
    x = (random.normal(size=2100) + y)[:, None].astype(np.float32)
    answers = []
    for prior in (None, np.array([20, 1]) / 21):
        weights, bias = solve(x, np.eye(2, dtype=np.float32)[y], True, prior)
        answers.append((x @ weights + bias).argmax(-1))
    assert np.mean(answers[0][y == 1]) < 0.1
    assert np.mean(answers[1][y == 1]) == pytest.approx(np.mean(1 - answers[1][y == 0]), abs=0.1)


def test_the_validation_photos_are_none_of_the_others(photos):
    source = open_folder(photos, validation=0.25)
    sides = [set(split.files) for split in (source.train, source.validation, source.test)]
    assert [len(side) for side in sides] == [split.size for split in (source.train, source.validation, source.test)]
    assert len(set.union(*sides)) == 48 and source.test.size == 24 and 3 <= source.validation.size <= 12
    assert open_folder(photos).validation is None
    tf.debugging.assert_equal(len(list(source.validation.examples(None))), source.validation.size)
