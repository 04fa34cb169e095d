"""Rewrites a .tflite file into an equivalent one that runs faster under LiteRT with XNNPACK.

    from export.optimize import optimize
    optimized = optimize(pathlib.Path("model.tflite").read_bytes(), threads=1)
    pathlib.Path("fast.tflite").write_bytes(optimized.model)

- `passes/`: one file per graph pass; `passes/__init__.py` lists them in order and explains how to add one.
- `targets/`: one JSON file per processor; docs/targets.md explains how to add one.
- `pass_manager.py`: applies the passes, checks each result (`equality.py`) and undoes passes that don't pay (`predict.py`).
- `worker.py`, `process.py`: a separate process parses, rewrites and runs the file, because a damaged one can crash LiteRT.
- `analysis/`, `channels/`: graph analyses for the passes, and the plan of a graph without channel movement.
"""

import concurrent.futures
import contextlib
import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator

from export.flatbuffer.model import Step
from export.optimize.process import NO_MEMORY, TIMED_OUT, work
from export.optimize.targets import HOST, PHONE, Account, Target, host
from shufflenet_tf.errors import UserError

# Limits in seconds: for all passes, for a run on the reference kernels (at most a quarter of that), and for one pass.
TIMEOUT, REFERENCE_SECONDS, PASS_SECONDS = 900.0, 60.0, 120.0
REFERENCE = "reference kernels"


@dataclasses.dataclass(frozen=True)
class Optimized:
    """An optimized model.

    Attributes:
      model: content of the optimized .tflite file.
      steps: the steps of the optimization, in order.
      before, after: number of operators of each kind.
      target: the processor that it was optimized for.
      predicted: predicted costs on that processor, before and after.
      measured: median milliseconds of a run on this machine, before and after; None: not timed.
    """

    model: bytes
    steps: tuple[Step, ...]
    before: dict[str, int]
    after: dict[str, int]
    target: Target
    predicted: tuple[Account, Account] | None = None
    measured: tuple[float, float] | None = None

    @property
    def ratio(self) -> float:
        """Predicted cost after optimization relative to before."""
        return self.predicted[1].cost / max(self.predicted[0].cost, 1e-9) if self.predicted else 1.0


def optimize(
    model: bytes,
    threads: int = 1,
    target: str | Target = PHONE,
    timed: bool = True,
    stop: threading.Event | None = None,
) -> Optimized:
    """Returns an equivalent, faster model.

    Every pass is checked by running the graph before and after it on random inputs, with and without XNNPACK; it is undone if
    the outputs differ. Operators that no pass understands stay unchanged.

    Args:
      model: a .tflite file, float or quantized.
      threads: number of interpreter threads to optimize for.
      target: the processor to optimize for: a name of `targets.names()`, "host", a .json file, or a `Target`.
      timed: whether to time both models at the end, for `Optimized.measured`; this doesn't change the result.
      stop: ends the work when another thread sets it.

    Raises:
      process.Stopped: `stop` was set.
      UserError: the bytes are not a .tflite file that the interpreter can run, `threads` is not positive, or there is no such
        target.
      MemoryError: there is too little memory to run the file.
    """
    if threads < 1:
        raise UserError(f"threads={threads} is not a positive number: give 1 or more.")
    target = resolve(target)
    skipped: dict[str, str] = {}
    deadline = time.monotonic() + TIMEOUT
    while True:
        status, lines, content = _work(model, threads, skipped, deadline, target, timed, stop)
        if status == 0 and lines and "error" in lines[-1]:
            raise UserError(f"This file can't be optimized: {lines[-1]['error']}; give a .tflite model that runs.")
        if status == 0:
            return _optimized(content, lines[-1], target)
        # The process ended during the pass that it started last.
        last = {key: value for line in lines for key, value in line.items()}
        begun = last.get("pass")
        if status == NO_MEMORY and begun is None:
            raise MemoryError("too little to run the file once")
        if begun is None or begun in skipped:
            reason = _why_no_run(status, last.get("suspect"))
            raise UserError(f"This file can't be optimized: {reason}; give a .tflite model that runs.")
        if time.monotonic() >= deadline:
            reason = f"left alone: the time limit of {TIMEOUT:.0f} seconds for all passes was reached during {begun!r}"
            return Optimized(model, (Step("all", False, reason),), last["counts"], last["counts"], target)
        skipped[begun] = {
            TIMED_OUT: f"took more than {_limit(begun):.0f} seconds",
            NO_MEMORY: "ran out of memory",
        }.get(status, "made the interpreter crash")


@contextlib.contextmanager
def in_background(
    threads: int, target: Target, timed: bool
) -> Iterator[Callable[[bytes], concurrent.futures.Future[Optimized]]]:
    """Yields a function that begins to optimize a model; if the block ends with an error, such as Ctrl-C, all work stops.

    See `optimize` for the arguments. The work is done in separate processes.
    """
    stop = threading.Event()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        try:
            yield lambda model: pool.submit(optimize, model, threads, target, timed, stop)
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def resolve(target: str | Target) -> Target:
    """Returns the target for a name, for "host" (measures it if necessary) or for a .json file; returns a `Target` unchanged.

    Raises:
      UserError: there is no such target, or its file can't be used.
    """
    if isinstance(target, Target):
        return target
    if target == HOST:
        return host.this_machine()
    resolved = Target.of(target)
    host.warn_of_version(resolved)
    return resolved


def _optimized(content: bytes, report: dict, target: Target) -> Optimized:
    return Optimized(
        content,
        tuple(Step(**step) for step in report["steps"]),
        report["before"],
        report["after"],
        target,
        tuple(Account(**figures) for figures in report["predicted"]),
        tuple(report["measured"]) if report["measured"] else None,
    )


def _why_no_run(status: int, suspect: str | None) -> str:
    """Returns the reason why a model can't be run, as a clause."""
    if suspect:
        return f"the interpreter crashes on it, and {suspect}"
    return f"a single run takes more than {TIMEOUT:.0f} seconds" if status == TIMED_OUT else "the interpreter crashes on it"


def _limit(step: str) -> float:
    return min(REFERENCE_SECONDS, TIMEOUT / 4) if step == REFERENCE else PASS_SECONDS


def _work(
    model: bytes,
    threads: int,
    skipped: dict[str, str],
    deadline: float,
    target: Target,
    timed: bool,
    stop: threading.Event | None,
) -> tuple[int, list[dict], bytes]:
    """Runs the worker and returns its exit status, the lines of its report and the optimized model."""
    left = max(deadline - time.monotonic(), 0.0)
    arguments = [str(threads), json.dumps(skipped), str(left), target.to_json(), json.dumps(timed)]
    return work(model, arguments, _limit, deadline, stop)
