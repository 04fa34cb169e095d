"""A run that is killed at any moment goes on with the same command and ends with the same weights."""

import pathlib
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from photos import write_photos

from shufflenet_tf.errors import UserError
from shufflenet_tf.training import checkpoint

ROOT = pathlib.Path(__file__).resolve().parents[2]


def command(photos: pathlib.Path, output: pathlib.Path) -> list[str]:
    flags = {
        "dataset": f"folder:{photos}",
        "output_dir": output,
        "model": "shufflenet_v1_0.25x_g2",
        "image_size": 32,
        "batch_size": 8,
        "steps": 30,
        "steps_per_epoch": 7,
        "checkpoint_steps": 2,
        "ema": 0.9,
        "learning_rate": 0.05,
    }
    switches = ["--deterministic", "--notensorboard", "--nosaved_model"]
    script = (
        "import sys, train_main\n"
        "from shufflenet_tf.models import v1\n"
        "v1.REPEATS = (1, 1, 1)  # for speed: every process traces the network anew\n"
        "sys.exit(train_main.run(sys.argv))\n"
    )
    return [sys.executable, "-c", script, *(f"--{k}={v}" for k, v in flags.items()), *switches]


def start(photos, output) -> subprocess.Popen:
    return subprocess.Popen(command(photos, output), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)


def wait_until(process: subprocess.Popen, condition) -> None:
    """Polls without pause, so as to meet the short moment in which a file is being written."""
    deadline = time.monotonic() + 240
    while not condition():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline, "the run has not come so far"


def step_of(output: pathlib.Path) -> int:
    progress = checkpoint.read_progress(output)
    return progress.step if progress else 0


@pytest.mark.long
def test_a_run_that_is_killed_and_stopped_ends_with_equal_weights(tmp_path):
    photos = write_photos(tmp_path / "photos")
    uninterrupted = start(photos, tmp_path / "whole")
    output = tmp_path / "killed"
    dice = random.Random(0)
    for writing in (True, False, True):
        reached = step_of(output)
        process = start(photos, output)
        # A checkpoint later than the last one, then: killed in the middle of writing the next one, or asked to stop anywhere.
        wait_until(process, lambda reached=reached: step_of(output) > reached)
        if writing:
            wait_until(process, lambda: any(output.glob(".checkpoint.*")))
        else:
            time.sleep(dice.random() * 0.3)
        process.send_signal(signal.SIGKILL if writing else signal.SIGTERM)
        status = process.wait()
        if not writing:
            assert status == 75
            assert f"Stopped by SIGTERM at step {step_of(output)}: the same command goes on" in process.stdout.read()
        assert reached < step_of(output) <= 30
    final = start(photos, output)
    assert final.wait(240) == 0, final.stdout.read()
    text = final.stdout.read()
    assert f"of the run in {output}" in text or step_of(output) == 30
    assert uninterrupted.wait(240) == 0, uninterrupted.stdout.read()

    whole, killed = (np.load(tmp_path / name / checkpoint.NAME) for name in ("whole", "killed"))
    assert set(whole.files) == set(killed.files)
    for name in set(whole.files) - {"progress"}:
        np.testing.assert_array_equal(whole[name], killed[name], err_msg=name)
    histories = [checkpoint.read_progress(tmp_path / name).history for name in ("whole", "killed")]
    for a, b in zip(*histories, strict=True):
        assert {k: v for k, v in a.items() if k != "seconds"} == {k: v for k, v in b.items() if k != "seconds"}
    assert not list(output.glob(".*")), "left-overs of interrupted writing"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"nonsense" * 100])
def test_a_damaged_checkpoint_is_told_in_one_sentence(tmp_path, content):
    (tmp_path / checkpoint.NAME).write_bytes(content)
    with pytest.raises(UserError, match=r"not a readable \.npz file.*--overwrite"):
        checkpoint.read_progress(tmp_path)
