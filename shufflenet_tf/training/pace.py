"""How long a training will take, from a few of its steps, and how many steps a limit in minutes allows."""

import itertools
import math
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from shufflenet_tf.training.schedules import Sides
from shufflenet_tf.training.trainer import Trainer

_UNTIMED, _TIMED = 2, 6  # steps: the first ones compile and fill buffers
_EVALUATION = 0.4  # time of an image in evaluation, relative to training
_MARGIN = 0.93  # of the time that is left: steps are not all alike


def affordable_steps(
    trainer: Trainer, batches: Callable[[Sides], tf.data.Dataset], sides: Sides, steps: int, images: float, seconds: float
) -> int:
    """Returns how many steps `seconds` allow, at most `steps` and at least one, and leaves the trainer as it was.

    Args:
      trainer: compiled; a few steps are tried with it.
      batches: makes training batches whose images have the sides that it is given.
      sides: of the images by step.
      steps: of the whole training.
      images: that are evaluated, as a part of those that are trained on meanwhile.
      seconds: for steps and evaluations.
    """
    began = time.monotonic()
    before = {name: np.array(variable) for name, variable in trainer.state().items()}
    smallest, largest = np.array(sides(0)), np.array(sides(steps))
    measured = [largest] if np.array_equal(smallest, largest) else [smallest, largest]
    seconds_each = [_seconds(trainer, batches(lambda _, side=side: tf.constant(side))) for side in measured]
    for name, variable in trainer.state().items():
        variable.assign(before[name])
    trainer.reset_metrics()
    # By the area of images, a step takes a constant and a part in proportion.
    points = [float(np.prod(sides(step))) for step in range(0, steps, max(1, steps // 100))]
    mean = np.mean(np.interp(points, [float(np.prod(side)) for side in measured], seconds_each))
    each = mean + _EVALUATION * images * seconds_each[-1]
    left = (seconds - (time.monotonic() - began)) * _MARGIN
    return max(1, min(steps, math.floor(left / each)))


def _seconds(trainer: Trainer, batches: tf.data.Dataset) -> float:
    """Returns the time of a step."""
    trainer.make_train_function()
    iterator = iter(batches)
    marks = []
    for _ in itertools.repeat(None, _UNTIMED + _TIMED):
        trainer.train_function(iterator)
        np.asarray(trainer.optimizer.iterations)  # waits for the step
        marks.append(time.monotonic())
    return (marks[-1] - marks[_UNTIMED - 1]) / _TIMED
