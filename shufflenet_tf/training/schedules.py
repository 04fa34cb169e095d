"""Learning rates by step, whatever an epoch is."""

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from shufflenet_tf.errors import UserError
from shufflenet_tf.models.kernels import register

KINDS = ("linear", "cosine", "step", "constant")


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

    def __call__(self, step):
        step = tf.cast(step, tf.float32)
        progress = tf.clip_by_value((step - self.warmup) / (self.steps - self.warmup), 0.0, 1.0)
        if self.kind == "linear":
            rate = 1 - progress
        elif self.kind == "cosine":
            rate = (1 + tf.cos(math.pi * progress)) / 2
        elif self.kind == "step":
            passed = tf.reduce_sum(tf.cast(step >= tf.round(tf.constant(self.milestones) * self.steps), tf.float32))
            rate = self.factor**passed
        else:
            rate = tf.ones_like(progress)
        # The first step is not lost to a rate of zero.
        rising = tf.minimum(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        return self.peak * tf.where(step < self.warmup, rising, rate)

    def get_config(self) -> dict[str, Any]:
        keys = ("kind", "peak", "steps", "warmup", "milestones", "factor")
        return {key: getattr(self, key) for key in keys}
