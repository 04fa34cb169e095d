"""The plan of a graph without channel movement: the order of each producer's channels, and the pieces of every read.

Every order is correct: a read is put together of the runs of consecutive channels that it needs. A good order has few runs, so
a producer's channels are sorted by the time at which they are read. Where its output is cut is a matter of cost: a read takes a
slice of it, or the producing convolution is split in two, or the neighbouring channels are read too, with weights of zero.
"""

import dataclasses
import itertools

import numpy as np

from export.flatbuffer.graph import Graph
from export.optimize.channels.assembly import Key, assemble
from export.optimize.channels.identities import Channels, Group, Read

MAX_RUNS = 16  # of a read; what is more scattered keeps its original operators


@dataclasses.dataclass
class ReadSource:
    """How a read is satisfied: a tensor, and the (root, channel) of each of its channels, None for a kept tensor."""

    key: Key
    channels: np.ndarray | None


@dataclasses.dataclass
class ChannelLayout:
    """The order of a group's channels and what may be done with it.

    Attributes:
      order: the channel at each position.
      bounds: positions between channels that different reads want.
      cuts: how each bound is treated where a read wants one side of it: "slice" (also where it's missing), "split", "merge".
      kinds: the treatments to choose from.
      free: whether the order may be reversed.
    """

    order: np.ndarray
    bounds: list[int] = dataclasses.field(default_factory=list)
    cuts: dict[int, str] = dataclasses.field(default_factory=dict)
    kinds: tuple[str, ...] = ("slice",)
    free: bool = False
    reversed: bool = False

    def reverse(self) -> None:
        """Reverses the order, and everything that refers to positions."""
        size = len(self.order)
        self.order = self.order[::-1]
        self.bounds = sorted(size - b for b in self.bounds)
        self.cuts = {size - b: kind for b, kind in self.cuts.items()}
        self.reversed = not self.reversed

    @property
    def state(self) -> tuple:
        return (self.reversed, *sorted(self.cuts.items()))


class Scattered(Exception):
    """A read that would fall into too many pieces."""

    def __init__(self, read: Read):
        super().__init__()
        self.read = read


