"""Memory of a .tflite model, measured in a separate process, so that a crash stays there too."""

import os
import pathlib
import subprocess
import sys

from shufflenet_tf.errors import UserError

TIMEOUT = 300  # seconds

# The child knows nothing of this project: TensorFlow, which the project loads, would take a hundred times the memory.
_CHILD = """
import sys
from ai_edge_litert.interpreter import Interpreter

def status(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field))

measurable = True
try:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak so far is forgotten
    before = status("VmRSS")
except OSError:
    measurable = False
try:
    interpreter = Interpreter(model_path=sys.argv[1], num_threads=int(sys.argv[2]))
    interpreter.allocate_tensors()
    for _ in range(2):
        interpreter.invoke()
except (ValueError, RuntimeError) as error:
    sys.exit((str(error).strip().splitlines() or [type(error).__name__])[0])
print("peak", status("VmHWM") - before if measurable else -1)
"""


def peak(path: str | os.PathLike, threads: int = 1) -> int | None:
    """Returns by how many bytes a process grows that opens and runs a .tflite file.

    It's the peak of resident memory less what was resident before: the file's pages, weights packed by the delegate, the
    arena of activations, and the code of the runtime that it uses.

    Args:
      path: the file.
      threads: of the interpreter.

    Returns:
      Bytes; None where the system doesn't tell (it needs Linux's /proc).

    Raises:
      UserError: LiteRT cannot run the file, or crashes or hangs on it.
    """
    command = [sys.executable, "-c", _CHILD, os.fspath(pathlib.Path(path).resolve()), str(threads)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise UserError(f"{os.fspath(path)} has not finished two runs within {TIMEOUT} s: give a model that does.") from None
    words = done.stdout.split()
    if done.returncode == 0 and words[-2:-1] == ["peak"]:
        kibibytes = int(words[-1])
        return None if kibibytes < 0 else kibibytes * 1024
    reason = "it crashes" if done.returncode < 0 else (done.stderr.strip().splitlines() or ["without a reason"])[-1].rstrip(".")
    raise UserError(f"{os.fspath(path)} can't be run by LiteRT ({reason}): give a .tflite file that is whole.")
