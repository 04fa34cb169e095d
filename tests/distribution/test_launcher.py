"""The launcher of a cluster on one machine: output by worker, one end for all, restarts."""

import os
import signal
import sys
import threading
import time

import pytest

from shufflenet_tf.distribution.launcher import Launcher
from shufflenet_tf.training import launch

PREFIX = "import json, os, pathlib, signal, sys, time; index = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"


def launch_script(script, workers=2, **rest):
    lines = []
    status = Launcher([sys.executable, "-c", PREFIX + script], workers, say=lines.append, **rest).run()
    return status, lines


def test_each_worker_has_its_own_number_and_all_output_is_shown():
    status, lines = launch_script("print('out', index); print('é', file=sys.stderr)", 3)
    assert status == 0
    assert sorted(lines) == sorted([*(f"[{i}] out {i}" for i in range(3)), *(f"[{i}] é" for i in range(3))])


def test_workers_share_the_processors():
    _, lines = launch_script("print(os.environ['TF_NUM_INTRAOP_THREADS'], os.environ['TF_USE_LEGACY_KERAS'])", threads=3)
    assert sorted(lines) == ["[0] 3 1", "[1] 3 1"]


@pytest.mark.parametrize("bad", [0, 1])
def test_one_that_ends_badly_ends_all(bad):
    status, lines = launch_script(f"sys.exit(2) if index == {bad} else time.sleep(600)")
    assert status == 2
    assert lines == [f"Worker {bad} ended with status 2: the others are ended too."]


def test_without_restarts_a_killed_one_ends_all():
    status, lines = launch_script("os.kill(os.getpid(), 9) if index else time.sleep(600)")
    assert status == 128 + signal.SIGKILL
    assert "was killed by SIGKILL" in lines[0]


@pytest.mark.parametrize("how", ["os.kill(os.getpid(), 9)", "sys.exit(75)"])
def test_all_start_again_after_one_was_lost(how, tmp_path):
    script = f"mark = pathlib.Path({str(tmp_path)!r}) / str(index)\n"
    script += f"if not mark.exists():\n  mark.touch()\n  if index: {how}\n  time.sleep(600)\nprint('again')"
    status, lines = launch_script(script, restarts=2)
    assert status == 0
    assert sorted(lines[-2:]) == ["[0] again", "[1] again"]
    assert "Restart 1 of 2: all workers go on from the last checkpoint." in lines


def test_mistakes_are_not_repeated():
    status, lines = launch_script("sys.exit(2)", restarts=5)
    assert status == 2 and not any("Restart" in line for line in lines)


def test_sigterm_reaches_all_workers(tmp_path):
    script = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\nprint('ready', flush=True)\ntime.sleep(600)"
    lines = []
    launcher = Launcher([sys.executable, "-c", PREFIX + script], 2, restarts=3, say=lines.append)

    def stop():
        while len(lines) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    assert launcher.run() == 75
    assert not any("Restart" in line for line in lines)


@pytest.mark.parametrize(
    "arguments, sentence", [([], "write them behind --"), (["--", "v2.flags"], "'v2.flags' is not a flag of train_main.py")]
)
def test_what_is_wrong_with_the_command_is_one_sentence(arguments, sentence, capsys):
    assert launch.run(["launch", *arguments]) == 2
    assert sentence in capsys.readouterr().err
