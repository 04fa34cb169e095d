"""Disturbs training, export and quantization-aware training at random moments, and checks what is left.

  python -m benchmarks.faults --seed=3 --count=20                  20 moments of each program; needs Linux and root
  python -m benchmarks.faults --seed=3 --only=qat --first=7 --count=1

The disk fills, the output folder turns read-only, memory ends, or SIGTERM, SIGINT or SIGKILL comes: at a moment of a
run's time, or just before one of its file operations. Then every file that was complete before must be complete still, no
process may end with a traceback, only one that was killed may leave temporary files, and the same command must go on to the
end and leave none. The network of training and export is a ShuffleNetV2 of three units, so that most of the time is spent
on what is written; TensorFlow is loaded once, and runs are forks.
"""

import argparse
import contextlib
import ctypes
import hashlib
import json
import os
import pathlib
import random
import resource
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import zipfile
from collections.abc import Iterator, Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]
FAULTS = ("full", "readonly", "memory", "SIGTERM", "SIGINT", "SIGKILL")
DISK = "64m"
PATIENCE = 600  # seconds of a run
_TRAIN = (
    "--network=shufflenet_v2_0.5x --image_size=32 --batch_size=4 --steps=6 --steps_per_epoch=2 --checkpoint_steps=1 "
    "--learning_rate=0.01 --notensorboard --nosaved_model"
)
_EXPORT = "--kinds=float32,int8 --ptq=minmax --calibration_images=4 --test_images=4 --runs=1"
_QAT = "--steps=4 --batch_size=4 --steps_per_epoch=2 --checkpoint_steps=1 --calibration_images=4 --test_images=4 --runs=1"


class Broken(AssertionError):
    """What must not happen; the message says what."""


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


# ---- in the child ----


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


class Striker:
    """Makes the fault happen in this process at its moment, once."""

    def __init__(self, fault: str, disk: pathlib.Path, note: pathlib.Path):
        self.fault, self.disk, self.note, self.left, self.struck = fault, disk, note, -1, False

    def at(self, kind: str, moment: float) -> None:
        if kind == "time":
            timer = threading.Timer(moment, self.strike)
            timer.daemon = True
            timer.start()
        else:
            self.left = int(moment)
            sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple) -> None:
        if self.struck or event not in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"):
            return
        if str(self.disk / "out") in os.fsdecode(arguments[0] if isinstance(arguments[0], str | bytes) else str(arguments[0])):
            self.left -= 1
            if self.left < 0:
                self.strike()

    def strike(self) -> None:
        if self.struck:
            return
        self.struck = True
        self.note.write_text(json.dumps(complete_files(self.disk / "out")))
        match self.fault:
            case "full":
                with contextlib.suppress(OSError), open(self.disk / "ballast", "wb", buffering=0) as file:
                    while True:
                        file.write(bytes(4096))
            case "readonly":
                threading.Thread(target=_turn_read_only, args=[self.disk], daemon=True).start()
                time.sleep(0.2)
            case "memory":
                pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
                resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (1 << 20),) * 2)
            case name:
                os.kill(os.getpid(), getattr(signal, name))


def _turn_read_only(disk: pathlib.Path) -> None:
    """Waits for a moment in which no file is open for writing."""
    while subprocess.run(["mount", "-o", "remount,ro", disk], capture_output=True).returncode:
        time.sleep(0.001)


# ---- in the parent ----


