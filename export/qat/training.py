"""Learning to be int8: the loss, the optimizer in units of quantization, and a run that can be killed at any moment."""

import csv
import dataclasses
import json
import math
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from export.qat import photos
from export.qat.ranges import Range
from export.qat.rounding import named_variables
from shufflenet_tf.data import Source
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.data.pipeline import training_batches
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import atomic_path, open_npz
from shufflenet_tf.preprocessing import Preprocessing
from shufflenet_tf.training.callbacks import Diverged
from shufflenet_tf.training.checkpoint import Progress
from shufflenet_tf.training.schedules import Schedule

CHECKPOINT, HISTORY = "checkpoint.npz", "history.csv"
_REMEDY = "give another --output_dir, or --overwrite to start afresh."
_BETAS = (0.9, 0.99)  # the second one short, as the runs are
_EPSILON = 1e-12
# How much faster biases and ranges move than weights, which are many and stray if they follow every batch.
PACES = {"kernel": 1, "bias": 10, "low": 50, "high": 50}
FACTORS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)  # of ranges that span all values seen
_SECONDS = 5.0  # between two lines of progress


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
      distill: whether the float network alone teaches, or half of the loss is the labels'.
      steps, batch_size: of the run, and images in each.
      steps_per_epoch: between two evaluations; 0: a fifth of `steps`.
      test_images: for each evaluation, at most.
      learning_rate: the highest; a step moves a weight by at most about this part of its channel's largest one, of which
        int8 has 127 steps; biases and ranges move faster by `PACES`. It falls to zero along a cosine.
      temperature: of both networks' probabilities in distillation.
      checkpoint_steps: between two checkpoints.
      seed: of order and augmentation.
    """

    distill: bool = True
    steps: int = 300
    batch_size: int = 32
    steps_per_epoch: int = 0
    test_images: int = 500
    learning_rate: float = 3e-5
    temperature: float = 1.0
    checkpoint_steps: int = 100
    seed: int = 0


class Training:
    """A student, its teacher, and the optimizer's state.

    Args:
      student: of `rounding.rounded`.
      teacher: of `network.folded`: the same network in float.
      ranges: that the student started with.
      settings: how to train.
    """

    def __init__(self, student: tf.keras.Model, teacher: tf.keras.Model, ranges: Mapping[str, Range], settings: Settings):
        self.settings = settings
        self.student = tf.keras.Model(student.input, student.get_layer("linear").output)
        self.teacher = tf.keras.Model(teacher.input, teacher.get_layer("linear").output)
        self.whole = student
        named = named_variables(student)
        self.names, self.variables = list(named), list(named.values())
        self._units = _units(student, ranges, named)
        self.step = tf.Variable(0, dtype=tf.int64)
        self._moments = [[tf.Variable(tf.zeros_like(v)) for v in self.variables] for _ in _BETAS]
        self._schedule = Schedule("cosine", settings.learning_rate, settings.steps)
        self.update = tf.function(self._update)
        self.evaluate = tf.function(self._evaluate)
        self._distance = tf.function(lambda images: tf.reduce_sum(self._divergences(images, training=False)[0]))

    def rate(self) -> float:
        """Returns the learning rate of the next step."""
        return float(self._schedule(self.step))

    def state(self) -> dict[str, tf.Variable]:
        """Returns everything that a step reads and writes, by name."""
        lists = {"variable": self.variables, "mean": self._moments[0], "square": self._moments[1]}
        return {"step": self.step} | {
            f"{key}/{name}": v for key, values in lists.items() for name, v in zip(self.names, values, strict=True)
        }

    def tighten(self, batches: Sequence[np.ndarray]) -> float:
        """Narrows all ranges by the factor of `FACTORS` that brings the student closest to its teacher, and returns it.

        The largest values are few: what cutting them off costs, finer steps for all others outweigh, up to a point.

        Args:
          batches: uint8 [N, H, W, 3].
        """
        ends = [v for name, v in zip(self.names, self.variables, strict=True) if name.endswith(("/low", "/high"))]
        start = [v.numpy() for v in ends]

        def scale(factor: float) -> None:
            for variable, value in zip(ends, start, strict=True):
                variable.assign(value * factor)

        divergences = {}
        for factor in FACTORS:
            scale(factor)
            divergences[factor] = sum(float(self._distance(tf.cast(images, tf.float32))) for images in batches)
        best = min(divergences, key=divergences.__getitem__)
        scale(best)
        return best

    def _divergences(self, images, training):
        """Kullback-Leibler divergences of the student from the teacher [N], and the logits of both."""
        logits, taught = self.student(images, training=training), self.teacher(images, training=False)
        t = self.settings.temperature
        log_p, log_q = tf.nn.log_softmax(taught / t), tf.nn.log_softmax(logits / t)
        return t * t * tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), -1), logits, taught

    def _losses(self, images, labels, training):
        """Losses [N], and whether the answers are right [N]: the teacher's, or where labels teach too, the labels."""
        losses, logits, taught = self._divergences(images, training)
        targets = tf.argmax(taught, -1) if self.settings.distill else labels
        if not self.settings.distill:
            # By labels alone, a network that has learnt them already strays from what it knows.
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
            m.assign(_BETAS[0] * m + (1 - _BETAS[0]) * g)
            s.assign(_BETAS[1] * s + (1 - _BETAS[1]) * g * g)
            mean, square = m / (1 - _BETAS[0] ** n), s / (1 - _BETAS[1] ** n)
            v.assign_sub(rate * unit * mean / (tf.sqrt(square) + _EPSILON))
        self.step.assign_add(1)
        return loss, tf.reduce_mean(right)

    def _evaluate(self, images, labels):
        losses, right = self._losses(images, labels, training=False)
        return tf.reduce_sum(losses), tf.reduce_sum(right)


