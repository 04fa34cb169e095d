"""Feeds damaged and hostile files to every reader of files, and reports what is no refusal in a sentence.

  make fuzz                                       20,000 inputs, or FUZZ_SECONDS=600
  python -m benchmarks.fuzz --seed=7 --count=1000 --only=pth,npz

Each input is made from the seed, the reader's name and its number alone. A finding is an exception other than a refusal, a
crash, more than 20 s of the processor or 60 s of waiting, more than 2 GB, a process started, a file written, or a pickle
loaded. Its input is saved, with the command that repeats it. The status is 1 if there are findings.
"""

import argparse
import contextlib
import math
import mmap
import os
import pathlib
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

BATCH = 250  # inputs a process
HANG, MEMORY = 20, 2 << 30  # seconds of the processor for an input, bytes of a process
STUCK = 60  # seconds of waiting for nothing: no thread runs, or would run if the machine had time
OPTIMIZE_STUCK = 900  # the optimizer ends its own worker when it takes too long
_POLL = 0.05  # seconds
# Events of Python's audit that no reader has a reason for.
FORBIDDEN = (
    "os.system",
    "subprocess.Popen",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "pty.spawn",
    "pickle.find_class",
)
FORBIDDEN += (
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.chmod",
    "shutil.",
    "socket.",
    "ctypes.",
)


def make(name: str, seed: int, number: int) -> bytes:
    """Returns the input `number` of a subject."""
    from benchmarks.fuzz.subjects import SUBJECTS

    return SUBJECTS[name].input(random.Random(f"{seed}/{name}/{number}"))


class Audit:
    """Notes what a reader does that none should do."""

    def __init__(self):
        from shufflenet_tf import tflite_trial

        self._trial = tflite_trial.COMMAND
        self.watching, self.events = False, []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple) -> None:
        if self.watching:
            written = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
            # The product tries a .tflite file in a process of its own, always by the same code.
            is_trial = event == "subprocess.Popen" and tuple(arguments[1][:3]) == self._trial
            nameless = arguments and arguments[0] in (os.devnull, tempfile.gettempdir())  # the latter: a file without a name
            if (event.startswith(FORBIDDEN) and not is_trial) or (written and not nameless):
                self.events.append(f"{event}{arguments!r}"[:200])


def run_one(name: str, content: bytes, path: pathlib.Path, audit: Audit) -> str:
    """Gives one input to the product and returns what is wrong with what happened; "": nothing."""
    from benchmarks.fuzz.subjects import REFUSALS, SUBJECTS

    subject = SUBJECTS[name]
    path.write_bytes(content)
    audit.events.clear()
    audit.watching = not subject.writes
    problem = ""
    try:
        subject.read(path)
    except REFUSALS as error:
        if "\n" in str(error) or len(str(error)) > 2000:
            problem = f"a refusal of {len(str(error))} letters or several lines: {str(error)[:300]}"
    except BaseException:
        problem = traceback.format_exc(limit=-6)
    audit.watching = False
    if audit.events:
        problem += f"\nit did {audit.events[:3]}"
    if pathlib.Path("trace").exists():
        problem += "\ncode of the file was run: it left a trace"
    return problem.strip()


def _child(jobs: list[tuple[str, int]], seed: int, shared: mmap.mmap, report: int, limit: bool) -> None:
    audit = Audit()
    if limit:
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open(os.devnull, "w") as nowhere, tempfile.TemporaryDirectory() as scratch:
        for stream in (1, 2):  # libjpeg warns
            os.dup2(nowhere.fileno(), stream)
        os.chdir(scratch)
        for position, (name, number) in enumerate(jobs):
            shared[:8] = struct.pack("<q", position)
            problem = run_one(name, make(name, seed, number), pathlib.Path(scratch, "input"), audit)
            if problem:
                os.write(report, f"{position}\0{problem[-3000:]}\0\0".encode("utf-8", "replace"))
        os.chdir("/")
    shared[:8] = struct.pack("<q", len(jobs))


