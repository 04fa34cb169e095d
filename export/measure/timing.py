"""Times several graphs in turns, so that other load on the machine affects all of them equally."""

import gc
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from export.flatbuffer import runtime

_SECONDS = 1.5  # for all timed runs together
_ROUNDS = (5, 60)  # minimum and maximum


def take_turns(
    interpreters: Sequence[Any], runs: int, warmup: int, clock: Callable[[], int] = time.perf_counter_ns
) -> list[list[float]]:
    """Returns the milliseconds of each run, one list per interpreter; the inputs must be set.

    Args:
      runs: timed rounds, each in a different order.
      warmup: rounds before the timed ones.
      clock: returns the time in nanoseconds.
    """
    times: list[list[float]] = [[] for _ in interpreters]
    order, rng = list(range(len(interpreters))), random.Random(0)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for round_ in range(-warmup, runs):
            rng.shuffle(order)  # a fixed order would let each graph's weights fill the caches before the same successor
            for i in order:
                start = clock()
                interpreters[i].invoke()
                elapsed = clock() - start
                if round_ >= 0:
                    times[i].append(elapsed / 1e6)
    finally:
        if collecting:
            gc.enable()
    return times


def medians(models: Sequence[bytes], threads: int) -> list[float]:
    """Returns the median milliseconds of models on random input, measured in turns on this machine.

    With one thread, it is the CPU time of the thread, which other programs hardly affect.
    """
    interpreters = [runtime.interpreter(model, threads) for model in models]
    for interpreter in interpreters:
        runtime.run(interpreter, runtime.random_inputs(interpreter, 1)[0])
    clock = time.thread_time_ns if threads == 1 else time.perf_counter_ns
    (first, *_) = take_turns(interpreters, 1, 1, clock)
    rounds = int(np.clip(_SECONDS * 1e3 / (max(first[0], 1e-3) * len(models)), *_ROUNDS))
    return [float(np.median(times)) for times in take_turns(interpreters, rounds, 1, clock)]
