"""The programs choose oneDNN's kernels on x86; a user's own process and a user's own choice are left alone."""

import os
import pathlib
import platform
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
X86 = platform.machine().lower() in ("x86_64", "amd64")
# Python runs this in every process that has its folder on the path: it tells at the end what TensorFlow runs with.
SITE = """
import atexit, os, sys

def tell():
    if "tensorflow" in sys.modules:
        from tensorflow.python.util import _pywrap_util_port
        sys.stderr.write(f"\\nonednn={_pywrap_util_port.IsMklEnabled()}\\n")

atexit.register(tell)
"""
PROGRAMS = {
    "train_main": ["train_main.py", "--help"],
    "classify": ["-m", "shufflenet_tf.classify", "--help"],
    "weights": ["-m", "shufflenet_tf.weights", "--help"],
    "export": ["-m", "export.tflite", "--help"],
    "verify": ["-mexport.verify", "--help"],
    "qat": ["-m", "export.qat", "--help"],
    "latency": ["-m", "papers.latency", "--help"],
}
OWN = ["-c", "import shufflenet_tf"]


def onednn(folder: pathlib.Path, arguments: list[str], value: str | None) -> bool:
    """Whether TensorFlow uses oneDNN in such a process."""
    (folder / "sitecustomize.py").write_text(SITE)
    environment = {key: text for key, text in os.environ.items() if key != "TF_ENABLE_ONEDNN_OPTS"}
    environment |= {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    environment |= {"TF_ENABLE_ONEDNN_OPTS": value} if value else {}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, cwd=ROOT)
    (answer,) = [line for line in done.stderr.splitlines() if line.startswith("onednn=")]
    return answer == "onednn=True"


@pytest.mark.skipif(not X86, reason="on other processors TensorFlow decides")
@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_turn_onednn_on(program, tmp_path):
    assert onednn(tmp_path, PROGRAMS[program], None)


def test_a_users_choice_wins(tmp_path):
    assert not onednn(tmp_path, PROGRAMS["train_main"], "0")


def test_a_users_own_process_is_left_alone(tmp_path):
    plain = onednn(tmp_path, ["-c", "import tensorflow"], None)
    assert onednn(tmp_path, OWN, None) == plain
