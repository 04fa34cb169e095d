"""The measuring process: all engines in one Python without TensorFlow; each is checked before it is timed.

The program runs it once per engine to convert, and once per network and number of threads to time all engines:
  PYTHON -m benchmarks.peers.measure REQUEST.json ANSWER.json
"""

import gc
import importlib.metadata
import json
import os
import pathlib
import random
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.peers.engines import ENGINES, Job, Ready

# Maximum difference from Keras in float32: float32 differs by the order of summation; a wrong network exceeds int8's limit.
LIMITS = {"float32": 1e-4, "int8": 0.5}
# Seconds before a turn with several threads: the previous engine's threads keep spinning for a while.
PAUSE = 0.02


class NoEngineError(Exception):
    """The reason why an engine is not timed, for the table."""


def difference(logits: np.ndarray, expected: np.ndarray) -> float:
    """Returns the norm of the difference of two outputs, relative to that of the expected one; infinite without numbers."""
    logits, expected = np.ravel(logits).astype(np.float64), np.ravel(expected).astype(np.float64)
    if logits.shape != expected.shape or not np.isfinite(logits).all():
        return np.inf
    return float(np.linalg.norm(logits - expected) / np.linalg.norm(expected))


def ready(name: str, job: Job) -> tuple[Ready, float]:
    """Loads an engine and checks its output.

    Returns:
      The engine, and the difference of its logits from Keras in float32.

    Raises:
      NoEngineError: it isn't installed, fails, or computes something else.
    """
    try:
        engine = ENGINES[name].load(job)
        engine.run()
        distance = difference(engine.logits(), np.load(job.folder / "logits.npy"))
    except Exception as error:  # third-party code can raise anything; report it in the table
        raise NoEngineError(reason(error)) from error
    if not distance <= LIMITS[job.precision]:
        raise NoEngineError(
            f"refused: its logits differ from Keras's by {distance:.2g}; the limit is {LIMITS[job.precision]:g}"
        )
    return engine, distance


def reason(error: Exception) -> str:
    """Returns an exception as one line."""
    if isinstance(error, ModuleNotFoundError):
        return f"not installed: there is no module {error.name}"
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0][:200]}"


def converted(name: str, job: Job) -> dict[str, Any]:
    """Converts the network for an engine and checks it, in a separate process that may crash."""
    try:
        ENGINES[name].convert(job)
    except Exception as error:
        return {"reason": reason(error)}
    try:
        ready(name, job)
    except NoEngineError as error:
        return {"reason": str(error)}
    return {}


def timed(rows: list[tuple[str, str]], folder: pathlib.Path, threads: int, runs: int) -> list[dict[str, Any]]:
    """Times engines in turns, in a new order each round.

    Args:
      rows: (engine, precision) each.
      folder: folder of the network.
      threads: threads of each engine.
      runs: timed runs of each; an untimed run before each brings its weights into the caches.

    Returns:
      For each row, wall times and CPU times in milliseconds, the difference and the version; or the reason why there are
      none.
    """
    answers: list[dict[str, Any]] = []
    turns: list[tuple[Ready, list[float], list[float]]] = []
    for name, precision in rows:
        try:
            engine, distance = ready(name, Job(folder, precision, threads))
        except NoEngineError as error:
            answers.append({"reason": str(error)})
            continue
        answers.append({"wall": [], "cpu": [], "difference": distance, "version": version(ENGINES[name].package)})
        turns.append((engine, answers[-1]["wall"], answers[-1]["cpu"]))
    gc.collect()
    gc.disable()
    rng = random.Random(0)
    for round_ in range(-2, runs):
        rng.shuffle(turns)
        for engine, wall, cpu in turns:
            time.sleep(PAUSE if threads > 1 else 0)
            engine.run()
            computed, passed = time.process_time_ns(), time.perf_counter_ns()
            engine.run()
            passed, computed = time.perf_counter_ns() - passed, time.process_time_ns() - computed
            if round_ >= 0:
                wall.append(passed / 1e6)
                cpu.append(computed / 1e6)
    return answers


def version(package: str) -> str:
    """Returns an installed package's version, or an empty text."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def main(request: Mapping[str, Any]) -> Any:
    """Serves one request and returns the answer."""
    folder, rows = pathlib.Path(request["folder"]), [tuple(row) for row in request["rows"]]
    if request["task"] == "convert":
        ((name, precision),) = rows
        return converted(name, Job(folder, precision, request["threads"]))
    return timed(rows, folder, request["threads"], request["runs"])


if __name__ == "__main__":
    answer = main(json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")))
    pathlib.Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
    os._exit(0)  # with many engines in one process, a normal exit can crash
