"""How much the tests try: a part in `make test`, everything in `make test-all`, which sets LONG_TESTS=1."""

import itertools
import os
from collections.abc import Callable, Iterable

import pytest

LONG = os.environ.get("LONG_TESTS") == "1"


def examples(count: int) -> int:
    """Returns how many of `count` examples a property test tries."""
    return count if LONG else max(5, count // 4)


def sampled(short: Callable[..., bool], *values: Iterable) -> list:
    """Returns all combinations of the values as parameters; those that `short` is false for are long tests."""
    combinations = itertools.product(*values)
    return [pytest.param(*c, marks=() if short(*c) else pytest.mark.long) for c in combinations]


# TensorFlow asks the processor whether it has 16-bit arithmetic, and then oneDNN, which has none below such a limit.
LIMITED = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in ("SSE41", "AVX", "AVX2", "AVX2_VNNI")
