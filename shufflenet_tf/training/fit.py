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
from shufflenet_tf.training.callbacks import BEST, Keeper
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
    steps_per_epoch = settings.steps_per_epoch or source.all_training.size // settings.batch_size
    before = checkpoint.read_progress(folder)
    begins = before is None or not before.step
    if deadline is not None and not begins:  # its length was settled when it began
        settings = settings.shortened(before.run.get("steps", settings.steps))
    prior = _prior(source) if settings.balance else None
    if settings.classifier_first and begins:
        right = fit_classifier(network, source.train, settings.batch_size, prior)
        _say(f"The classifier alone, fitted to the features of the trained layers, knows {right:.1%} of the training images.")
    freeze(network, settings.freeze)
    schedule = Schedule(settings.schedule, settings.learning_rate, settings.steps, settings.warmup_steps)
    with strategy.scope() if strategy else contextlib.nullcontext():
        trainer = _trainer(network, source, settings, schedule, prior)
    if deadline is not None and begins:
        settings = _in_time(trainer, source, settings, augmentation, steps_per_epoch, deadline)
        schedule.shorten(settings.steps, settings.warmup_steps)
    run = _identity(network, source, settings, augmentation)
    progress = checkpoint.resume(folder, run, settings.steps, _say, fixed=("labels", "model", "keras"))
    with strategy.scope() if strategy else contextlib.nullcontext():
        arrays = checkpoint.restore(trainer.state(), folder) if progress.step else None

    def run_epochs(first: int, last: int, steps: int, metrics: dict[str, np.ndarray] | None = None) -> None:
        limits = {"patience": settings.patience, "deadline": deadline}
        keeper = Keeper(folder, progress, schedule, settings.checkpoint_steps, steps_per_epoch, metrics, **limits)
        callbacks = [keeper]
        if settings.tensorboard:
            callbacks.append(tf.keras.callbacks.TensorBoard(folder / "tensorboard", write_graph=False))
        sides = image_sides(network.input_shape[1:3], settings.first_size, settings.growth, settings.steps)
        # Keras 3 says so of validation photos whose number it can't know, as some may vanish meanwhile.
        warnings.filterwarnings("ignore", "Your input ran out of data")
        trainer.fit(
            _training(network, source, settings, augmentation, progress.step, sides),
            initial_epoch=first,
            epochs=last,
            steps_per_epoch=steps,
            validation_data=_validation(network, source, settings),
            callbacks=callbacks,
            shuffle=False,
            verbose=1 if sys.stdout.isatty() else 2,
        )

    done, within = divmod(progress.step, steps_per_epoch)
    if within and progress.step < settings.steps and not progress.stopped:
        run_epochs(done, done + 1, steps_per_epoch - within, arrays)
        done += 1
    if progress.step < settings.steps and not progress.stopped:
        run_epochs(done, math.ceil(settings.steps / steps_per_epoch), steps_per_epoch)
    if (folder / BEST).exists():
        canonical.load(network, folder / BEST)
    freeze(network, "none")
    return progress


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


def _in_time(
    trainer: Trainer,
    source: Source,
    settings: Settings,
    augmentation: Augmentation,
    steps_per_epoch: int,
    deadline: float,
) -> Settings:
    """Returns the settings, with as many steps as there is time for: whole epochs, unless it is less than one."""
    network = trainer.network

    def batches(sides: Sides) -> tf.data.Dataset:
        return _training(network, source, settings, augmentation, 0, sides)

    sides = image_sides(network.input_shape[1:3], settings.first_size, settings.growth, settings.steps)
    evaluated = (source.validation.size if source.validation else 0) / (steps_per_epoch * settings.batch_size)
    steps = pace.affordable_steps(trainer, batches, sides, settings.steps, evaluated, deadline - time.monotonic())
    if steps == settings.steps:
        return settings
    steps = steps // steps_per_epoch * steps_per_epoch or steps
    little = ", which is less than all images once: more time makes a better model" if steps < steps_per_epoch else ""
    _say(
        f"{settings.minutes:g} minutes allow {steps:,} of {settings.steps:,} steps: the training is shortened to that{little}."
    )
    return settings.shortened(steps)


def _training(
    network: ImageClassifier, source: Source, settings: Settings, augmentation: Augmentation, step: int, sides: Sides
) -> tf.data.Dataset:
    """Returns the batches to train on from `step` on."""
    size, classes = network.input_shape[1:3], len(source.labels)
    rest = (size, settings.batch_size, classes, settings.seed, step, sides if settings.first_size < 1 else None)
    return training_batches(source.all_training, network.preprocessing, augmentation, *rest)


def _validation(network: ImageClassifier, source: Source, settings: Settings) -> tf.data.Dataset | None:
    """Returns the batches to choose the best epoch on, if there are any."""
    rest = (network.preprocessing, network.input_shape[1:3], settings.batch_size, len(source.labels))
    return evaluation_batches(source.validation, *rest) if source.validation else None


def _identity(network: ImageClassifier, source: Source, settings: Settings, augmentation: Augmentation) -> dict[str, Any]:
    """Returns what makes a run this run and no other."""
    config = {key: value for key, value in network.get_config().items() if key != "labels"}
    return {
        "model": config,
        "labels": source.labels,
        "dataset": source.name,
        "keras": 2 if LEGACY_KERAS else 3,
        **dataclasses.asdict(dataclasses.replace(settings, minutes=0.0)),
        **dataclasses.asdict(augmentation),
    }


def _say(line: str) -> None:
    print(line, flush=True)
