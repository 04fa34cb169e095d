"""The process in which a model is parsed, rewritten and run; see `export.optimize.optimize`.

Reads the model from stdin and writes to stdout: a line of JSON before each pass, so that a crash can be blamed on it, a
last line with the report, a zero byte, and the optimized model.
"""

import json
import os
import re
import sys
import time

from export.optimize import REFERENCE, archive, batch, refusal, structure, verify
from export.optimize.cost import CostModel
from export.optimize.graph import Graph
from export.optimize.passes import PASSES, Pass

# A run on the reference kernels that takes longer (they are a hundred times as slow) is not repeated for every pass.
SLOW_REFERENCE = 2.0
CHECK_SECONDS = 20.0  # for all random inputs of a check together; a slow model is checked on fewer
CHECKS = 8  # random inputs, unless it's slow
SPARE = 0.8  # part of the time after which no further pass is begun


def main() -> None:
    """Serves one request: argv is the number of threads, passes to leave out with the reasons, and the seconds there are."""
    # What the runtime prints must not get into the answer.
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    threads, skipped = int(sys.argv[1]), json.loads(sys.argv[2])
    end = time.monotonic() + SPARE * float(sys.argv[3])

    def say(line: dict) -> None:
        answer.write(json.dumps(line).encode() + b"\n")
        answer.flush()

    try:
        data = sys.stdin.buffer.read()
        flatbuffer, files = archive.separate(data)
        structure.parse(flatbuffer)
        graph = Graph(flatbuffer)
        before = graph.counts()
        say({"counts": before, "suspect": refusal.explain(graph)})
        seconds = _check(flatbuffer, threads)
    except structure.InvalidModel as error:
        say({"error": str(error)})
        return
    steps, passes, optimized = [], PASSES, flatbuffer
    if batch.is_open(graph):
        if "batch" in skipped:
            optimized, told = None, f"left alone: taking a batch of 1 {skipped['batch']}"
        else:
            say({"pass": "batch"})
            optimized, told = _close(flatbuffer)
        steps.append(("batch", told))
        passes = PASSES if optimized is not None else ()
    start = optimized = flatbuffer if optimized is None else optimized
    if REFERENCE in skipped:
        missing = f"a run {skipped[REFERENCE]}"
    else:
        say({"pass": REFERENCE})
        missing = _reference(optimized)
    if missing:
        steps.append((REFERENCE, f"left out of the checks: {missing}"))
    for p in passes:
        left = end - time.monotonic()
        if left < 2 * seconds:
            steps.append((p.name, "left out: the time was over"))
            continue
        if p.name in skipped:
            steps.append((p.name, f"undone: it {skipped[p.name]}"))
            continue
        say({"pass": p.name})
        count = max(1, min(CHECKS, int(min(CHECK_SECONDS, left / 2) / (2 * seconds + 1e-9))))
        optimized, told = apply(p, optimized, CostModel(threads), not missing, count)
        steps.append((p.name, told))
    if passes and start is not flatbuffer and optimized is start:
        steps.append(("batch", "left open after all, since there is nothing to gain"))
    content = data if optimized is start else archive.attach(optimized, files)
    say({"steps": steps, "before": before, "after": Graph(optimized).counts()})
    answer.write(b"\0" + content)
    answer.close()


def _check(model: bytes, threads: int, delegate: bool = True) -> float:
    """Runs `model` once and returns the seconds that it took; raises InvalidModel if it can't be run."""
    try:
        runner = verify.interpreter(model, threads, delegate)
        inputs = verify.random_inputs(runner, 1)[0]
        start = time.monotonic()
        verify.run(runner, inputs)
        return time.monotonic() - start
    except (ValueError, RuntimeError, TypeError, MemoryError) as error:
        found = refusal.explain(Graph(model)) if delegate else None
        lines = str(error).strip().splitlines() or ["without a reason"]
        # "Didn't find op for builtin opcode 'ELU' version '1'" is followed by lines that say less.
        reason = next((line for line in lines if "Didn't find op" in line), lines[-1]).strip()[:200]
        raise structure.InvalidModel(f"LiteRT refuses it: {found}" if found else f"LiteRT refuses it ({reason})") from None


def _close(model: bytes) -> tuple[bytes | None, str]:
    """Closes an open batch; returns what `batch.close` does."""
    try:
        return batch.close(model)
    except Exception as error:  # a graph of a kind that nobody thought of is left alone, whatever it is
        return None, f"left alone: the input is open, and a batch of 1 isn't taken ({type(error).__name__}: {str(error)[:100]})"


def _reference(model: bytes) -> str | None:
    """Returns why the reference kernels can't check `model`, or None where they can."""
    try:
        seconds = _check(model, 1, delegate=False)
    except structure.InvalidModel as error:
        missing = re.search(r"builtin opcode '(\w+)'", str(error))
        if missing:
            return f"they lack {missing[1]}"
        return str(error).removeprefix("LiteRT refuses it").strip(" :()") or "they refuse it"
    return None if seconds <= SLOW_REFERENCE else f"a run takes them {seconds:.0f} seconds"


def apply(p: Pass, model: bytes, cost: CostModel, reference: bool = True, count: int = CHECKS) -> tuple[bytes, str]:
    """Returns the model after a pass and what the pass did; the very same bytes where it did nothing or was undone."""
    try:
        graph = Graph(model)
        done = p.run(graph, cost)
        if done is None:
            return model, "nothing to do"
        candidate = graph.pack()
        structure.parse(candidate)
    except Exception as error:  # a graph of a kind that nobody thought of is left alone, whatever it is
        return model, f"left alone: it isn't understood ({type(error).__name__}: {str(error)[:100]})"
    try:
        difference = verify.compare(model, candidate, count, cost.threads, reference)
    except (ValueError, RuntimeError) as error:
        return model, f"undone: the result can't be run ({(str(error).splitlines() or [''])[0][:100]})"
    if not p.tolerates(difference):
        return model, f"undone: it {difference}"
    return candidate, f"{done}; {difference}"