def complete_files(folder: pathlib.Path) -> dict[str, str]:
    """Returns the hashes of the files that are no temporary ones and no logs, by path."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and "tensorboard" not in file.parts]
    return {str(file.relative_to(folder)): _hash(file) for file in files if not _is_temporary(file.relative_to(folder))}


def _hash(file: pathlib.Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _is_temporary(path: pathlib.Path) -> bool:
    return any(part.startswith(".") or ".tmp" in part for part in path.parts)


def check_files(folder: pathlib.Path, before: dict[str, str]) -> None:
    """Raises Broken if a file of `before` is gone, or any file is not whole."""
    import numpy as np
    from PIL import Image

    from export.flatbuffer import validation

    now = complete_files(folder)
    if lost := before.keys() - now.keys():
        raise Broken(f"{min(lost)} is gone")
    for name in now:
        file = folder / name
        try:
            match file.suffix:
                case ".npz":
                    with np.load(file) as arrays:
                        dict(arrays)
                case ".json":
                    json.loads(file.read_text(encoding="utf-8"))
                case ".tflite":
                    validation.parse(file.read_bytes())
                case ".keras":
                    if zipfile.ZipFile(file).testzip():
                        raise ValueError("a bad checksum")
                case ".png":
                    Image.open(file).load()
                case ".csv":
                    rows = file.read_text().splitlines()
                    if len({row.count(",") for row in rows}) != 1:
                        raise ValueError("a row is cut off")
                case ".md" | ".txt":
                    if not file.read_text(encoding="utf-8").endswith("\n"):
                        raise ValueError("it has no last line")
        except Exception as error:
            raise Broken(f"{name} is not whole: {error}") from None


def step_of(folder: pathlib.Path) -> int:
    """Returns the step of a run's checkpoint; 0: it has none."""
    import numpy as np

    for file in folder.glob("*checkpoint*.npz"):
        with np.load(file) as arrays:
            return json.loads(bytes(arrays["progress"]).decode())["step"]
    return 0


def fork(program: str, work: pathlib.Path, output: pathlib.Path, log: pathlib.Path, strike=None) -> int:
    """Runs a program in a child process and returns its exit status; negative: the signal that ended it."""
    if not (child := os.fork()):
        status = 1
        try:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # it ends with its parent
            with open(log, "wb") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.chdir(work)
            if strike:
                strike()
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
        if status > 0 and (left := [file for file in output.rglob("*") if _is_temporary(file.relative_to(output))]):
            raise Broken(f"status {status}, and {left[0].name} is left")
        step = step_of(output)
        again = fork(program, work, output, log)
        text_again = log.read_text(errors="replace")
        if again:
            raise Broken(f"the same command ended with {again}: {text_again.strip().splitlines()[-1:]}")
        check_files(output, before)
        if left := [file for file in output.rglob("*") if _is_temporary(file.relative_to(output))]:
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
                if event in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir") and "disk/out" in str(arguments[0]):
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--count", type=int, default=20, help="moments of each program")
    parser.add_argument("--first", type=int, default=0, help="number of the first moment")
    parser.add_argument("--only", default="train,export,qat", help="programs, separated by commas")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
    args = parser.parse_args()

    import shufflenet_tf.loading  # noqa: F401

    began, broken, done = time.monotonic(), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        wanted = args.only.split(",")
        extent = prepare(work, ["train", *wanted] if "export" in wanted and "train" not in wanted else wanted)
        print({name: f"{seconds:.0f} s, {count} file operations" for name, (seconds, count) in extent.items()}, flush=True)
        for number in range(args.first, args.first + args.count):
            for program in wanted:
                if time.monotonic() - began > args.seconds:
                    break
                dice = random.Random(f"{args.seed}/{program}/{number}")
                fault, kind = FAULTS[number % len(FAULTS)], dice.choice(("time", "operation", "operation"))
                moment = dice.random() * extent[program][0] if kind == "time" else dice.randrange(extent[program][1])
                title = f"{program} {number}: {fault} at {kind} {moment:.4g}"
                try:
                    print(f"{title}: {disturb(program, fault, kind, moment, work)}", flush=True)
                except Broken as error:
                    broken += 1
                    print(f"{title}: BROKEN: {error}", flush=True)
                done += 1
    print(f"seed {args.seed}: {done} moments, {broken} broken, {time.monotonic() - began:.0f} s")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
