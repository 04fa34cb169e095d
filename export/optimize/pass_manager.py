"""Applies the passes; checks each, and undoes it if outputs differ or if the target is predicted to be slower."""

import dataclasses
import itertools
import math
import time
from collections.abc import Callable

from export.flatbuffer import validation
from export.flatbuffer.graph import Graph
from export.flatbuffer.model import Step
from export.measure import timing
from export.optimize import equality
from export.optimize.delegate import partitions
from export.optimize.passes import PASSES, Pass
from export.optimize.predict import account
from export.optimize.targets.cost_model import CostModel

CHECKS = 8  # random inputs, unless the model is slow
_CHECK_SECONDS = 20.0  # for all random inputs of a check together; a slow model is checked on fewer
_ALTERNATIVES = ("channel movement", "average pool", "folded columns")  # passes that a measurement may speak against
_GAIN = 2e-3  # least predicted gain, of the whole cost: predictions are no better than that
_PIECE = 1e-3  # of the whole cost, for each partition


@dataclasses.dataclass
class Pipeline:
    """Applies the passes in order.

    Attributes:
      cost: of the target.
      reference: whether to compare with the reference kernels too.
      limit: bytes that a file may have.
      skipped: passes to leave out -> why (a clause that begins with a verb).
      seconds: of a run of the model.
      end: when the time is over, in seconds of `time.monotonic`.
      begin: called with the name of each pass before its turn, so that a crash can be blamed on it.
    """

    cost: CostModel
    reference: bool = True
    limit: float = math.inf
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    end: float = math.inf
    begin: Callable[[str], None] = lambda name: None
    _done: dict[tuple[str, bytes], tuple[bytes, Step]] = dataclasses.field(default_factory=dict)

    def run(self, model: bytes, without: tuple[str, ...] = ()) -> tuple[bytes, list[Step]]:
        """Returns the model after all passes but those named in `without`, and what each of them did.

        It is the model itself if the result is not predicted to be faster on the target.
        """
        result, steps = self._run(model, without)
        if result == model or account(Graph(result), self.cost).cost < account(Graph(model), self.cost).cost:
            return result, steps
        prepares = {p.name for p in PASSES if p.prepares}
        in_vain = [self._no_gain(step.name) for step in steps if step.changed and step.name in prepares]
        if not in_vain:
            return model, [self._no_gain("all")]
        result, steps = self.run(model, (*without, *(step.name for step in in_vain)))
        return result, [*in_vain, *steps]

    def _no_gain(self, name: str) -> Step:
        return Step(name, False, f"no gain on {self.cost.target.name}")

    def _run(self, model: bytes, without: tuple[str, ...]) -> tuple[bytes, list[Step]]:
        steps: list[Step] = []
        delegating = None
        for p in PASSES:
            if p.name in without:
                continue
            if p.delegates and delegating is None:
                delegating = cheapest_together(
                    model, [q for q in PASSES if q.delegates and q.name not in self.skipped], self.cost
                )
            if p.delegates and p.name not in delegating:
                steps.append(self._no_gain(p.name) if _changes(p, model, self.cost) else Step(p.name, False))
                continue
            model, step = self._apply(p, model)
            steps.append(step)
        return model, steps

    def _apply(self, p: Pass, model: bytes) -> tuple[bytes, Step]:
        if (p.name, model) not in self._done:
            left = self.end - time.monotonic()
            if left < 2 * self.seconds:
                return model, Step(p.name, False, "left out: the time was over")
            if p.name in self.skipped:
                return model, Step(p.name, False, f"undone: it {self.skipped[p.name]}")
            self.begin(p.name)
            count = max(1, min(CHECKS, int(min(_CHECK_SECONDS, left / 2) / (2 * self.seconds + 1e-9))))
            self._done[p.name, model] = apply(p, model, self.cost, self.reference, count, self.limit)
        return self._done[p.name, model]

    def fastest_here(self, model: bytes) -> tuple[bytes, list[Step]]:
        """Times the model, the result of all passes and the results without some of them; returns the fastest one."""
        best, steps = self.run(model)
        steps_to = {best: steps}
        for name in [step.name for step in steps if step.changed and step.name in _ALTERNATIVES and best != model]:
            other, others = self.run(model, without=(name,))
            left_out = Step(name, False, "left out: the result is slower on this machine")
            steps_to.setdefault(other, [*others, left_out])
        candidates = [model, *(other for other in steps_to if other != model)]
        if len(candidates) == 1:
            return model, steps
        times = timing.medians(candidates, self.cost.threads)
        winner = candidates[times.index(min(times))]
        figures = (
            f"{', '.join(f'{time:.2f}' for time in times[1:])} ms of {len(times) - 1} candidates, {times[0]:.2f} ms as it came"
        )
        if winner is model:
            undone = [dataclasses.replace(step, changed=False) for step in steps]
            return model, [*undone, Step("measurement", False, f"{figures}: it stays as it came")]
        return winner, [*steps_to[winner], Step("measurement", False, figures)]


