"""Improves a plan: tries the other treatments of each cut and keeps those that cost less."""

import itertools
import math

import numpy as np

from export.optimize.channels.assembly import Key
from export.optimize.channels.plan import MovementPlan, Scattered
from export.optimize.targets.cost_model import CostModel

_SWEEPS = 3
_AGES = 5
_DESCENTS = 2
Find = tuple[float, list[tuple[bool, dict[int, str]]], set[int]]  # cost, (reversed, cuts) of each layout, exact reads


def improve(plan: MovementPlan, model: CostModel) -> None:
    """Chooses orders and cuts of `plan` by cost, stage by stage (what shares a read belongs together)."""
    for groups, reads in _components(plan):
        _Search(plan, model, groups, reads).run()


def _components(plan: MovementPlan) -> list[tuple[list[int], list[int]]]:
    """Returns groups and indices of reads that are connected by reads."""
    channels = plan.channels
    leader = {g: g for g in channels.groups}

    def find(g: int) -> int:
        while leader[g] != g:
            g = leader[g]
        return g

    groups_of = [
        [] if read.sources is None else sorted({channels.roots[r].group for r in np.unique(read.sources[:, 0])})
        for read in channels.reads
    ]
    for groups in groups_of:
        for one, other in itertools.pairwise(groups):
            leader[find(one)] = find(other)
    components: dict[int, tuple[list[int], list[int]]] = {}
    for g in channels.groups:
        components.setdefault(find(g), ([], []))[0].append(g)
    for i, groups in enumerate(groups_of):
        if groups:
            components[find(groups[0])][1].append(i)
    return list(components.values())


class _Search:
    def __init__(self, plan: MovementPlan, model: CostModel, groups: list[int], reads: list[int]):
        self.plan, self.model, self.groups, self.reads = plan, model, groups, reads
        self.producers = {
            read.operator: read
            for read in plan.channels.reads
            if read.how == "any" and plan.channels.roots[plan.channels.root_of[read.operator]].group in groups
        }
        self.layouts = [plan.layouts[g] for g in groups if plan.layouts[g].bounds]

    def run(self) -> None:
        if not self.layouts:
            return
        starts = itertools.product((False, True), ("slice", "split"), range(_AGES))
        finds = sorted((self._start(*start) for start in starts), key=lambda find: find[0])
        self._restore(min((self._descend(find) for find in finds[:_DESCENTS]), key=lambda find: find[0]))

    def _start(self, alternate: bool, first: str, ages: int) -> Find:
        """Sets a plan by rule: what is read `ages` times from now or later is read as one; the first cut is `first`."""
        for n, layout in enumerate(self.layouts):
            if layout.free and layout.reversed != (alternate and n % 2 == 1):
                layout.reverse()
            oldest_first = layout.bounds[::-1] if layout.reversed else layout.bounds
            kinds = ["merge" if i >= ages else first if i == 0 else "slice" for i in range(len(oldest_first))]
            layout.cuts = {b: k for b, k in zip(oldest_first, kinds, strict=True) if k in layout.kinds}
        return self._find()

    def _find(self) -> Find:
        state = [(layout.reversed, dict(layout.cuts)) for layout in self.layouts]
        return self.cost(), state, self.plan.exact.copy()

    def _restore(self, find: Find) -> None:
        for layout, (is_reversed, cuts) in zip(self.layouts, find[1], strict=True):
            if layout.reversed != is_reversed:
                layout.reverse()
            layout.cuts = dict(cuts)
        self.plan.exact = find[2].copy()

    def _descend(self, find: Find) -> Find:
        self._restore(find)
        cost = find[0]
        for _ in range(_SWEEPS):
            changed = self._sweep(cost)
            if changed > cost - 1e-6:
                break
            cost = changed
        return self._find()

    def _sweep(self, cost: float) -> float:
        exact = self.plan.exact
        for i in self.reads:
            if self.plan.channels.reads[i].how == "any":
                exact ^= {i}
                changed = self.cost()
                if changed < cost - 1e-9:
                    cost = changed
                else:
                    exact ^= {i}
        for layout in self.layouts:
            if layout.free:
                layout.reverse()
                reversed_cost = self.cost()
                if reversed_cost < cost:
                    cost = reversed_cost
                else:
                    layout.reverse()
            for bound in layout.bounds:
                for kind in layout.kinds:
                    current = layout.cuts.get(bound, "slice")
                    if kind != current:
                        layout.cuts[bound] = kind
                        changed = self.cost()
                        if changed < cost - 1e-9:
                            cost = changed
                        else:
                            layout.cuts[bound] = current
        return cost

    def cost(self) -> float:
        """Returns the cost of what depends on these groups: copies and convolutions."""
        try:
            keys = self.plan.keys(self.reads)
        except Scattered:
            return math.inf
        total, seen = 0.0, set()
        widths = {}
        for i, key in zip(self.reads, keys, strict=True):
            read = self.plan.channels.reads[i]
            if key[0] == "kept":
                continue
            total += self._copies(key, seen)
            if read.how == "any":
                widths[read.operator] = self.plan.width(key)
        for operator in {**self.producers, **widths}:
            inputs = widths.get(operator)
            total += self._convolution(operator, len(self.producers[operator].sources) if inputs is None else inputs)
        return total

    def _convolution(self, index: int, inputs: int) -> float:
        graph = self.plan.graph
        operator = graph.operators[index]
        output, kernel = graph.shape(int(operator.outputs[0])), graph.shape(int(operator.inputs[1]))
        size = graph.bytes_per_element(int(operator.inputs[0]))
        pixels, taps = math.prod(output[:-1]), math.prod(kernel[1:-1])
        pieces = self.plan.pieces(self.plan.channels.root_of[index])
        return sum(self.model.convolution(pixels, inputs, end - start, size, taps) for start, end in pieces)

    def _copies(self, key: Key, seen: set[Key]) -> float:
        if key in seen or key[0] in ("root", "piece", "kept"):
            return 0.0
        seen.add(key)
        if key[0] == "slice":
            return self.model.copy(*self._extent(key)) + self._copies(key[1], seen)
        size = self._extent(key)[2]
        joined = sum(self.model.joined(*self._extent(part)) + self._copies(part, seen) for part in key[1])
        return self.model.linear("concatenation", 0, 0, size) + joined

    def _extent(self, key: Key) -> tuple[int, int, int]:
        """Returns (pixels, channels, bytes an element) of a tensor."""
        leaf = key
        while leaf[0] in ("slice", "concat"):
            leaf = leaf[1] if leaf[0] == "slice" else leaf[1][0]
        tensor = self.plan.channels.roots[leaf[1]].tensor
        pixels = math.prod(self.plan.graph.shape(tensor)[:-1])
        return pixels, self.plan.width(key), self.plan.graph.bytes_per_element(tensor)
