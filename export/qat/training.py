"""Learning to be int8: the loss, and an optimizer in units of quantization."""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf

from export.qat.fake_quantization import named_variables
from export.qat.graph_weights import Start
from shufflenet_tf.options import check, option
from shufflenet_tf.training.schedules import Schedule

_BETAS = (0.9, 0.99)  # the second one short, as the runs are
_EPSILON = 1e-12
_AVERAGE = 0.95  # decay of the moving average of the variables
WARMUP = 10  # one in so many steps: the first ones of full size would undo what post-training quantization has done
# How much faster biases and ranges move than weights, which are many and stray if they follow every batch.
PACES = {"kernel": 1, "bias": 5, "low": 5, "high": 5}


@dataclasses.dataclass(frozen=True)
class QatSettings:
    """How to train.

    A step moves a weight by at most about `learning_rate` times its channel's limit, of which int8 has 127 steps; biases and
    ranges move faster by `PACES`. The rate rises for a tenth of the steps and falls to zero along a cosine.

    Raises:
      UserError: a value out of range.
    """

    distill: bool = True  # whether the float network teaches alone; else half of the loss is the labels'
    steps: int = option(300, "Training steps.", 1)
    batch_size: int = option(32, "Images a step.", 1)
    steps_per_epoch: int = option(0, "Steps between two evaluations; 0: a fifth of --steps.", 0)
    test_images: int = option(500, "Largest number of test images for each evaluation and the report.", 1)
    learning_rate: float = option(1e-5, "Largest part of its channel's range by which a step moves a weight.", 1e-8, 0.1)
    temperature: float = option(1.0, "Temperature of the probabilities in distillation.", 0.1, 100)
    checkpoint_steps: int = option(100, "Steps between two checkpoints.", 1)
    seed: int = option(0, "Seed of order and augmentation.", 0)

    def __post_init__(self):
        check(self)


class Training:
    """A student, its teacher, and the optimizer's state.

    Args:
      student: of `fake_quantization.rounded`.
      teacher: of `folding.folded`: the same network in float.
      start: that the student began with.
      settings: how to train.
    """

    def __init__(self, student: tf.keras.Model, teacher: tf.keras.Model, start: Start, settings: QatSettings):
        self.settings = settings
        self.student = tf.keras.Model(student.input, student.get_layer("linear").output)
        self.teacher = tf.keras.Model(teacher.input, teacher.get_layer("linear").output)
        self.whole = student
        named = named_variables(student)
        self.names, self.variables = list(named), list(named.values())
        self._units = _units(student, start, named)
        self.step = tf.Variable(0, dtype=tf.int64)
        self._moments = [
            [tf.Variable(tf.zeros_like(v)) for v in self.variables],
            [tf.Variable(0.0) for _ in self.variables],
        ]
        self._schedule = Schedule("cosine", settings.learning_rate, settings.steps, settings.steps // WARMUP)
        self._averages = [tf.Variable(v) for v in self.variables]
        self.update = tf.function(self._update)
        self.evaluate = tf.function(self._evaluate)

    def rate(self) -> float:
        """Returns the learning rate of the next step."""
        return float(self._schedule(self.step))

    def state(self) -> dict[str, tf.Variable]:
        """Returns everything that a step reads and writes, by name."""
        lists = {"variable": self.variables, "average": self._averages, "mean": self._moments[0], "square": self._moments[1]}
        return {"step": self.step} | {
            f"{key}/{name}": v for key, values in lists.items() for name, v in zip(self.names, values, strict=True)
        }

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """For as long as the block lasts, the student is the average of its last steps, which rounding throws about less."""
        kept = [v.numpy() for v in self.variables]
        for v, average in zip(self.variables, self._averages, strict=True):
            v.assign(average)
        try:
            yield
        finally:
            for v, value in zip(self.variables, kept, strict=True):
                v.assign(value)

    def _divergences(self, images, training):
        """Kullback-Leibler divergences of the student from the teacher [N], and the logits of both."""
        logits, taught = self.student(images, training=training), self.teacher(images, training=False)
        t = self.settings.temperature
        # Not `logit_metrics.kl_divergence`, which is NumPy's: gradients flow through this one.
        log_p, log_q = tf.nn.log_softmax(taught / t), tf.nn.log_softmax(logits / t)
        return t * t * tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), -1), logits, taught

    def _losses(self, images, labels, training):
        """Losses [N], and whether the answers are right [N]: the teacher's, or where labels teach too, the labels."""
        losses, logits, taught = self._divergences(images, training)
        targets = tf.argmax(taught, -1) if self.settings.distill else labels
        if not self.settings.distill:
            # Labels alone would lead a network that has already learnt them astray.
            losses = (losses + tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)) / 2
        return losses, tf.cast(tf.argmax(logits, -1) == targets, tf.float32)

    def _update(self, images, labels):
        with tf.GradientTape() as tape:
            losses, right = self._losses(images, labels, training=True)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, self.variables)
        rate = tf.cast(self._schedule(self.step), tf.float32)
        n = tf.cast(self.step + 1, tf.float32)
        for v, g, unit, m, s in zip(self.variables, gradients, self._units, *self._moments, strict=True):
            if g is None:
                continue
            g = g * unit
            m.assign(_BETAS[0] * m + (1 - _BETAS[0]) * g)
            # One square for all elements: those that hardly matter hardly move, and keep the rounding that they started with.
            s.assign(_BETAS[1] * s + (1 - _BETAS[1]) * tf.reduce_mean(g * g))
            mean, square = m / (1 - _BETAS[0] ** n), s / (1 - _BETAS[1] ** n)
            v.assign_sub(rate * unit * mean / (tf.sqrt(square) + _EPSILON))
        decay = tf.minimum(_AVERAGE, (n + 1) / (n + 10))
        for v, average in zip(self.variables, self._averages, strict=True):
            average.assign_add((1 - decay) * (v - average))
        self.step.assign_add(1)
        return loss, tf.reduce_mean(right)

    def _evaluate(self, images, labels):
        return self._losses(images, labels, training=False)


def _units(student: tf.keras.Model, start: Start, names: Iterable[str]) -> list[np.ndarray]:
    """What counts as one for each variable: kernels by output channel, ranges and biases by the range's width."""
    ranges = start.ranges
    width = {range_.group: range_.high - range_.low for range_ in ranges.values()}
    behind: dict[str, float] = {}  # layer -> width of the next range from there on
    for layer in reversed(student.layers):
        readers = [behind[node.outbound_layer.name] for node in layer.outbound_nodes]
        behind[layer.name] = width[ranges[layer.name].group] if layer.name in ranges else max(readers, default=1.0)
    units = []
    for name in names:
        owner, kind = name.rsplit("/", 1)
        if kind == "kernel":
            depthwise = isinstance(student.get_layer(owner).layer, tf.keras.layers.DepthwiseConv2D)
            limits = start.layers[owner].limits.astype(np.float32)
            units.append(limits[:, None] if depthwise else limits)
        else:
            units.append(np.float32(PACES[kind] * (behind[owner] if kind == "bias" else width[owner])))
    return units
