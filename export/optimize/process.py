"""Runs the worker, and kills it if a step takes too long."""

import json
import os
import pathlib
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import BinaryIO

from shufflenet_tf.tflite_trial import MEMORY_WORDS

TIMED_OUT, NO_MEMORY = -1000, -1001  # instead of an exit status
_POLL_SECONDS = 0.2


class Stopped(Exception):
    """The work isn't wanted any more."""


def work(
    model: bytes,
    arguments: list[str],
    limit: Callable[[str], float],
    deadline: float,
    stop: threading.Event | None = None,
) -> tuple[int, list[dict], bytes]:
    """Runs the worker and returns its exit status, the lines of its report and the optimized model.

    Args:
      model: the model, sent to the worker's stdin.
      arguments: command-line arguments of the worker.
      limit: maps the name of a step to its time limit in seconds.
      deadline: time limit for all steps, in seconds of `time.monotonic`.
      stop: ends the worker when it is set.

    Raises:
      Stopped: `stop` was set.
    """
    root = str(pathlib.Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, sys.path)])}
    command = [sys.executable, "-c", "from export.optimize import worker; worker.main()", *arguments]
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as complaints:
        source.write(model)
        source.seek(0)
        pipes = {"stdin": source, "stdout": subprocess.PIPE, "stderr": complaints}
        # A session of its own: of Ctrl-C in a terminal, it would end as if a pass had crashed.
        with subprocess.Popen(command, env=environment, start_new_session=True, **pipes) as process:
            try:
                answer, in_time = _read(process.stdout, limit, deadline, stop or threading.Event())
            except BaseException:
                process.kill()
                raise
            if not in_time:
                process.kill()
        status = process.returncode if in_time else TIMED_OUT  # known now that the process has ended
        if status not in (0, TIMED_OUT):
            complaints.seek(max(0, complaints.seek(0, os.SEEK_END) - 10_000))
            said = complaints.read()
            status = NO_MEMORY if any(word in said for word in MEMORY_WORDS) else status
    report, _, content = answer.partition(b"\0")
    lines = [json.loads(line) for line in report.splitlines(keepends=True) if line.endswith(b"\n")]
    return status, lines, content


def _read(pipe: BinaryIO, limit: Callable[[str], float], deadline: float, stop: threading.Event) -> tuple[bytes, bool]:
    """Returns the whole answer, and whether it came in time; raises Stopped if `stop` is set meanwhile."""
    answer, read, until = bytearray(), 0, deadline
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            left = until - time.monotonic()
            if stop.is_set():
                raise Stopped
            if left <= 0:
                return bytes(answer), False
            if not selector.select(min(left, _POLL_SECONDS)):
                continue
            chunk = os.read(pipe.fileno(), 1 << 16)
            if not chunk:
                return bytes(answer), True
            answer += chunk
            # Each line that begins a step sets the time limit until the next one. The model follows the zero byte.
            while (end := answer.find(b"\n", read)) >= 0 and b"\0" not in answer[read:end]:
                step = json.loads(answer[read:end]).get("pass")
                until = deadline if step is None else min(deadline, time.monotonic() + limit(step))
                read = end + 1
                if until <= time.monotonic():
                    return bytes(answer[:read]), False
