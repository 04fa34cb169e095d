"""Finds two-valued labels of least cost, as a minimum cut."""

from collections import deque
from collections.abc import Hashable

_EPSILON = 1e-9
_ZERO, _ONE = None, "one"  # the nodes whose labels are given


class Labels:
    """Finds the cheapest labels, 0 or 1, of nodes that costs connect; the node None has label 0."""

    def __init__(self) -> None:
        self._capacity: dict[Hashable, dict[Hashable, float]] = {_ZERO: {}, _ONE: {}}

    def cost_if(self, node: Hashable, label: int, cost: float) -> None:
        """Adds what it costs if `node` has this label."""
        if cost <= 0:
            return
        if label:
            self._add(_ZERO, node, cost)
        else:
            self._add(node, _ONE, cost)

    def cost_if_differ(self, low: Hashable, high: Hashable, cost: float) -> None:
        """Adds what it costs if `low` has label 0 and `high` label 1."""
        self._add(low, high, cost)

    def _add(self, start: Hashable, end: Hashable, cost: float) -> None:
        forward = self._capacity.setdefault(start, {})
        forward[end] = forward.get(end, 0.0) + cost
        self._capacity.setdefault(end, {}).setdefault(start, 0.0)

    def ones(self) -> set[Hashable]:
        """Returns the nodes of label 1, as few as the least cost allows."""
        while (path := self._path()) is not None:
            flow = min(self._capacity[a][b] for a, b in path)
            for a, b in path:
                self._capacity[a][b] -= flow
                self._capacity[b][a] += flow
        # Nodes from which the end can still be reached.
        reached, pending = {_ONE}, [_ONE]
        while pending:
            node = pending.pop()
            for other in self._capacity[node]:
                if other not in reached and self._capacity[other][node] > _EPSILON:
                    reached.add(other)
                    pending.append(other)
        return reached - {_ONE}

    def _path(self) -> list[tuple[Hashable, Hashable]] | None:
        """Returns the edges of a shortest path with capacity left."""
        before: dict[Hashable, Hashable] = {_ZERO: _ZERO}
        pending = deque([_ZERO])
        while pending:
            node = pending.popleft()
            for other, capacity in self._capacity[node].items():
                if capacity > _EPSILON and other not in before:
                    before[other] = node
                    pending.append(other)
                    if other == _ONE:
                        path = [(node, other)]
                        while path[-1][0] != _ZERO:
                            path.append((before[path[-1][0]], path[-1][0]))
                        return path
        return None
