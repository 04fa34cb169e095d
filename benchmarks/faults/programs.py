"""The disturbed programs, at toy size, each in a fork that finds TensorFlow loaded."""

import ctypes
import os
import pathlib
import resource
import runpy
import signal
import sys
import time
import traceback
from collections.abc import Callable

from benchmarks.faults.checks import Broken

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 3600  # seconds of a run, which takes half a minute where nothing else runs
_TRAIN = (
    "--network=shufflenet_v2_0.5x --image_size=32 --batch_size=4 --steps=6 --steps_per_epoch=2 --checkpoint_steps=1 "
    "--learning_rate=0.01 --notensorboard --nosaved_model"
)
_EXPORT = "--kinds=float32,int8 --ptq=minmax --calibration_images=4 --test_images=4 --runs=1"
_QAT = "--steps=4 --batch_size=4 --steps_per_epoch=2 --checkpoint_steps=1 --calibration_images=4 --test_images=4 --runs=1"


def command(program: str, work: pathlib.Path, output: pathlib.Path) -> tuple[str, list[str]]:
    """Returns a program's module or file and its arguments."""
    photos, model, whole = work / "photos", work / "run", work / "whole.npz"
    match program:
        case "train":
            return str(ROOT / "train_main.py"), [f"--dataset=folder:{photos}", f"--output={output}", *_TRAIN.split()]
        case "export":
            return "export.tflite", [f"--model={model}", f"--output={output}", *_EXPORT.split()]
        case "qat":
            return "export.qat", [f"--model={whole}", f"--dataset={photos}", f"--output={output}", *_QAT.split()]
    raise ValueError(program)


def _run(program: str, work: pathlib.Path, output: pathlib.Path) -> int:
    from shufflenet_tf.models import v2

    if program != "qat":  # which loads models in processes of its own
        v2.REPEATS = (1, 1, 1)
    name, arguments = command(program, work, output)
    sys.argv = [name, *arguments]
    try:
        if name.endswith(".py"):
            runpy.run_path(name, run_name="__main__")
        else:
            runpy.run_module(name, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else bool(end.code)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def fork(
    program: str, work: pathlib.Path, output: pathlib.Path, log: pathlib.Path, before: Callable[[], None] | None = None
) -> int:
    """Runs a program in a child process and returns its exit status; negative: the signal that ended it.

    `before` is called in the child first.
    """
    if not (child := os.fork()):
        status = 1
        try:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # it ends with its parent
            with open(log, "wb") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.signal(signal.SIGINT, signal.default_int_handler)  # which shells ignore for what they run in the background
            os.chdir(work)
            if before:
                before()
            status = _run(program, work, output)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)
    until = time.monotonic() + PATIENCE
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise Broken(f"it took more than {PATIENCE} s")
        time.sleep(0.02)
