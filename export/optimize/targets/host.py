"""The target of this very machine: measured once, kept by processor and version of the runtime."""

import importlib.metadata
import os
import pathlib
import platform
import re
import sys
import time
from collections.abc import Callable

import numpy as np

from export.flatbuffer import runtime
from export.optimize.targets import HOST, InvalidTarget, Target
from export.optimize.targets.fitting import Fit, fit
from export.optimize.targets.specimens import specimens
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import atomic_path, check_writable

_ROUNDS = 12  # through all specimens, so that a busy moment does not meet all runs of one
_SECONDS = 0.03  # of timed runs a specimen and round
_RUNS = (3, 100)  # of a specimen in a round, at least and at most
_QUANTILE = 0.1  # of its times: what runs take on an undisturbed machine, without hanging on one lucky run
_SYNCHRONIZATION = 1.4  # microseconds at the end of each operator that threads share, measured on an x86 server
Progress = Callable[[int, int, str], None]


def litert_version() -> str:
    """Returns the version of the runtime, such as "2.3.0"."""
    return importlib.metadata.version("ai-edge-litert")


def processor() -> str:
    """Returns the processor's name, with the instructions that decide which kernels run."""
    name, flags = platform.processor() or platform.machine(), ""
    try:
        info = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return name
    if match := re.search(r"^(?:model name|Processor|Hardware)\s*:\s*(.+)$", info, re.MULTILINE):
        name = match[1].strip()
    elif match := re.search(r"^CPU part\s*:\s*(.+)$", info, re.MULTILINE):
        name = f"{platform.machine()} part {match[1].strip()}"
    known = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")
    if match := re.search(r"^(?:flags|Features)\s*:\s*(.+)$", info, re.MULTILINE):
        present = set(match[1].split())
        flags = " ".join(flag for flag in known if flag in present)
    return f"{name} ({flags})" if flags else name


def cache_path() -> pathlib.Path:
    """Returns where this machine's target is kept."""
    root = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    key = re.sub(r"[^A-Za-z0-9.]+", "-", f"{processor()}-litert-{litert_version()}").strip("-").lower()
    return root / "shufflenet_tf" / "targets" / f"{key}.json"


def measure(progress: Progress = lambda done, total, name: None) -> dict[str, float]:
    """Returns the microseconds of one run of each specimen on this machine, in one thread."""
    runners = []
    chosen = list(specimens())
    for specimen in chosen:
        runners.append(runtime.interpreter(specimen.make()))
        runtime.run(runners[-1], runtime.random_inputs(runners[-1], 1)[0])
    times: dict[str, list[int]] = {specimen.name: [] for specimen in chosen}
    total = _ROUNDS * len(chosen)
    for n in range(total):
        specimen, runner = chosen[n % len(chosen)], runners[n % len(chosen)]
        progress(n, total, specimen.name)
        times[specimen.name] += _timed(runner)
    progress(total, total, "done")
    return {name: float(np.quantile(runs, _QUANTILE)) / 1e3 for name, runs in times.items()}


def _timed(runner) -> list[int]:
    """Returns nanoseconds of runs: of what this thread computes, so that other programs count as little as can be."""
    times: list[int] = []
    runner.invoke()  # its weights are in the cache again
    while len(times) < _RUNS[0] or (len(times) < _RUNS[1] and sum(times) < _SECONDS * 1e9):
        start = time.thread_time_ns()
        runner.invoke()
        times.append(time.thread_time_ns() - start)
    return times


def target(
    times: dict[str, float], name: str = HOST, about: str = "", litert: str = "", gigahertz: float | None = None
) -> tuple[Target, list[Fit]]:
    """Fits a target to what the specimens take, and tells how well it fits.

    Args:
      times: microseconds by specimen, or cycles where `gigahertz` is given.
      name: of the target.
      about: the processor; "": this one.
      litert: version of the runtime; "": this one.
      gigahertz: clock of a processor whose cycles were modelled.

    Raises:
      InvalidTimes: an operator lacks times, or they are none of a processor.
    """
    costs, partition, fits = fit(specimens(), times)
    graphs = f"{sum(specimen.name in times for specimen in specimens())} graphs of one operator each, one thread"
    unit, rate, source = "microseconds", 1e3, f"measured by export.calibrate: {graphs}"
    if gigahertz is not None:
        unit, rate, source = "cycles", gigahertz * 1e6, f"modelled cycles (benchmarks/arm) at {gigahertz} GHz: {graphs}"
    synchronization = _SYNCHRONIZATION * rate / 1e3
    about, litert = about or processor(), litert or litert_version()
    # A phone has to fetch and keep the file; where a server's or a laptop's weights lie matters little.
    growth = 1.05 if gigahertz is not None else 1.5
    return Target(name, about, source, litert, unit, rate, partition, synchronization, costs, growth, gigahertz is None), fits


def this_machine() -> Target:
    """Returns the target of this machine, measured and kept on first use.

    Raises:
      InvalidTarget: the folder that it is kept in can't be written.
    """
    path = cache_path()
    if path.exists():
        try:
            return Target.read(path)
        except InvalidTarget:  # of an earlier version of this project, or damaged
            print(f"What was kept of this machine in {path} can't be used.", file=sys.stderr, flush=True)
    try:
        check_writable(path.parent)
    except UserError:
        raise InvalidTarget(
            f"This machine's target can't be kept in {path.parent}: set XDG_CACHE_HOME to a folder that can be written."
        ) from None
    print(f"Measuring what operators cost on this machine, once (kept in {path}) …", file=sys.stderr, flush=True)
    measured, _ = target(measure(progress_bar))
    with atomic_path(path) as temporary:
        temporary.write_text(measured.to_json(), encoding="utf-8")
    return measured


def warn_of_version(chosen: Target) -> None:
    """Warns on stderr of a target of another version of the runtime, whose kernels may cost otherwise."""
    if chosen.litert.split(".")[:2] != litert_version().split(".")[:2]:
        sentence = f"the target {chosen.name} was made with LiteRT {chosen.litert}, and this is {litert_version()}"
        print(f"Warning: {sentence}: its costs may be off; export.calibrate makes it anew.", file=sys.stderr, flush=True)


def progress_bar(done: int, total: int, name: str) -> None:
    """Shows how far a measurement is, on stderr: as a bar on a terminal, else at each tenth."""
    if sys.stderr.isatty():
        filled = 30 * done // total
        print(f"\r[{'#' * filled}{'.' * (30 - filled)}] {done}/{total} {name[:40]:40}", end="", file=sys.stderr, flush=True)
        if done == total:
            print(file=sys.stderr)
    elif done * 10 // total != (done - 1) * 10 // total or done in (0, total):
        print(f"{done} of {total} done", file=sys.stderr, flush=True)
