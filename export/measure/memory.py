"""Measures the memory of a .tflite model in a separate process, which also contains crashes."""

import os
import pathlib
import subprocess
import sys

from shufflenet_tf.errors import UserError

TIMEOUT = 300  # seconds

# The child process doesn't import this project, because the project loads TensorFlow, which takes a hundred times the memory.
_CHILD = """
import sys
from ai_edge_litert.interpreter import Interpreter

def status(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field))

measurable = True
try:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # resets the peak
    before = status("VmRSS")
except OSError:
    measurable = False
try:
    try:
        sys.argv[1].encode()
        source = {"model_path": sys.argv[1]}
    except UnicodeEncodeError:  # LiteRT refuses such paths
        source = {"model_content": open(sys.argv[1], "rb").read()}
    interpreter = Interpreter(**source, num_threads=int(sys.argv[2]))
    interpreter.allocate_tensors()
    for _ in range(2):
        interpreter.invoke()
except (ValueError, RuntimeError) as error:
    sys.exit((str(error).strip().splitlines() or [type(error).__name__])[0])
print("peak", status("VmHWM") - before if measurable else -1)
"""


def peak(path: str | os.PathLike, threads: int = 1) -> int | None:
    """Returns the growth in bytes of a process that opens and runs a .tflite file.

    This is the peak of resident memory minus the initial resident memory: the file's pages, weights packed by the delegate,
    the activation arena, and the runtime's code in use.

    Args:
      path: the file.
      threads: number of interpreter threads.

    Returns:
      Bytes; None if the system doesn't report it (Linux's /proc is required).

    Raises:
      UserError: LiteRT can't run the file, or crashes or hangs on it.
    """
    command = [sys.executable, "-c", _CHILD, os.fspath(pathlib.Path(path).resolve()), str(threads)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise UserError(f"{os.fspath(path)} did not finish two runs within {TIMEOUT} s: give a faster model.") from None
    words = done.stdout.split()
    if done.returncode == 0 and words[-2:-1] == ["peak"]:
        kibibytes = int(words[-1])
        return None if kibibytes < 0 else kibibytes * 1024
    reason = "it crashes" if done.returncode < 0 else (done.stderr.strip().splitlines() or ["without a reason"])[-1].rstrip(".")
    raise UserError(f"{os.fspath(path)} can't be run by LiteRT ({reason}): give a whole .tflite file.")
