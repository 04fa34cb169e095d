"""Several workers train as one does: the same curve, the same exact evaluation, and the same weights after one was killed."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from amount import LONG

from shufflenet_tf.distribution.launcher import Launcher
from shufflenet_tf.training import checkpoint

WORKER = pathlib.Path(__file__).with_name("worker.py")
pytestmark = pytest.mark.long
whole = pytest.mark.skipif(not LONG, reason="takes minutes: only with LONG_TESTS=1, as in make test-all")


def flags(given):
    return [f"{name}={json.dumps(value)}" for name, value in given.items()]


def train_alone(folder, **given):
    folder.mkdir(exist_ok=True)
    variables = os.environ | {"TF_USE_LEGACY_KERAS": "1"}
    subprocess.run([sys.executable, WORKER, folder, *flags(given)], env=variables, check=True)


def train(folder, workers, restarts=0, meanwhile=None, **given):
    """Trains with so many workers, and returns the launcher's status and lines."""
    folder.mkdir(exist_ok=True)
    lines = []
    command = [sys.executable, str(WORKER), str(folder), *flags({"strategy": "multi_worker", **given})]
    launcher = Launcher(command, workers, restarts, say=lines.append)
    if meanwhile:
        threading.Thread(target=meanwhile, daemon=True).start()
    return launcher.run(), lines


def history(folder):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in checkpoint.read_progress(folder).history]


def arrays(folder):
    with np.load(folder / checkpoint.NAME) as file:
        return {name: file[name] for name in file if name != "progress"}


# At a small rate, as rounding grows with each step of a network that is far from trained.
CURVE = {"sync_batch_norm": True, "ema": 0.9, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    train_alone(folder, **CURVE)
    return folder


@pytest.mark.parametrize("workers", [2, pytest.param(3, marks=whole)])
def test_workers_have_the_curve_of_one_process(alone, workers, tmp_path):
    """Up to the order of sums: normalization over the whole batch, augmentation, MixUp, decay and averaged weights too."""
    status, lines = train(tmp_path, workers, **CURVE)
    assert status == 0, "\n".join(lines)
    for row, expected in zip(history(tmp_path), history(alone), strict=True):
        assert row == pytest.approx(expected, rel=1e-3)
        assert row["val_top1"] == pytest.approx(expected["val_top1"], abs=1e-6)  # each of 23 images counts once
    ours, theirs = arrays(tmp_path), arrays(alone)
    for name, array in ours.items():
        np.testing.assert_allclose(array, theirs[name], rtol=1e-3, atol=1e-4, err_msg=name)


def kill(folder, worker, step, number, while_writing=False):
    """Kills a worker when the run has come to a step, or at the next checkpoint while it is being written."""

    def reached():
        progress = checkpoint.read_progress(folder)
        return progress and progress.step >= step

    while not reached():
        time.sleep(0.01)
    while while_writing and not list(folder.glob(".checkpoint.tmp*")):
        pass
    os.kill(int((folder / f"pid{worker}").read_text()), number)


LENGTH = {"steps": 16, "checkpoint_steps": 2, "ema": 0.9}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    status, lines = train(folder, 2, **LENGTH)
    assert status == 0, "\n".join(lines)
    return folder


@pytest.mark.parametrize(
    "worker, while_writing", [(0, True), *(pytest.param(*case, marks=whole) for case in [(0, False), (1, True), (1, False)])]
)
def test_a_killed_worker_leaves_no_trace_in_the_weights(undisturbed, worker, while_writing, tmp_path):
    step = random.Random(f"{worker}{while_writing}").randrange(2, 12)
    status, lines = train(tmp_path, 2, 1, lambda: kill(tmp_path, worker, step, signal.SIGKILL, while_writing), **LENGTH)
    assert status == 0, "\n".join(lines)
    assert any(f"Worker {worker} was killed by SIGKILL" in line for line in lines), "\n".join(lines)
    assert history(tmp_path) == history(undisturbed)
    for name, array in arrays(undisturbed).items():
        np.testing.assert_array_equal(arrays(tmp_path)[name], array, err_msg=name)


def test_sigterm_of_one_worker_stops_all_at_a_checkpoint(undisturbed, tmp_path):
    status, lines = train(tmp_path, 2, 0, lambda: kill(tmp_path, 1, 2, signal.SIGTERM), **{**LENGTH, "checkpoint_steps": 1000})
    assert status == 75, "\n".join(lines)
    stopped = checkpoint.read_progress(tmp_path).step
    assert any(f"Stopped by SIGTERM at step {stopped}" in line for line in lines)
    assert train(tmp_path, 2, **LENGTH)[0] == 0
    for name, array in arrays(undisturbed).items():
        np.testing.assert_allclose(arrays(tmp_path)[name], array, rtol=1e-3, atol=1e-4, err_msg=name)


def test_workers_with_different_flags_end_with_a_sentence(tmp_path):
    command = [sys.executable, "-c", f"import os, runpy, sys; sys.argv[1:] = [{str(tmp_path)!r}, 'strategy=\"multi_worker\"', "]
    command[-1] += '\'seed=\' + str(\'task": {"type": "worker", "index": 1\' in os.environ[\'TF_CONFIG\'] and 1 or 0)]; '
    command[-1] += f"runpy.run_path({str(WORKER)!r}, run_name='__main__')"
    lines = []
    assert Launcher(command, 2, say=lines.append).run() == 2
    assert any("Worker 1 has --seed=1, and the chief --seed=0" in line for line in lines), "\n".join(lines)