class MovementPlan:
    """Orders, cuts and the reads made of them.

    Args:
      kept: tensors that the original operators make.
      frozen: tensors whose channels keep their order.
    """

    def __init__(self, graph: Graph, channels: Channels, kept: set[int], frozen: set[int]):
        self.graph, self.channels, self.kept = graph, channels, kept
        self.layouts: dict[int, ChannelLayout] = {}
        # Reads that get nothing but what they want, from the start those who share it with one that can't use more.
        strict = {read.sources.tobytes() for read in channels.reads if read.sources is not None and read.how != "any"}
        self.exact = {i for i, r in enumerate(channels.reads) if r.sources is not None and r.sources.tobytes() in strict}
        # A hybrid operator quantizes all that it is given by its largest value.
        self.hybrid = {i for i, r in enumerate(channels.reads) if r.how == "any" and self._is_hybrid(r)}
        self._cache: dict[tuple, list[tuple[int, int, int]]] = {}
        reads: dict[int, list[tuple[int, Read]]] = {}
        for read in channels.reads:
            for root in [] if read.sources is None else np.unique(read.sources[:, 0]).tolist():
                reads.setdefault(channels.roots[root].group, []).append((root, read))
        for g, group in channels.groups.items():
            tensors = {channels.roots[r].tensor for r in group.roots}
            size = channels.roots[group.roots[0]].channels
            if group.derived:
                self.layouts[g] = ChannelLayout(np.arange(size))
            else:
                self.layouts[g] = self._layout(group, size, reads.get(g, []), group.free and not tensors & frozen)

    def _layout(self, group: Group, size: int, reads: list[tuple[int, Read]], free: bool) -> ChannelLayout:
        masks, rank, fixed = [], np.arange(size), None
        for root, read in reads:
            mine = read.sources[read.sources[:, 0] == root, 1]
            if read.how == "whole":
                continue
            masks.append(np.isin(np.arange(size), mine))
            if read.how == "ordered" and len(mine) == len(np.unique(mine)):
                if len(mine) == size == len(read.sources) and fixed is None:
                    fixed = mine
                rank[mine] = np.arange(len(mine))
        layout = ChannelLayout(np.arange(size), free=free)
        if free and fixed is not None:
            layout.order = fixed
        elif free and masks:
            # The earliest read first; what it does not want comes behind what it wants.
            layout.order = np.lexsort([rank, *(~mask for mask in reversed(masks))])
        if masks:
            wanted = np.stack(masks)[:, layout.order]
            layout.bounds = [int(b) + 1 for b in np.flatnonzero((wanted[:, 1:] != wanted[:, :-1]).any(axis=0))]
        if any(read.how == "any" for _, read in reads):
            layout.kinds += ("merge",)
        if free and len(group.roots) == 1 and all(read.how != "whole" for _, read in reads):
            operator = self.channels.roots[group.roots[0]].operator
            if self.graph.kind(self.graph.operators[operator]) == "CONV_2D":
                layout.kinds += ("split",)
        return layout

    def _is_hybrid(self, read: Read) -> bool:
        inputs = self.graph.operators[read.operator].inputs
        return self.graph.type(int(inputs[0])) != self.graph.type(int(inputs[1]))

    def layout(self, root: int) -> ChannelLayout:
        return self.layouts[self.channels.roots[root].group]

    def pieces(self, root: int) -> list[tuple[int, int]]:
        """Returns the (start, end) of the convolutions that make `root`, in positions of its order."""
        splits = sorted(position for position, kind in self.layout(root).cuts.items() if kind == "split")
        ends = [*splits, self.channels.roots[root].channels]
        return list(zip([0, *splits], ends, strict=True))

    def lower(self) -> list[ReadSource]:
        """Returns the source of each read.

        Raises:
          Scattered: a read would need too many pieces.
        """
        self._cache.clear()
        identities, indices = [], range(len(self.channels.reads))
        for i in indices:
            spans = self.spans(i)
            if spans is None:
                identities.append(None)
                continue
            identities.append(self._identities(spans))
            self._derive(self.channels.reads[i], identities[-1])
        keys = self.keys(indices)
        return [ReadSource(key, channels) for key, channels in zip(keys, identities, strict=True)]

    def keys(self, indices) -> list[Key]:
        """Returns the tensors for the reads of these indices."""
        spans = [self.spans(i) for i in indices]
        parts = [None if s is None else self._parts(s) for s in spans]
        assembled = iter(assemble([p for p in parts if p is not None], self.width))
        return [
            ("kept", self.channels.reads[i].tensor) if p is None else next(assembled)
            for i, p in zip(indices, parts, strict=True)
        ]

    def spans(self, i: int) -> list[tuple[int, int, int]] | None:
        """Returns the runs (root, start, end), in positions of the roots' orders, of read `i`; None for a kept tensor."""
        read = self.channels.reads[i]
        if read.tensor in self.kept or read.sources is None:
            return None
        roots = np.unique(read.sources[:, 0]).tolist()
        state = (i, i in self.exact, *(self.layout(r).state for r in roots))
        if state not in self._cache:
            spans = self._any_spans(i, roots) if read.how in ("any", "derived") else self._ordered_spans(read)
            if len(spans) > MAX_RUNS:
                raise Scattered(read)
            self._cache[state] = spans
        return self._cache[state]

    def _ordered_spans(self, read: Read) -> list[tuple[int, int, int]]:
        roots = read.sources[:, 0]
        if read.how == "whole":
            return [(int(roots[0]), 0, len(roots))]
        positions = np.empty(len(roots), np.int64)
        for root in np.unique(roots):
            mine = roots == root
            positions[mine] = np.argsort(self.layout(root).order)[read.sources[mine, 1]]
        breaks = np.flatnonzero((np.diff(positions) != 1) | (np.diff(roots) != 0)) + 1
        starts, ends = [0, *breaks], [*breaks, len(roots)]
        return [(int(roots[s]), int(positions[s]), int(positions[e - 1]) + 1) for s, e in zip(starts, ends, strict=True)]

    def _any_spans(self, i: int, roots: list[int]) -> list[tuple[int, int, int]]:
        read, spans = self.channels.reads[i], []
        extended = read.how == "any" and i not in self.exact and i not in self.hybrid
        for root in roots:
            layout = self.layout(root)
            wanted = np.zeros(len(layout.order), np.int8)
            wanted[np.isin(layout.order, read.sources[read.sources[:, 0] == root, 1])] = 1
            if extended:
                edges = [0, *(b for b in layout.bounds if layout.cuts.get(b) != "merge"), len(wanted)]
                for start, end in itertools.pairwise(edges):
                    wanted[start:end] = wanted[start:end].max()
            edges = np.flatnonzero(np.diff(wanted, prepend=0, append=0)).tolist()
            spans += [(root, start, end) for start, end in zip(edges[::2], edges[1::2], strict=True)]
        return spans

    def _identities(self, spans: list[tuple[int, int, int]]) -> np.ndarray:
        parts = [self.layout(root).order[start:end] for root, start, end in spans]
        roots = np.repeat([root for root, _, _ in spans], [len(part) for part in parts])
        return np.stack([roots, np.concatenate(parts)], axis=1)

    def _derive(self, read: Read, identities: np.ndarray) -> None:
        """Sets the order of a result that follows its operator's input."""
        if read.how == "derived":
            index = {tuple(source): c for c, source in enumerate(read.sources.tolist())}
            order = np.array([index[tuple(source)] for source in identities.tolist()])
            self.layout(self.channels.root_of[read.operator]).order = order

    def _parts(self, spans: list[tuple[int, int, int]]) -> tuple[Key, ...]:
        parts = []
        for root, start, end in spans:
            pieces = self.pieces(root)
            for first, last in pieces:
                s, e = max(start, first), min(end, last)
                if s < e:
                    whole = ("root", root) if len(pieces) == 1 else ("piece", root, first, last)
                    parts.append(whole if (s, e) == (first, last) else ("slice", whole, s - first, e - first))
        return tuple(parts)

    def width(self, key: Key) -> int:
        """Returns the number of channels of the tensor `key`."""
        if key[0] == "root":
            return self.channels.roots[key[1]].channels
        if key[0] == "concat":
            return sum(self.width(part) for part in key[1])
        return key[3] - key[2]
