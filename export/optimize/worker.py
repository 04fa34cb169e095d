"""The process in which a model is parsed, rewritten and run; see `export.optimize.optimize`.

Reads the model from stdin and writes to stdout: a line of JSON before each pass, so that a crash can be blamed on it, a
last line with the report, a zero byte, and the optimized model.
"""

import json
import math
import os
import sys

from export.optimize import archive, structure, verify
from export.optimize.cost import CostModel
from export.optimize.graph import Graph
from export.optimize.passes import PASSES, Pass
from export.optimize.predict import account

REFERENCE = "reference kernels"
NOTHING = "nothing to do"


def main() -> None:
    """Serves one request: argv is the number of threads and the names of passes to leave out."""
    # What the runtime prints must not get into the answer.
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    threads, skipped = int(sys.argv[1]), set(sys.argv[2:])

    def say(line: dict) -> None:
        answer.write(json.dumps(line).encode() + b"\n")
        answer.flush()

    try:
        data = sys.stdin.buffer.read()
        flatbuffer, files = archive.separate(data)
        structure.parse(flatbuffer)
        _check(flatbuffer, threads, delegate=True)
        # They abort the process on a few models that XNNPACK runs.
        say({"pass": REFERENCE})
        reference = REFERENCE not in skipped
        if reference:
            _check(flatbuffer, threads, delegate=False)
    except structure.InvalidModel as error:
        say({"error": str(error)})
        return
    before = Graph(flatbuffer).counts()
    steps = [] if reference else [(REFERENCE, "left out of the checks: they crash on this model")]
    optimized = flatbuffer
    passes = PASSES
    if any(Graph(flatbuffer).shape(t) is None for t in Graph(flatbuffer).inputs):
        passes = ()
        steps.append(("all", "left alone: the input has sides of unknown length, and only a static graph can be planned"))
    for p in passes:
        say({"pass": p.name})
        if p.name in skipped:
            steps.append((p.name, "undone: it made the interpreter crash"))
            continue
        optimized, told = apply(p, optimized, CostModel(threads), reference)
        steps.append((p.name, told))
    content = data if optimized is flatbuffer else archive.attach(optimized, files)
    say({"steps": steps, "before": before, "after": Graph(optimized).counts()})
    answer.write(b"\0" + content)
    answer.close()


def _check(model: bytes, threads: int, delegate: bool) -> None:
    """Raises InvalidModel if `model` cannot be run."""
    try:
        runner = verify.interpreter(model, threads, delegate)
        verify.run(runner, verify.random_inputs(runner, 1)[0])
    except (ValueError, RuntimeError, TypeError, MemoryError) as error:
        reason = (str(error).strip().splitlines() or ["without a reason"])[-1].strip()[:200]
        raise structure.InvalidModel(f"the interpreter refuses it ({reason})") from None


def apply(p: Pass, model: bytes, cost: CostModel, reference: bool = True, limit: float = math.inf) -> tuple[bytes, str]:
    """Returns the model after a pass and what the pass did; the very same bytes where it did nothing or was undone.

    Args:
      cost: of the target; a result that it predicts to be slower is undone.
      reference: whether to compare with the reference kernels too.
      limit: bytes that the result may have.
    """
    try:
        graph = Graph(model)
        before = account(graph, cost).cost
        done = p.run(graph, cost)
        if done is None:
            return model, NOTHING
        candidate = graph.pack()
        structure.parse(candidate)
        after = account(Graph(candidate), cost).cost
    except Exception as error:  # a graph of a kind that nobody thought of is left alone, whatever it is
        return model, f"left alone: it isn't understood ({type(error).__name__}: {str(error)[:100]})"
    if after > before * (1 + 1e-9):
        return model, f"left alone: {done} would be slower on {cost.target.name}, {after / before:.3f} times the cost"
    if len(candidate) > limit:
        return model, f"left alone: {done} would make the file {len(candidate):,} bytes, and {int(limit):,} are the limit"
    try:
        difference = verify.compare(model, candidate, threads=cost.threads, reference=reference)
    except (ValueError, RuntimeError) as error:
        return model, f"undone: the result can't be run ({(str(error).splitlines() or [''])[0][:100]})"
    if not p.tolerates(difference):
        return model, f"undone: it {difference}"
    return candidate, f"{done}; {difference}"
