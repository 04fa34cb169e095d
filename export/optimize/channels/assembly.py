"""Assembles tensors from slices and concatenations, which several reads can share."""

from collections.abc import Callable, Hashable, Sequence

MAX_INPUTS = 5  # maximum inputs of a concatenation in XNNPACK

# A tensor is ("root", root), ("piece", root, start, end) of a split convolution, ("slice", tensor, start, end),
# ("concat", tensors) or ("kept", tensor of the original graph).
Key = tuple[Hashable, ...]
Parts = tuple[Key, ...]


def assemble(reads: Sequence[Parts], width: Callable[[Key], int]) -> list[Key]:
    """Returns a tensor for each of `reads`, which are given as their parts, in execution order.

    If a read and a later one start with the same parts, these are concatenated once. If adjacent slices are also adjacent in
    an earlier concatenation, one slice of it replaces them.

    Args:
      width: returns the number of channels of a tensor.
    """
    assembly = _Assembly(width)
    keys = []
    for i, parts in enumerate(reads):
        common = max((_common(parts, later) for later in reads[i + 1 :] if later != parts), default=0)
        keys.append(assembly.add(parts, common))
    return keys


class _Assembly:
    def __init__(self, width: Callable[[Key], int]):
        self.width = width
        self.whole: dict[Parts, Key] = {}  # concatenations by their parts, with nested ones flattened
        self.places: dict[Key, list[tuple[Key, int]]] = {}  # root or piece: (concatenation, position) pairs that contain it

    def add(self, parts: Parts, common: int) -> Key:
        if parts in self.whole:
            return self.whole[parts]
        if len(parts) == 1:
            return parts[0]
        ready = max((n for n in range(2, len(parts)) if parts[:n] in self.whole), default=0)
        if ready:
            nested = (self.whole[parts[:ready]], *self._joined(parts[ready:]))
        elif 3 <= common < len(parts) and common <= MAX_INPUTS:
            nested = (self._concat(parts[:common], parts[:common]), *self._joined(parts[common:]))
        else:
            nested = self._joined(parts)
        while len(nested) > MAX_INPUTS:
            # Oldest and smallest first, and no more than necessary.
            n = min(MAX_INPUTS, len(nested) - MAX_INPUTS + 1)
            nested = (("concat", nested[:n]), *nested[n:])
        return nested[0] if len(nested) == 1 else self._concat(nested, parts)

    def _concat(self, nested: Parts, parts: Parts) -> Key:
        key = ("concat", nested)
        self.whole[parts] = key
        offset = 0
        for part in parts:
            if part[0] in ("root", "piece"):
                self.places.setdefault(part, []).append((key, offset))
            offset += self.width(part)
        return key

    def _joined(self, parts: Parts) -> Parts:
        """Replaces slices that are adjacent in an earlier concatenation by one slice of it."""
        joined, i = [], 0
        while i < len(parts):
            best, n = parts[i], 1
            for key, start in self._where(parts[i]):
                end, j = start + self.width(parts[i]), i + 1
                while j < len(parts) and (key, end) in self._where(parts[j]):
                    end, j = end + self.width(parts[j]), j + 1
                if j - i > n:
                    best, n = ("slice", key, start, end), j - i
            joined.append(best)
            i += n
        return tuple(joined)

    def _where(self, part: Key) -> list[tuple[Key, int]]:
        if part[0] == "slice":
            return [(key, offset + part[2]) for key, offset in self.places.get(part[1], [])]
        return self.places.get(part, [])


def _common(one: Parts, other: Parts) -> int:
    n = 0
    while n < min(len(one), len(other)) and one[n] == other[n]:
        n += 1
    return n