def run_batch(jobs: list[tuple[str, int]], seed: int) -> tuple[int, dict[int, str]]:
    """Runs inputs in a child process.

    Returns:
      How many were done, counting one that ended the process; and the problems, by position.
    """
    shared = mmap.mmap(-1, 8)
    read_end, write_end = os.pipe2(os.O_NONBLOCK)
    if not (child := os.fork()):
        status = 1
        try:
            os.setpgid(0, 0)
            _child(jobs, seed, shared, write_end, all(name != "optimize" for name, _ in jobs))
            status = 0
        finally:
            os._exit(status)
    os.close(write_end)
    answer, last, waited, used, ended, now = bytearray(), -1, 0.0, 0.0, "", time.monotonic()
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        try:
            while chunk := os.read(read_end, 1 << 16):
                answer += chunk
        except BlockingIOError:
            pass
        if pid:
            ended = "" if status == 0 else f"it ended the process with status {status}"
            break
        position = struct.unpack("<q", shared[:8])[0]
        if position != last:
            last, waited, used = position, 0.0, _processor_seconds(child)
        before, now = now, time.monotonic()
        waited += min(now - before, 2 * _POLL) * _is_waiting(child)  # this process may have had to wait for the processor
        slow = position < len(jobs) and jobs[position][0] == "optimize"
        if waited > (limit := OPTIMIZE_STUCK if slow else STUCK):
            ended = f"it waited for more than {limit} s"
        elif not slow and _processor_seconds(child) - used > HANG:
            ended = f"it took more than {HANG} s of the processor"
        if ended:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            break
        time.sleep(_POLL)
    os.close(read_end)
    done = struct.unpack("<q", shared[:8])[0]
    problems = {}
    for record in answer.split(b"\0\0")[:-1]:
        position, _, problem = record.partition(b"\0")
        problems[int(position)] = problem.decode()
    if ended:
        problems[done] = ended
        done += 1
    return done, problems


def _processor_seconds(process: int) -> float:
    fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _is_waiting(process: int) -> bool:
    """Returns whether no thread of a process runs or could run; on a busy machine, time alone says nothing."""
    for thread in pathlib.Path(f"/proc/{process}/task").glob("*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            if thread.read_text().rpartition(") ")[2][:1] != "S":
                return False
    return True


def jobs_of(names: list[str], first: int, count: int) -> list[tuple[str, int]]:
    """Returns (subject, number) of at least `count` inputs, divided by the subjects' shares."""
    from benchmarks.fuzz.subjects import SUBJECTS

    total = sum(SUBJECTS[name].share for name in names)
    jobs = []
    for name in names:
        jobs += [(name, first + number) for number in range(math.ceil(count * SUBJECTS[name].share / total))]
    return jobs


def save(folder: pathlib.Path, name: str, number: int, seed: int, problem: str) -> None:
    place = folder / f"{name}-{seed}-{number}"
    place.mkdir(parents=True, exist_ok=True)
    (place / "input").write_bytes(make(name, seed, number))
    command = f"python -m benchmarks.fuzz --only={name} --seed={seed} --first={number} --count=1"
    (place / "finding.txt").write_text(f"{command}\n\n{problem}\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0, help="of all inputs")
    parser.add_argument("--count", type=int, default=20_000, help="inputs")
    parser.add_argument("--first", type=int, default=0, help="number of the first input of each reader")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
    parser.add_argument("--only", default="", help="readers, separated by commas; default: all")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("build/fuzz"), help="folder of the findings")
    args = parser.parse_args()

    from benchmarks.fuzz.subjects import SUBJECTS

    names = args.only.split(",") if args.only else list(SUBJECTS)
    if unknown := [name for name in names if name not in SUBJECTS]:
        parser.error(f"there is no reader {unknown[0]!r}: give some of {','.join(SUBJECTS)}.")
    print(f"seed {args.seed}, {args.count:,} inputs for {', '.join(names)}", flush=True)
    for name in names:
        SUBJECTS[name].seeds()  # before the forks, which share them
    began, done, findings = time.monotonic(), dict.fromkeys(names, 0), 0
    jobs = jobs_of(names, args.first, args.count)
    random.Random(args.seed).shuffle(jobs)
    while jobs and time.monotonic() - began < args.seconds:
        batch = jobs[:BATCH]
        count, problems = run_batch(batch, args.seed)
        for name, _ in batch[:count]:
            done[name] += 1
        for position, problem in problems.items():
            name, number = batch[position]
            save(args.output, name, number, args.seed, problem)
            print(f"FINDING {name} {number}: {problem.splitlines()[-1][:200]}", flush=True)
        findings += len(problems)
        jobs = jobs[count:]
    seconds = time.monotonic() - began
    print(", ".join(f"{name} {count:,}" for name, count in done.items()))
    print(f"{sum(done.values()):,} inputs in {seconds:.0f} s, {findings} findings{f', in {args.output}' if findings else ''}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
