"""Reads the output of counter.c: the instruction blocks that ran during an inference, and how often."""

import collections
import pathlib
from collections.abc import Callable, Mapping

Block = tuple[str, ...]  # its instructions: bytes in hex, in memory order
Counted = dict[tuple[int, Block], int]  # (address, block): executions


def read(path: pathlib.Path) -> dict[int, Counted]:
    """Returns the counts up to each mark, by the mark's number.

    Raises:
      ValueError: the file has another format or is cut off.
    """
    marks: dict[int, Counted] = {}
    counted: Counted | None = None
    for number, line in enumerate(path.read_text(encoding="ascii").splitlines(), 1):
        first, second, *code = line.split(" ")
        if first == "mark":
            counted = marks[int(second)] = {}
        elif counted is None or not code:
            raise ValueError(f"line {number} of {path.name} is not a block: {line[:40]!r}")
        else:
            key = int(second, 16), tuple(code)
            counted[key] = counted.get(key, 0) + int(first)
    return marks


def instructions(counted: Counted) -> int:
    """Returns the number of executed instructions."""
    return sum(executions * len(block) for (_, block), executions in counted.items())


def joined(counted: Counted, ends: Callable[[str], bool]) -> collections.Counter[Block]:
    """Returns the executions of each block, after joining the blocks that QEMU has split.

    QEMU also ends a block at the end of a memory page. Execution of such a block always continues with the next one. If they
    stayed separate, either half of a loop would be timed as a loop. The number of executed instructions doesn't change.

    Args:
      counted: counts from `read`.
      ends: whether an instruction, in hex, is a branch.
    """
    at: dict[int, dict[Block, int]] = collections.defaultdict(dict)
    for (address, block), executions in counted.items():
        at[address][block] = executions
    for address in sorted(at, reverse=True):  # the blocks that follow have already been joined
        for block, executions in list(at[address].items()):
            rest = None if ends(block[-1]) else _next(at, address + _size(block), executions)
            if rest:
                at[address + _size(block)][rest] -= executions
                del at[address][block]
                at[address][block + rest] = at[address].get(block + rest, 0) + executions
    total: collections.Counter[Block] = collections.Counter()
    for here in at.values():
        total.update(here)
    return +total


def _next(at: Mapping[int, dict[Block, int]], address: int, executions: int) -> Block | None:
    """Returns a block at an address that has run at least this often; None: there is none."""
    here = at.get(address) or {}
    most = max(here, key=here.get, default=None)
    return most if most is not None and here[most] >= executions else None


def _size(block: Block) -> int:
    return sum(len(instruction) for instruction in block) // 2
