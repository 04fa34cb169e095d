"""Rewrites a .tflite file into an equal one that runs faster under LiteRT with XNNPACK.

    from export.optimize import optimize
    result = optimize(pathlib.Path("model.tflite").read_bytes(), threads=1)
    pathlib.Path("fast.tflite").write_bytes(result.model)

The passes are in `passes.py`, each in a module of its own. All work on the file happens in a process of its own, since a
damaged file can crash the interpreter, and with it whoever called it.
"""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

TIMEOUT = 900  # seconds


@dataclasses.dataclass(frozen=True)
class Result:
    """An optimized model.

    Attributes:
      model: the .tflite file.
      steps: (pass, what it did, or why it did nothing), in order.
      before, after: number of operators of each kind.
    """

    model: bytes
    steps: list[tuple[str, str]]
    before: dict[str, int]
    after: dict[str, int]


def optimize(model: bytes, threads: int = 1) -> Result:
    """Returns a model that computes the same, faster.

    Every pass is checked by running the graph before and after it on random inputs, with XNNPACK and without, and undone
    where they differ. What a pass does not understand stays as it is.

    Args:
      model: a .tflite file, float or quantized.
      threads: for how many threads of the interpreter to choose among equal graphs.

    Raises:
      UserError: the bytes are no .tflite file, or one that the interpreter cannot run; or no positive number of threads.
    """
    if threads < 1:
        raise _user_error(f"threads={threads} is no number of threads: give 1 or more.")
    skipped: list[str] = []
    while True:
        status, lines, content = _work(model, threads, skipped)
        if status == 0 and lines and "error" in lines[-1]:
            raise _user_error(f"This file can't be optimized: {lines[-1]['error']}; give a .tflite model that runs.")
        if status == 0:
            return Result(content, [tuple(step) for step in lines[-1]["steps"]], lines[-1]["before"], lines[-1]["after"])
        # The last thing that the process said it was going to do was its end.
        begun = lines[-1].get("pass") if lines else None
        if begun is None or begun in skipped:
            raise _user_error(
                "This file can't be optimized: the interpreter crashes or hangs on it; give a .tflite model that runs."
            )
        skipped.append(begun)


def _work(model: bytes, threads: int, skipped: list[str]) -> tuple[int, list[dict], bytes]:
    """Runs the worker and returns its exit status, the lines of its report and the optimized model."""
    root = str(pathlib.Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, sys.path)])}
    command = [sys.executable, "-c", "from export.optimize import worker; worker.main()", str(threads), *skipped]
    try:
        done = subprocess.run(command, input=model, capture_output=True, env=environment, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return -1, [], b""
    report, _, content = done.stdout.partition(b"\0")
    return done.returncode, [json.loads(line) for line in report.splitlines()], content


def _user_error(sentence: str) -> ValueError:
    # Imported here because the library loads TensorFlow, which optimizing does without.
    from shufflenet_tf.errors import UserError

    return UserError(sentence)
