"""The target for this machine: measured once, and cached by processor and LiteRT version."""

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
from shufflenet_tf import home
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import atomic_path, check_writable

_ROUNDS = 12  # through all specimens, so that a busy moment does not affect all runs of one
_SECONDS = 0.03  # duration of the timed runs per specimen and round
_RUNS = (3, 100)  # minimum and maximum runs of a specimen per round
_QUANTILE = 0.1  # quantile of its times: close to an undisturbed machine, without depending on a single lucky run
_SYNCHRONIZATION = 1.4  # microseconds at the end of each operator that threads share, measured on an x86 server
Progress = Callable[[int, int, str], None]


def litert_version() -> str:
    """Returns the version of LiteRT, such as "2.3.0"."""
    return importlib.metadata.version("ai-edge-litert")


def processor() -> str:
    """Returns the processor's name, with the instruction sets that decide which kernels run."""
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
    """Returns the path of this machine's cached target."""
    root = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or home.folder() / ".cache")
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
    """Returns the nanoseconds of runs: this thread's CPU time, so that other programs have little effect."""
    times: list[int] = []
    runner.invoke()  # brings its weights back into the cache
    while len(times) < _RUNS[0] or (len(times) < _RUNS[1] and sum(times) < _SECONDS * 1e9):
        start = time.thread_time_ns()
        runner.invoke()
        times.append(time.thread_time_ns() - start)
    return times


def target(
    times: dict[str, float], name: str = HOST, about: str = "", litert: str = "", gigahertz: float | None = None
) -> tuple[Target, list[Fit]]:
    """Fits a target to the times of the specimens; also returns how well it fits.

    Args:
      times: microseconds by specimen, or cycles if `gigahertz` is given.
      name: name of the target.
      about: description of the processor; "": this one.
      litert: version of LiteRT; "": this one.
      gigahertz: clock rate of a processor whose cycles were modelled.

    Raises:
      InvalidTimes: an operator lacks times, or its times fit no processor.
    """
    costs, partition, fits = fit(specimens(), times)
    graphs = f"{sum(specimen.name in times for specimen in specimens())} graphs of one operator each, one thread"
    unit, rate, source = "microseconds", 1e3, f"measured by export.calibrate: {graphs}"
    if gigahertz is not None:
        unit, rate, source = "cycles", gigahertz * 1e6, f"modelled cycles (benchmarks/arm) at {gigahertz} GHz: {graphs}"
    synchronization = _SYNCHRONIZATION * rate / 1e3
    about, litert = about or processor(), litert or litert_version()
    # A phone has to download and store the file; the size matters little on a server or a laptop.
    growth = 1.05 if gigahertz is not None else 1.5
    return Target(name, about, source, litert, unit, rate, partition, synchronization, costs, growth, gigahertz is None), fits


def this_machine() -> Target:
    """Returns the target of this machine; measures and caches it on first use.

    Raises:
      InvalidTarget: the cache folder can't be written.
    """
    path = cache_path()
    if path.exists():
        try:
            return Target.read(path)
        except InvalidTarget:  # from an earlier version of this project, or damaged
            print(f"The cached target of this machine in {path} can't be used.", file=sys.stderr, flush=True)
    try:
        check_writable(path.parent)
    except UserError:
        raise InvalidTarget(
            f"This machine's target can't be saved in {path.parent}: set XDG_CACHE_HOME to a writable folder."
        ) from None
    print(f"Measuring the cost of operators on this machine, once (saved in {path}) …", file=sys.stderr, flush=True)
    measured, _ = target(measure(progress_bar))
    with atomic_path(path) as temporary:
        temporary.write_text(measured.to_json(), encoding="utf-8")
    return measured


def warn_of_version(chosen: Target) -> None:
    """Warns on stderr if a target was made with another version of LiteRT, whose kernels may have other costs."""
    if chosen.litert.split(".")[:2] != litert_version().split(".")[:2]:
        sentence = f"the target {chosen.name} was made with LiteRT {chosen.litert}, but {litert_version()} is installed"
        print(f"Warning: {sentence}: its costs may be off; export.calibrate updates it.", file=sys.stderr, flush=True)


def progress_bar(done: int, total: int, name: str) -> None:
    """Shows the progress of a measurement on stderr: as a bar on a terminal, else after each tenth."""
    if sys.stderr.isatty():
        filled = 30 * done // total
        print(f"\r[{'#' * filled}{'.' * (30 - filled)}] {done}/{total} {name[:40]:40}", end="", file=sys.stderr, flush=True)
        if done == total:
            print(file=sys.stderr)
    elif done * 10 // total != (done - 1) * 10 // total or done in (0, total):
        print(f"{done} of {total} done", file=sys.stderr, flush=True)
