"""Times graphs that take turns, so that whatever else the machine does meets all of them alike."""

import gc
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from export.flatbuffer import runtime

_SECONDS = 1.5  # for all timed runs together
_ROUNDS = (5, 60)  # at least and at most


def take_turns(
    interpreters: Sequence[Any], runs: int, warmup: int, clock: Callable[[], int] = time.perf_counter_ns
) -> list[list[float]]:
    """Returns the milliseconds of each run, a list an interpreter, whose inputs are in place.

    Args:
      runs: timed rounds, each in another order.
      warmup: rounds before these.
      clock: nanoseconds of the time to count.
    """
    times: list[list[float]] = [[] for _ in interpreters]
    order, rng = list(range(len(interpreters))), random.Random(0)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for round_ in range(-warmup, runs):
            rng.shuffle(order)  # so that none always follows the same one, whose weights fill the caches
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

    Of one thread it's the time that the thread computes, which other programs disturb little.
    """
    interpreters = [runtime.interpreter(model, threads) for model in models]
    for interpreter in interpreters:
        runtime.run(interpreter, runtime.random_inputs(interpreter, 1)[0])
    clock = time.thread_time_ns if threads == 1 else time.perf_counter_ns
    (first, *_) = take_turns(interpreters, 1, 1, clock)
    rounds = int(np.clip(_SECONDS * 1e3 / (max(first[0], 1e-3) * len(models)), *_ROUNDS))
    return [float(np.median(times)) for times in take_turns(interpreters, rounds, 1, clock)]
