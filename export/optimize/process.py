"""Runs the worker, and ends it if a step takes too long."""

import json
import os
import pathlib
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import BinaryIO

TIMED_OUT = -1000  # in place of an exit status


def work(model: bytes, arguments: list[str], limit: Callable[[str], float], deadline: float) -> tuple[int, list[dict], bytes]:
    """Runs the worker and returns its exit status, the lines of its report and the optimized model.

    Args:
      model: goes to its stdin.
      arguments: of the worker.
      limit: (the name of a step) -> seconds that it may take.
      deadline: in seconds of `time.monotonic`, for all steps.
    """
    root = str(pathlib.Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, sys.path)])}
    command = [sys.executable, "-c", "from export.optimize import worker; worker.main()", *arguments]
    with tempfile.TemporaryFile() as source:
        source.write(model)
        source.seek(0)
        pipes = {"stdin": source, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, env=environment, **pipes) as process:
            try:
                answer, in_time = _read(process.stdout, limit, deadline)
            except BaseException:
                process.kill()
                raise
            if not in_time:
                process.kill()
    report, _, content = answer.partition(b"\0")
    lines = [json.loads(line) for line in report.splitlines(keepends=True) if line.endswith(b"\n")]
    return process.returncode if in_time else TIMED_OUT, lines, content


def _read(pipe: BinaryIO, limit: Callable[[str], float], deadline: float) -> tuple[bytes, bool]:
    """Returns the whole answer, and whether it came in time."""
    answer, read, until = bytearray(), 0, deadline
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            left = until - time.monotonic()
            if left <= 0 or not selector.select(left):
                return bytes(answer), False
            chunk = os.read(pipe.fileno(), 1 << 16)
            if not chunk:
                return bytes(answer), True
            answer += chunk
            # Each line that begins a step sets the time until the next one. Behind the zero byte comes the model.
            while (end := answer.find(b"\n", read)) >= 0 and b"\0" not in answer[read:end]:
                step = json.loads(answer[read:end]).get("pass")
                until = deadline if step is None else min(deadline, time.monotonic() + limit(step))
                read = end + 1
                if until <= time.monotonic():
                    return bytes(answer[:read]), False
