"""A whole training run, from an open dataset to a trained network, that can be killed and started again at any moment."""

import contextlib
import dataclasses
import math
import pathlib
import sys
import time
import warnings
from typing import Any

import numpy as np
import tensorflow as tf

from shufflenet_tf.data import Source
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.data.folder import open_unlabelled
from shufflenet_tf.data.pipeline import evaluation_batches, training_batches
from shufflenet_tf.data.source import class_counts
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.models.kernels import LEGACY_KERAS
from shufflenet_tf.training import checkpoint, pace
from shufflenet_tf.training.callbacks import BEST, Bar, Keeper
from shufflenet_tf.training.classifier import fit_classifier
from shufflenet_tf.training.distillation import Teacher
from shufflenet_tf.training.schedules import Schedule, Sides, image_sides
from shufflenet_tf.training.settings import Settings
from shufflenet_tf.training.trainer import Trainer
from shufflenet_tf.training.transfer import freeze
from shufflenet_tf.weights import canonical


def fit(
    network: ImageClassifier,
    source: Source,
    settings: Settings,
    augmentation: Augmentation,
    folder: pathlib.Path,
    strategy: tf.distribute.Strategy | None = None,
    deadline: float | None = None,
) -> checkpoint.Progress:
    """Trains `network` on `source`, going on where an earlier run in `folder` stopped, and leaves it with its best weights.

    Args:
      network: built under `strategy`; its input size and preprocessing say what it is fed.
      source: images and labels.
      settings: how to train.
      augmentation: what happens to the images.
      folder: for the checkpoint, the history, the best weights and TensorBoard's files.
      strategy: of distribution; None: the default one.
      deadline: when the training has to end, by `time.monotonic`; None: whenever its steps are done.

    Returns:
      The history; its `best_epoch` is that of the weights that the network has now.

    Raises:
      UserError: the folder holds another run, there are fewer images than a batch, or the training diverged.
    """
    if settings.unlabelled:
        source = dataclasses.replace(source, unlabelled=open_unlabelled(settings.unlabelled))
    settings = settings.for_images(source.all_training.size, source.name)
    before = checkpoint.read_progress(folder)
    begins = before is None or not before.step
    if deadline is not None and not begins:  # its length was settled when it began
        settings = settings.shortened(before.run.get("steps", settings.steps))
    job = _Job(network, source, settings, augmentation, folder, deadline)
    prior = _prior(source) if settings.balance else None
    if settings.classifier_first and begins:
        right = fit_classifier(network, source.train, settings.batch_size, prior)
        _say(f"The classifier alone, fitted to the features of the trained layers, knows {right:.1%} of the training images.")
    freeze(network, settings.freeze)
    schedule = Schedule(settings.schedule, settings.learning_rate, settings.steps, settings.warmup_steps)
    with strategy.scope() if strategy else contextlib.nullcontext():
        trainer = _trainer(network, source, settings, schedule, prior)
    if deadline is not None and begins:
        job = _in_time(trainer, job)
        schedule.shorten(job.settings.steps, job.settings.warmup_steps)
    progress = checkpoint.resume(folder, _identity(job), job.settings.steps, _say, fixed=("labels", "model", "keras"))
    with strategy.scope() if strategy else contextlib.nullcontext():
        arrays = checkpoint.restore(trainer.state(), folder) if progress.step else None
    _run(trainer, job, schedule, progress, arrays)
    if (folder / BEST).exists():
        canonical.load(network, folder / BEST)
    freeze(network, "none")
    return progress


@dataclasses.dataclass(frozen=True)
class _Job:
    """What is trained, on what, how, until when, and where to; see `fit`."""

    network: ImageClassifier
    source: Source
    settings: Settings
    augmentation: Augmentation
    folder: pathlib.Path
    deadline: float | None

    @property
    def steps_per_epoch(self) -> int:
        return self.settings.steps_per_epoch or self.source.all_training.size // self.settings.batch_size

    @property
    def sides(self) -> Sides:
        """The size of the images of each step."""
        settings = self.settings
        return image_sides(self.network.input_shape[1:3], settings.first_size, settings.growth, settings.steps)

    def training(self, step: int, sides: Sides) -> tf.data.Dataset:
        """Returns the batches to train on from `step` on."""
        network, settings, classes = self.network, self.settings, len(self.source.labels)
        rest = (settings.batch_size, classes, settings.seed, step, sides if settings.first_size < 1 else None)
        examples = self.source.all_training
        return training_batches(examples, network.preprocessing, self.augmentation, network.input_shape[1:3], *rest)

    def validation(self) -> tf.data.Dataset | None:
        """Returns the batches to choose the best epoch on, if there are any."""
        network, batch_size = self.network, self.settings.batch_size
        rest = (network.preprocessing, network.input_shape[1:3], batch_size, len(self.source.labels))
        return evaluation_batches(self.source.validation, *rest) if self.source.validation else None


