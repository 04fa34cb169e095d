"""A moment of a run at which it is disturbed, on a small disk of its own."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from benchmarks.faults.checks import Broken, check_files, is_temporary, step_of
from benchmarks.faults.programs import fork
from benchmarks.faults.striker import OPERATIONS, Striker

DISK = "64m"


@contextlib.contextmanager
def disk(work: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a small file system of its own, in memory."""
    place = work / "disk"
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def disturb(program: str, fault: str, kind: str, moment: float, work: pathlib.Path) -> str:
    """Disturbs one run, then gives the same command again.

    Args:
      program: "train", "export" or "qat".
      fault: one of FAULTS.
      kind: "time": `moment` is in seconds; "operation": before so many file operations.

    Returns:
      What happened, in a few words.

    Raises:
      Broken: something was lost, or the command did not go on.
    """
    log, note = work / "log", work / "note"
    note.unlink(missing_ok=True)
    with disk(work) as place:
        output = place / "out"
        status = fork(program, work, output, log, lambda: Striker(fault, place, note).at(kind, moment))
        text = log.read_text(errors="replace")
        subprocess.run(["mount", "-o", "remount,rw", place], check=True)
        (place / "ballast").unlink(missing_ok=True)
        if not note.exists():
            return "done before its moment"
        before = json.loads(note.read_text())
        if "Traceback (most recent call last)" in text:
            raise Broken(f"it ended with a traceback: {text.splitlines()[-1]}")
        check_files(output, before)
        left = [file for file in output.rglob("*") if is_temporary(file.relative_to(output))]
        if status > 0 and left and fault != "readonly":  # nothing can be removed from a folder that is read-only
            raise Broken(f"status {status}, and {left[0].name} is left")
        step = step_of(output)
        again = fork(program, work, output, log)
        text_again = log.read_text(errors="replace")
        if again:
            raise Broken(f"the same command ended with {again}: {text_again.strip().splitlines()[-1:]}")
        check_files(output, before)
        if left := [file for file in output.rglob("*") if is_temporary(file.relative_to(output))]:
            raise Broken(f"{left[0].name} is left in the end")
        said = (text.strip().splitlines() or [""])[-1][-90:]
    return f"status {status} at step {step}, then done; {said!r}"


def prepare(work: pathlib.Path, programs: Sequence[str]) -> dict[str, tuple[float, int]]:
    """Draws photos, trains a network undisturbed, and returns each program's seconds and file operations."""
    import numpy as np
    from PIL import Image

    dice = np.random.default_rng(0)
    for number in range(24):
        folder = work / "photos" / "abc"[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(dice.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / f"{number}.png")
    if not (child := os.fork()):  # the parent must not start TensorFlow's threads, which forks would lack
        import shufflenet_tf as st
        from shufflenet_tf.weights import canonical

        canonical.save(st.create_model("shufflenet_v2_0.5x", classes=3, input_shape=(32, 32, 3)), work / "whole.npz")
        os._exit(0)
    os.waitpid(child, 0)
    extent = {}
    for program in programs:
        counted = work / "counted"

        def count(counted=counted) -> None:
            counted.write_bytes(b"")

            def hook(event: str, arguments: tuple) -> None:
                if event in OPERATIONS and "disk/out" in str(arguments[0]):
                    os.write(handle, b".")

            handle = os.open(counted, os.O_WRONLY)
            sys.addaudithook(hook)

        with disk(work) as place:
            began = time.monotonic()
            if status := fork(program, work, place / "out", work / "log", count):
                raise Broken(f"{program} fails undisturbed with {status}: {(work / 'log').read_text()[-1000:]}")
            extent[program] = time.monotonic() - began, counted.stat().st_size
            check_files(place / "out", {})
            if program == "train":
                subprocess.run(["cp", "-r", place / "out", work / "run"], check=True)
    return extent
