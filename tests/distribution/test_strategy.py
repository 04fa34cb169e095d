"""Strategies that can't be had, or can't go with other flags, end with one sentence before anything is trained."""

import os
import pathlib
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

import shufflenet_tf as st
from shufflenet_tf.distribution import keras_choice, strategy
from shufflenet_tf.distribution.cluster import Cluster
from shufflenet_tf.distribution.strategy import Distribution, LostWorker
from shufflenet_tf.errors import UserError
from shufflenet_tf.models.kernels import LEGACY_KERAS
from shufflenet_tf.training import parallel
from shufflenet_tf.training.settings import RunOptions, Settings

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLUSTER = Cluster(("a:1", "b:1"), 1)


@pytest.mark.skipif(LEGACY_KERAS, reason="tf_keras is what these strategies need")
@pytest.mark.parametrize("kind", ["multi_worker", "tpu"])
def test_keras_3_is_refused_in_python(kind, tmp_path):
    with pytest.raises(
        UserError, match=f"--strategy={kind} needs tf_keras.*set the environment variable TF_USE_LEGACY_KERAS=1"
    ):
        st.train("shapes/tiny", strategy=kind, output=tmp_path)


def run_program(*arguments, **variables):
    environment = {key: value for key, value in os.environ.items() if key not in ("TF_USE_LEGACY_KERAS", "TF_CONFIG")}
    command = [sys.executable, "train_main.py", "--dataset=shapes/tiny", *arguments]
    return subprocess.run(command, env=environment | variables, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize(
    "variables, sentence",
    [
        ({}, "--strategy=multi_worker needs TF_CONFIG"),
        ({"TF_CONFIG": "{"}, "TF_CONFIG is not JSON"),
        ({"TF_USE_LEGACY_KERAS": "0"}, "--strategy=multi_worker needs tf_keras"),
    ],
)
def test_the_program_ends_with_a_sentence(variables, sentence, tmp_path):
    ended = run_program("--strategy=multi_worker", f"--output={tmp_path / 'run'}", **variables)
    assert ended.returncode == 2
    assert sentence in ended.stderr and "Traceback" not in ended.stderr
    assert not (tmp_path / "run").exists()


def test_the_program_starts_again_under_tf_keras(tmp_path):
    """With a chief that never answers, it ends with a sentence under tf_keras too."""
    config = '{"cluster": {"worker": ["localhost:9", "localhost:0009"]}, "task": {"type": "worker", "index": 1}}'
    config = config.replace("0009", "47329")
    ended = run_program("--strategy=multi_worker", "--cluster_timeout=1", f"--output={tmp_path / 'run'}", TF_CONFIG=config)
    assert "trains under tf_keras: starting again with TF_USE_LEGACY_KERAS=1" in ended.stdout
    assert "Worker 1 of 2 at localhost:47329" in ended.stdout
    assert "The chief at localhost:9 has not answered worker 1 for 1 s" in ended.stderr
    assert ended.returncode == 2


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"batch_size": 63}, "--batch_size=63 can't be divided among 2 devices: give a multiple of 2, such as 62"),
        ({"minutes": 3.0}, "--minutes can't go with --strategy=multi_worker"),
        ({"classifier_first": True}, "--classifier_first can't go with"),
        ({"folds": 5}, "--folds can't go with"),
    ],
)
def test_what_does_not_go_with_workers_is_refused(given, sentence):
    run = RunOptions(folds=given.pop("folds", 0))
    plan = SimpleNamespace(settings=Settings(**given), run=run, source=None)
    with pytest.raises(UserError, match=sentence):
        parallel.check(Distribution(SimpleNamespace(num_replicas_in_sync=2), CLUSTER), plan)


def test_workers_with_other_images_are_named():
    distribution = Distribution(None, CLUSTER)
    distribution.sum = lambda mine: np.array([1000, 0]) + mine
    with pytest.raises(UserError, match="Worker 1 has 960 training images, and the chief 1,000"):
        distribution.check_equal(960, "training images")


def test_a_lost_worker_asks_for_a_restart():
    with pytest.raises(LostWorker) as caught, Distribution(None, CLUSTER).watched():
        raise tf.errors.UnavailableError(None, None, "Socket closed\nmore")
    assert caught.value.status == 75
    assert str(caught.value).startswith("Worker 1 has lost another one (Socket closed): the same command")


def test_other_failures_of_tensorflow_are_not_taken_for_a_lost_worker():
    with pytest.raises(tf.errors.InternalError), Distribution().watched():
        raise tf.errors.InternalError(None, None, "bug")


@pytest.mark.both_generations
def test_a_machine_without_tpu_says_so():
    if not LEGACY_KERAS:
        pytest.skip("Keras 3 is refused before")
    with pytest.raises(UserError, match=r"There is no TPU 'local' \(.*\): give its name with --tpu=NAME"):
        strategy.open_distribution("tpu", {})


def test_devices_of_a_worker_take_equal_parts_of_its_batch():
    batches = tf.data.Dataset.from_tensors((np.arange(12).reshape(6, 2), np.arange(6)))
    parts = list(batches.flat_map(lambda *parts: strategy._divided(parts, 3)))
    assert [part[1].numpy().tolist() for part in parts] == [[0, 1], [2, 3], [4, 5]]
    assert parts[2][0].numpy().tolist() == [[8, 9], [10, 11]]


def test_the_learning_rate_follows_the_batch(capsys):
    settings = Settings(batch_size=384, learning_rate="auto").for_images(4000)
    assert settings.learning_rate == 0.1875
    assert "The learning rate is 0.1875: 0.5 for 1024 images, in proportion to 384." in capsys.readouterr().out


def test_choices_of_tf_keras_are_those_of_the_flag():
    assert {*keras_choice.NEED_TF_KERAS} < {*RunOptions.__dataclass_fields__["strategy"].metadata["choices"]}
