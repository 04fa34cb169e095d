"""The process in which a model is parsed, rewritten and run; see `export.optimize.optimize`.

Reads the model from stdin and writes to stdout: a line of JSON with "counts" and "suspect" of the model, one with "pass" before
each pass, so that a crash can be blamed on it, a last one with the report or an "error", a zero byte, and the optimized model.
"""

import dataclasses
import json
import os
import re
import sys
import time
from collections.abc import Callable

from ai_edge_litert.interpreter import OpResolverType

from export.flatbuffer import associated_files, refusal, runtime, validation
from export.flatbuffer.graph import Graph
from export.flatbuffer.model import Step
from export.measure import timing
from export.optimize import REFERENCE, batch
from export.optimize.pass_manager import Pipeline
from export.optimize.predict import account
from export.optimize.targets import Target
from export.optimize.targets.cost_model import CostModel

# A run on the reference kernels that takes longer (they are a hundred times as slow) is not repeated for every pass.
SLOW_REFERENCE = 2.0
_SLACK = 1 << 14  # bytes that any file may grow by: small files consist of operators more than of weights
_SLOW = 2.0  # seconds of a run of a model that is not timed
SPARE = 0.8  # part of the time after which no further pass is begun


def main() -> None:
    """Serves one request: argv: threads, passes to leave out with reasons, seconds left, target, whether to time the result."""
    # The runtime prints to the standard output too, which must not mix with the answer.
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    threads, skipped = int(sys.argv[1]), json.loads(sys.argv[2])
    end = time.monotonic() + SPARE * float(sys.argv[3])
    cost, timed = CostModel(threads, Target.from_json(sys.argv[4])), json.loads(sys.argv[5])

    def say(line: dict) -> None:
        answer.write(json.dumps(line).encode() + b"\n")
        answer.flush()

    try:
        data = sys.stdin.buffer.read()
        flatbuffer, files = associated_files.separate(data)
        validation.parse(flatbuffer)
        graph = Graph(flatbuffer)
        before = graph.counts()
        say({"counts": before, "suspect": refusal.explain(graph)})
        seconds = _check(flatbuffer, threads)
    except validation.InvalidModel as error:
        say({"error": str(error)})
        return
    steps, start, optimized = _rewrite(flatbuffer, graph, cost, skipped, seconds, end, say)
    changed = optimized not in (None, start)
    content = associated_files.attach(optimized, files) if changed else data
    # Of an open batch nothing is known: both figures are of a batch of 1, also where it was left open after all.
    known = start or flatbuffer
    figures = _figures(known, optimized if changed else known, cost, timed and seconds < _SLOW)
    after = Graph(optimized).counts() if changed else before
    say({"steps": [dataclasses.asdict(step) for step in steps], "before": before, "after": after, **figures})
    answer.write(b"\0" + content)
    answer.close()


def _rewrite(
    flatbuffer: bytes,
    graph: Graph,
    cost: CostModel,
    skipped: dict[str, str],
    seconds: float,
    end: float,
    say: Callable[[dict], None],
) -> tuple[list[Step], bytes | None, bytes | None]:
    """Closes an open batch and applies the passes.

    Args:
      flatbuffer, graph: the model.
      cost: of the target.
      skipped: passes to leave out -> why.
      seconds: of a run of the model.
      end: when the time is over, in seconds of `time.monotonic`.
      say: called with each line of the report.

    Returns:
      What was done; the model of a batch of one and the optimized model, or None where the batch can't be closed.
    """
    steps: list[Step] = []
    start = flatbuffer
    if batch.is_open(graph):
        if "batch" in skipped:
            start, text = None, f"left alone: taking a batch of 1 {skipped['batch']}"
        else:
            say({"pass": "batch"})
            start, text = _close(flatbuffer)
        steps.append(Step("batch", start is not None, text))
    optimized = start
    if start is not None:
        if REFERENCE in skipped:
            missing = f"a run {skipped[REFERENCE]}"
        else:
            say({"pass": REFERENCE})
            missing = _reference(start)
        if missing:
            steps.append(Step(REFERENCE, False, f"left out of the checks: {missing}"))
        limit = max(cost.target.growth * len(flatbuffer), len(start) + _SLACK)
        pipeline = Pipeline(cost, not missing, limit, skipped, seconds, end, lambda name: say({"pass": name}))
        optimized, done = pipeline.fastest_here(start) if cost.target.is_here() else pipeline.run(start)
        steps += done
        if start is not flatbuffer and optimized == start:
            steps = [dataclasses.replace(step, changed=False) for step in steps]
            steps.append(Step("batch", False, "left open after all, since there is nothing to gain"))
    return steps, start, optimized


def _figures(before: bytes, after: bytes, cost: CostModel, timed: bool) -> dict:
    """Returns what the target is predicted to need for both graphs, and the milliseconds that they take here if `timed`."""
    predicted = [dataclasses.asdict(account(Graph(model), cost)) for model in (before, after)]
    measured = timing.medians([before, after], cost.threads) if timed else None
    return {"predicted": predicted, "measured": measured}


def _check(model: bytes, threads: int, kernels: OpResolverType = runtime.XNNPACK) -> float:
    """Runs `model` once and returns the seconds that it took; raises InvalidModel if it can't be run."""
    try:
        runner = runtime.interpreter(model, threads, kernels)
        inputs = runtime.random_inputs(runner, 1)[0]
        start = time.monotonic()
        runtime.run(runner, inputs)
        return time.monotonic() - start
    except (ValueError, RuntimeError, TypeError, MemoryError) as error:
        suspect = refusal.explain(Graph(model)) if kernels == runtime.XNNPACK else None
        lines = str(error).strip().splitlines() or ["without a reason"]
        # "Didn't find op for builtin opcode 'ELU' version '1'" is followed by lines that say less.
        reason = next((line for line in lines if "Didn't find op" in line), lines[-1]).strip()[:200]
        raise validation.InvalidModel(f"LiteRT refuses it: {suspect}" if suspect else f"LiteRT refuses it ({reason})") from None


def _close(model: bytes) -> tuple[bytes | None, str]:
    """Closes an open batch; returns what `batch.close` does."""
    try:
        return batch.close(model)
    except Exception as error:  # an unforeseen kind of graph is left alone
        return None, f"left alone: the input is open, and a batch of 1 isn't taken ({type(error).__name__}: {str(error)[:100]})"


def _reference(model: bytes) -> str | None:
    """Returns why the reference kernels can't check `model`, or None where they can."""
    try:
        seconds = _check(model, 1, runtime.REFERENCE)
    except validation.InvalidModel as error:
        missing = re.search(r"builtin opcode '(\w+)'", str(error))
        if missing:
            return f"they lack {missing[1]}"
        return str(error).removeprefix("LiteRT refuses it").strip(" :()") or "they refuse it"
    return None if seconds <= SLOW_REFERENCE else f"a run takes them {seconds:.0f} seconds"
