"""Learning rates and image sizes by step, whatever an epoch is."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from shufflenet_tf.errors import UserError
from shufflenet_tf.models.kernels import register

KINDS = ("linear", "cosine", "step", "constant")
Sides = Callable[[tf.Tensor | int], tf.Tensor]  # step -> height and width, int32 [2]

_GRID = 16  # pixels: half of the stride of the last feature map


def image_sides(size: tuple[int, int], first: float, growth: float, steps: int) -> Sides:
    """Returns the image size by step.

    Args:
      size: height and width at the end.
      first: part of them at the beginning.
      growth: part of the training in which images grow from that, by 16 pixels at a time; 0: they never do.
      steps: of the training.
    """

    def sides(step: tf.Tensor | int) -> tf.Tensor:
        progress = tf.minimum(1.0, tf.cast(step, tf.float32) / (growth * steps)) if growth else tf.constant(0.0)
        wanted = tf.constant(size, tf.float32) * (first + (1 - first) * progress)
        rounded = tf.cast(tf.maximum(tf.round(wanted / _GRID), 2) * _GRID, tf.int32)
        return tf.where((progress < 1) & (first < 1), tf.minimum(rounded, size), size)

    return sides


@register
class Schedule(tf.keras.optimizers.schedules.LearningRateSchedule):
    """A linear warm-up from zero, then a decay over the remaining steps.

    Args:
      kind: "linear" to zero (both papers), "cosine" to zero, "step" (times `factor` at each of `milestones`) or "constant".
      peak: the highest learning rate.
      steps: of the whole training, warm-up included; the rate stays at its last value behind them.
      warmup: steps of the warm-up.
      milestones: for "step": fractions of `steps`, rising.
      factor: for "step".

    Raises:
      UserError: an unknown kind, or a value out of range.
    """

    def __init__(
        self,
        kind: str,
        peak: float,
        steps: int,
        warmup: int = 0,
        milestones: Sequence[float] = (0.3, 0.6, 0.9),
        factor: float = 0.1,
    ):
        super().__init__()
        if kind not in KINDS:
            raise UserError(f"Schedule {kind!r} is unknown; it can be {', '.join(KINDS)}.")
        if peak <= 0 or not 0 <= warmup < steps:
            raise UserError(
                f"A schedule with learning rate {peak}, {steps} steps and {warmup} of them warm-up can't be followed: "
                "the rate must be positive and the warm-up shorter than the training."
            )
        self.kind, self.peak, self.steps, self.warmup = kind, peak, steps, warmup
        self.milestones, self.factor = tuple(milestones), factor
        self._length = tf.Variable([steps, warmup], trainable=False, dtype=tf.float32)

    def shorten(self, steps: int, warmup: int) -> None:
        """Makes it one of another length; a training step that is compiled already follows it."""
        self.steps, self.warmup = steps, warmup
        self._length.assign([steps, warmup])

    def __call__(self, step):
        step = tf.cast(step, tf.float32)
        steps, warmup = tf.unstack(tf.convert_to_tensor(self._length))
        progress = tf.clip_by_value((step - warmup) / (steps - warmup), 0.0, 1.0)
        if self.kind == "linear":
            rate = 1 - progress
        elif self.kind == "cosine":
            rate = (1 + tf.cos(math.pi * progress)) / 2
        elif self.kind == "step":
            passed = tf.reduce_sum(tf.cast(step >= tf.round(tf.constant(self.milestones) * steps), tf.float32))
            rate = self.factor**passed
        elif self.kind == "constant":
            rate = tf.ones_like(progress)
        else:
            raise NotImplementedError(f"The schedule {self.kind!r} has no formula.")
        # The first step is not lost to a rate of zero.
        rising = tf.minimum(1.0, (step + 1) / tf.maximum(warmup, 1))
        return self.peak * tf.where(step < warmup, rising, rate)

    def get_config(self) -> dict[str, Any]:
        keys = ("kind", "peak", "steps", "warmup", "milestones", "factor")
        return {key: getattr(self, key) for key in keys}
