"""Small images train on one thread an operation, but only where that was measured to be faster, and nobody has chosen."""

import os

import pytest
import tensorflow as tf

from shufflenet_tf import startup
from shufflenet_tf.training import plan, threads


@pytest.fixture
def set_to(monkeypatch) -> list[int]:
    """The numbers of threads that TensorFlow was told, in a program of ours on two processors."""
    told = []
    monkeypatch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", told.append)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 5}, raising=False)
    monkeypatch.setattr(startup, "in_program", lambda: True)
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    return told


@pytest.mark.parametrize(("size", "told"), [((64, 64), [1]), ((128, 128), [1]), ((96, 160), []), ((224, 224), [])])
def test_small_images_on_two_processors(set_to, size, told):
    threads.choose(size)
    assert set_to == told


@pytest.mark.parametrize("processors", [1, 4, 64])
def test_other_machines_are_tensorflows_choice(set_to, monkeypatch, processors):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(processors)), raising=False)
    threads.choose((64, 64))
    assert set_to == []


@pytest.mark.parametrize("onednn", ["0", None])
def test_other_kernels_are_left_alone(set_to, monkeypatch, onednn):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    if onednn:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", onednn)
    threads.choose((64, 64))
    assert set_to == []


def test_a_library_and_a_person_who_has_chosen_are_left_alone(set_to, monkeypatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "2")
    threads.choose((64, 64))
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")
    monkeypatch.setattr(startup, "in_program", lambda: False)
    threads.choose((64, 64))
    assert set_to == []


def test_once_tensorflow_has_begun_it_is_too_late(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    monkeypatch.setattr(startup, "in_program", lambda: True)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    float(tf.constant(1.0) + 1)
    threads.choose((64, 64))
    assert float(tf.constant(1.0) + 1) == 2


@pytest.mark.parametrize(
    ("image_size", "given", "expected"),
    [
        (None, {}, (224, 224)),
        (["96", "160"], {"choose": True}, (96, 160)),
        (None, {"choose": True, "weights": "none"}, (128, 128)),
        (None, {"choose": True, "weights": "imagenet"}, (256, 256)),
        (None, {"choose": True, "weights": "imagenet", "budget": "8ms"}, (224, 224)),
    ],
)
def test_the_size_is_known_before_the_dataset_is_open(image_size, given, expected):
    assert plan.expected_size(image_size, given) == expected