def _units(student: tf.keras.Model, ranges: Mapping[str, Range], variables: Mapping[str, tf.Variable]) -> list[np.ndarray]:
    """What counts as one for each variable: kernels by output channel, ranges and biases by the range's width."""
    width = {range_.group: range_.high - range_.low for range_ in ranges.values()}
    behind: dict[str, float] = {}  # layer -> width of the next range from there on
    for layer in reversed(student.layers):
        readers = [behind[node.outbound_layer.name] for node in layer.outbound_nodes]
        behind[layer.name] = width[ranges[layer.name].group] if layer.name in ranges else max(readers, default=1.0)
    units = []
    for name, variable in variables.items():
        owner, kind = name.rsplit("/", 1)
        if kind == "kernel":
            depthwise = isinstance(student.get_layer(owner).layer, tf.keras.layers.DepthwiseConv2D)
            axes = (0, 1, 3) if depthwise else tuple(range(variable.shape.rank - 1))
            units.append(np.abs(variable.numpy()).max(axes, keepdims=True))
        else:
            units.append(np.float32(PACES[kind] * (behind[owner] if kind == "bias" else width[owner])))
    return units


def train(
    training: Training,
    source: Source,
    contract: Preprocessing,
    augmentation: Augmentation,
    folder: pathlib.Path,
    run: dict[str, Any],
    say: Callable[[str], None] = print,
) -> Progress:
    """Trains, going on where an earlier run in `folder` stopped.

    Args:
      training: at its start.
      source: the photos.
      contract: the network's preprocessing, which says how they are cut.
      augmentation: what happens to them.
      folder: for the checkpoint and the history.
      run: what the run is, as JSON types, to be compared when it goes on.
      say: called with each line of progress.

    Raises:
      UserError: there are fewer photos than a batch, the folder holds another run, or the training diverged.
    """
    settings = training.settings
    if source.train.size < settings.batch_size:
        raise UserError(
            f"{source.name} has {source.train.size} photos to train on, fewer than a batch of {settings.batch_size}: "
            "give more, or a smaller --batch_size."
        )
    progress = _resumed(training, folder, run, say)
    size = training.student.input_shape[1:3]
    per_epoch = settings.steps_per_epoch or max(1, settings.steps // 5)
    if not progress.history:
        _evaluated(training, source, contract, progress, folder, 0, math.nan, say)
    pixels, classes = photos.in_pixels(contract), max(1, len(source.labels))
    batches = training_batches(
        source.train, pixels, augmentation, size, settings.batch_size, classes, settings.seed, progress.step
    )
    began, told, losses, first = time.monotonic(), time.monotonic(), [], progress.step
    for images, labels in batches.take(settings.steps - progress.step):
        rate = training.rate()
        loss, _ = training.update(images, tf.argmax(labels, -1))
        losses.append(float(loss))
        progress.step += 1
        if not math.isfinite(losses[-1]):
            raise _diverged(training, "the loss")
        if progress.step == first + 1:
            began = time.monotonic()  # TensorFlow has built its graph, which says nothing about the steps to come
        elif time.monotonic() - told > _SECONDS:
            told = time.monotonic()
            left = (told - began) / (progress.step - first - 1) * (settings.steps - progress.step)
            say(f"step {progress.step} of {settings.steps}, loss {np.mean(losses[-20:]):.4g}, {_duration(left)} left")
        if progress.step % per_epoch == 0 or progress.step == settings.steps:
            _evaluated(training, source, contract, progress, folder, rate, float(np.mean(losses[-per_epoch:])), say)
            _save(training, progress, folder)
        elif progress.step % settings.checkpoint_steps == 0:
            _save(training, progress, folder)
    return progress


def _evaluated(training, source, contract, progress, folder, rate, loss, say) -> None:
    """Adds a row to the history."""
    size = training.student.input_shape[1:3]
    total, right, count = 0.0, 0.0, 0
    settings = training.settings
    shown = settings.test_images if settings.test_images < source.test.size else 0
    for images, labels in photos.pixel_batches(source.test, contract, size, settings.batch_size, shown):
        a, b = training.evaluate(tf.cast(images, tf.float32), labels)
        total, right, count = total + float(a), right + float(b), count + len(images)
    row = {"epoch": len(progress.history), "step": progress.step, "learning_rate": rate, "loss": loss}
    row |= {"val_loss": total / count, "val_top1": right / count}
    progress.history.append(row)
    with atomic_path(folder / HISTORY) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerows(progress.history)
    measure = "same answer as in float" if settings.distill else "right"
    say(
        f"step {progress.step} of {settings.steps}: {row['val_top1']:.1%} {measure}, loss {row['val_loss']:.4g}, "
        f"on {count:,} test images"
    )


def _save(training: Training, progress: Progress, folder: pathlib.Path) -> None:
    arrays = {name: variable.numpy() for name, variable in training.state().items()}
    # A finite loss may have made weights that are none: the last good checkpoint is not given up for them.
    if lost := next((name for name, array in arrays.items() if not np.isfinite(array).all()), None):
        raise _diverged(training, lost)
    text = json.dumps(dataclasses.asdict(progress))
    with atomic_path(folder / CHECKPOINT) as temporary, open(temporary, "wb") as file:
        np.savez(file, progress=np.frombuffer(text.encode(), np.uint8), **arrays)


def _diverged(training: Training, what: str) -> Diverged:
    return Diverged(
        f"After step {int(training.step)}, {what} is no longer a number: "
        f"try --learning_rate={training.settings.learning_rate / 4:.2g}."
    )


def _resumed(training: Training, folder: pathlib.Path, run: dict[str, Any], say: Callable[[str], None]) -> Progress:
    run = json.loads(json.dumps(run))
    path = folder / CHECKPOINT
    if not path.exists():
        return Progress(run=run)
    with open_npz(path, _REMEDY) as file:
        progress = Progress(**json.loads(bytes(file["progress"]).decode()))
        if changed := [key for key in run if progress.run.get(key) != run[key]]:
            old, new = progress.run.get(changed[0]), run[changed[0]]
            raise UserError(f"The run in {folder} has another {changed[0]} ({old}, now {new}): {_REMEDY}")
        for name, variable in training.state().items():
            if name not in file or file[name].shape != tuple(variable.shape):
                raise UserError(f"{path} does not fit this run at {name}: {_REMEDY}")
            variable.assign(file[name])
    say(f"Going on at step {progress.step} of {training.settings.steps} of the run in {folder}.")
    return progress


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"
