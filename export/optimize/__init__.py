"""Rewrites a .tflite file into an equal one that runs faster under LiteRT with XNNPACK.

    from export.optimize import optimize
    optimized = optimize(pathlib.Path("model.tflite").read_bytes(), threads=1)
    pathlib.Path("fast.tflite").write_bytes(optimized.model)

- `passes/`: one file for each rewriting of the graph; `passes/__init__.py` lists them in order and tells how to add one.
- `targets/`: one JSON file for each processor; docs/targets.md tells how to add one.
- `pass_manager.py`: applies the passes, checks each result (`equality.py`) and undoes a pass that doesn't pay (`predict.py`).
- `worker.py`, `process.py`: a damaged file can crash the interpreter, so a process of its own parses, rewrites and runs it.
- `analysis/`, `channels/`: facts about a graph that passes need, and the plan of a graph without channel movement.
"""

import dataclasses
import json
import time

from export.flatbuffer.model import Step
from export.optimize.process import TIMED_OUT, work
from export.optimize.targets import HOST, PHONE, Account, Target, host
from shufflenet_tf.errors import UserError

# Seconds for everything, for a run on the reference kernels (at most a quarter of everything), and for a pass.
TIMEOUT, REFERENCE_SECONDS, PASS_SECONDS = 900.0, 60.0, 120.0
REFERENCE = "reference kernels"


@dataclasses.dataclass(frozen=True)
class Optimized:
    """An optimized model.

    Attributes:
      model: the .tflite file.
      steps: what each pass did, in order.
      before, after: number of operators of each kind.
      target: the processor that it was made for.
      predicted: costs on that processor as predicted, before and after.
      measured: median milliseconds of a run on this machine, before and after; None where it wasn't timed.
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
        """Predicted cost after, relative to before."""
        return self.predicted[1].cost / max(self.predicted[0].cost, 1e-9) if self.predicted else 1.0


def optimize(model: bytes, threads: int = 1, target: str | Target = PHONE, timed: bool = True) -> Optimized:
    """Returns a model that computes the same, faster.

    Every pass is checked by running the graph before and after it on random inputs, with XNNPACK and without, and undone
    if they differ. Operators that no pass understands stay as they are.

    Args:
      model: a .tflite file, float or quantized.
      threads: for how many threads of the interpreter to choose among equal graphs.
      target: the processor to choose for: a name of `targets.names()`, "host", a .json file, or a `Target`.
      timed: whether to measure both models in the end, for `Optimized.measured`; the result is the same without.

    Raises:
      UserError: the bytes are no .tflite file, or one that the interpreter cannot run; no positive number of threads;
        or no target.
    """
    if threads < 1:
        raise UserError(f"threads={threads} is no number of threads: give 1 or more.")
    target = resolve(target)
    skipped: dict[str, str] = {}
    deadline = time.monotonic() + TIMEOUT
    while True:
        status, lines, content = _work(model, threads, skipped, deadline, target, timed)
        if status == 0 and lines and "error" in lines[-1]:
            raise UserError(f"This file can't be optimized: {lines[-1]['error']}; give a .tflite model that runs.")
        if status == 0:
            return _optimized(content, lines[-1], target)
        # The process ended in the pass that it began last.
        last = {key: value for line in lines for key, value in line.items()}
        begun = last.get("pass")
        if begun is None or begun in skipped:
            reason = _why_no_run(status, last.get("suspect"))
            raise UserError(f"This file can't be optimized: {reason}; give a .tflite model that runs.")
        if time.monotonic() >= deadline:
            reason = f"left alone: the {TIMEOUT:.0f} seconds for all passes were over during {begun!r}"
            return Optimized(model, (Step("all", False, reason),), last["counts"], last["counts"], target)
        slow = f"took more than {_limit(begun):.0f} seconds"
        skipped[begun] = slow if status == TIMED_OUT else "made the interpreter crash"


def resolve(target: str | Target) -> Target:
    """Returns the target of a name, of "host" (measured now, if it never was) or of a .json file; a target as it is.

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
    """Returns why a model can't be run, as a clause."""
    if suspect:
        return f"the interpreter crashes on it, and {suspect}"
    return f"a single run takes more than {TIMEOUT:.0f} seconds" if status == TIMED_OUT else "the interpreter crashes on it"


def _limit(step: str) -> float:
    return min(REFERENCE_SECONDS, TIMEOUT / 4) if step == REFERENCE else PASS_SECONDS


def _work(
    model: bytes, threads: int, skipped: dict[str, str], deadline: float, target: Target, timed: bool
) -> tuple[int, list[dict], bytes]:
    """Runs the worker and returns its exit status, the lines of its report and the optimized model."""
    left = max(deadline - time.monotonic(), 0.0)
    return work(model, [str(threads), json.dumps(skipped), str(left), target.to_json(), json.dumps(timed)], _limit, deadline)