def _run(
    trainer: Trainer,
    job: _Job,
    schedule: Schedule,
    progress: checkpoint.Progress,
    metrics: dict[str, np.ndarray] | None,
) -> None:
    """Trains from where `progress` stands to the end; `metrics` are those of an interrupted epoch."""
    settings, per_epoch = job.settings, job.steps_per_epoch

    def epochs(first: int, last: int, steps: int, metrics: dict[str, np.ndarray] | None = None) -> None:
        limits = {"patience": settings.patience, "deadline": job.deadline}
        callbacks = [Keeper(job.folder, progress, schedule, settings.checkpoint_steps, per_epoch, metrics, **limits)]
        if settings.tensorboard:
            callbacks.append(tf.keras.callbacks.TensorBoard(job.folder / "tensorboard", write_graph=False))
        # Keras 3 says so of validation photos, whose number it can't know, as some may vanish meanwhile.
        warnings.filterwarnings("ignore", "Your input ran out of data")
        trainer.fit(
            job.training(progress.step, job.sides),
            initial_epoch=first,
            epochs=last,
            steps_per_epoch=steps,
            validation_data=job.validation(),
            callbacks=[*callbacks, Bar()],
            shuffle=False,
            verbose=1 if sys.stdout.isatty() else 2,
        )

    done, within = divmod(progress.step, per_epoch)
    if within and progress.step < settings.steps and not progress.stopped:
        epochs(done, done + 1, per_epoch - within, metrics)
        done += 1
    if progress.step < settings.steps and not progress.stopped:
        epochs(done, math.ceil(settings.steps / per_epoch), per_epoch)


def _prior(source: Source) -> np.ndarray:
    """Returns the share of each class among the labelled training images."""
    counts = np.maximum(class_counts(source.train, len(source.labels)), 1).astype(np.float64)
    return counts / counts.sum()


def _trainer(
    network: ImageClassifier, source: Source, settings: Settings, schedule: Schedule, prior: np.ndarray | None
) -> Trainer:
    """Returns what trains the network, compiled."""
    teacher = None
    if settings.teacher:
        how = (settings.temperature, settings.teacher_weight)
        teacher = Teacher(settings.teacher, source.labels, network.preprocessing, *how)
    rates = (settings.backbone_rate, settings.layer_decay)
    trainer = Trainer(network, settings.weight_decay, settings.label_smoothing, settings.ema, *rates, prior, teacher)
    optimizer = tf.keras.optimizers.SGD(schedule, momentum=settings.momentum, nesterov=settings.momentum > 0)
    trainer.compile(optimizer=optimizer, jit_compile=False)
    trainer.optimizer.build(network.trainable_variables)
    return trainer


def _in_time(trainer: Trainer, job: _Job) -> _Job:
    """Returns the job with as many steps as there is time for: whole epochs, unless it is less than one."""
    settings, per_epoch = job.settings, job.steps_per_epoch
    evaluated = (job.source.validation.size if job.source.validation else 0) / (per_epoch * settings.batch_size)
    left = job.deadline - time.monotonic()
    steps = pace.affordable_steps(trainer, lambda sides: job.training(0, sides), job.sides, settings.steps, evaluated, left)
    if steps == settings.steps:
        return job
    steps = steps // per_epoch * per_epoch or steps
    little = ", which is less than all images once: more time makes a better model" if steps < per_epoch else ""
    _say(
        f"{settings.minutes:g} minutes allow {steps:,} of {settings.steps:,} steps: the training is shortened to that{little}."
    )
    return dataclasses.replace(job, settings=settings.shortened(steps))


def _identity(job: _Job) -> dict[str, Any]:
    """Returns what makes a run this run and no other."""
    config = {key: value for key, value in job.network.get_config().items() if key != "labels"}
    return {
        "model": config,
        "labels": job.source.labels,
        "dataset": job.source.name,
        "keras": 2 if LEGACY_KERAS else 3,
        **dataclasses.asdict(dataclasses.replace(job.settings, minutes=0.0)),
        **dataclasses.asdict(job.augmentation),
    }


def _say(line: str) -> None:
    print(line, flush=True)