def cheapest_together(model: bytes, passes: list[Pass], cost: CostModel) -> set[str]:
    """Returns the names of those passes that together make the model cheapest."""
    active = [p for p in passes if _changes(p, model, cost)]
    # Each partition has a runtime and memory of its own: fewer are better if costs are equal.
    piece = _PIECE * account(Graph(model), cost).cost

    def worth(graph: Graph) -> float:
        return account(graph, cost).cost + piece * partitions(graph)

    best, names = worth(Graph(model)), set()
    for size in range(1, len(active) + 1):
        for chosen in itertools.combinations(active, size):
            graph = Graph(model)
            try:
                for p in chosen:
                    p.run(graph, cost)
                total = worth(graph)
            except Exception:  # `apply` tells of it
                continue
            if total < best:
                best, names = total, {p.name for p in chosen}
    return names


def _changes(p: Pass, model: bytes, cost: CostModel) -> bool:
    try:
        return p.run(Graph(model), cost) is not None
    except Exception:  # `apply` tells of it
        return True


def apply(
    p: Pass, model: bytes, cost: CostModel, reference: bool = True, count: int = CHECKS, limit: float = math.inf
) -> tuple[bytes, Step]:
    """Returns the model after a pass and what the pass did; the very same bytes where it did nothing or was undone.

    Args:
      p: the pass.
      model: the flatbuffer.
      cost: of the target; a result that it predicts to be no faster is undone, but that of a pass that
        `delegates` or `prepares`.
      reference: whether to compare with the reference kernels too.
      count: random inputs to compare on.
      limit: bytes that the result may have.
    """

    def unchanged(text: str = "") -> tuple[bytes, Step]:
        return model, Step(p.name, False, text)

    try:
        graph = Graph(model)
        before = account(graph, cost).cost
        done = p.run(graph, cost)
        if done is None:
            return unchanged()
        candidate = graph.pack()
        validation.parse(candidate)
        after = account(Graph(candidate), cost).cost
    except Exception as error:  # an unforeseen kind of graph is left alone
        return unchanged(f"left alone: it isn't understood ({type(error).__name__}: {str(error)[:100]})")
    if after > (1 - _GAIN) * before and not (p.delegates or p.prepares):
        return unchanged(f"no gain on {cost.target.name}: {done} ({after / max(before, 1e-9):.3f} of the cost)")
    if len(candidate) > limit:
        return unchanged(f"left alone: the file would have {len(candidate):,} bytes, and {int(limit):,} are the limit ({done})")
    try:
        difference = equality.compare(model, candidate, count, cost.threads, reference)
    except (ValueError, RuntimeError) as error:
        return unchanged(f"undone: the result can't be run ({(str(error).splitlines() or [''])[0][:100]})")
    if not p.tolerates(difference):
        return unchanged(f"undone: it {difference}")
    return candidate, Step(p.name, True, f"{done}; {difference}")
