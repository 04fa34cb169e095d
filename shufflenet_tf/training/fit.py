"""A whole training run, from an open dataset to a trained network, that can be killed and started again at any moment."""

import contextlib
import dataclasses
import math
import pathlib
import sys
from typing import Any

import numpy as np
import tensorflow as tf

from shufflenet_tf.data import Source
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.data.pipeline import evaluation_batches, training_batches
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.models.kernels import LEGACY_KERAS
from shufflenet_tf.training import checkpoint
from shufflenet_tf.training.callbacks import BEST, Keeper
from shufflenet_tf.training.schedules import Schedule
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
) -> checkpoint.Progress:
    """Trains `network` on `source`, going on where an earlier run in `folder` stopped, and leaves it with its best weights.

    Args:
      network: built under `strategy`; its input size and preprocessing say what it is fed.
      source: images and labels.
      settings: how to train.
      augmentation: what happens to the images.
      folder: for the checkpoint, the history, the best weights and TensorBoard's files.
      strategy: of distribution; None: the default one.

    Returns:
      The history; its `best_epoch` is that of the weights that the network has now.

    Raises:
      UserError: the folder holds another run, there are fewer images than a batch, or the training diverged.
    """
    settings = settings.for_images(source.train.size, source.name)
    steps_per_epoch = settings.steps_per_epoch or source.train.size // settings.batch_size
    run = _identity(network, source, settings, augmentation)
    progress = checkpoint.resume(folder, run, settings.steps, _say, fixed=("labels", "model", "keras"))
    freeze(network, settings.freeze)
    schedule = Schedule(settings.schedule, settings.learning_rate, settings.steps, settings.warmup_steps)
    with strategy.scope() if strategy else contextlib.nullcontext():
        trainer = _trainer(network, settings, schedule)
        arrays = checkpoint.restore(trainer.state(), folder) if progress.step else None

    def run_epochs(first: int, last: int, steps: int, metrics: dict[str, np.ndarray] | None = None) -> None:
        callbacks = [Keeper(folder, progress, schedule, settings.checkpoint_steps, steps_per_epoch, metrics)]
        if settings.tensorboard:
            callbacks.append(tf.keras.callbacks.TensorBoard(folder / "tensorboard", write_graph=False))
        training, validation = _batches(network, source, settings, augmentation, progress.step)
        trainer.fit(
            training,
            initial_epoch=first,
            epochs=last,
            steps_per_epoch=steps,
            validation_data=validation,
            callbacks=callbacks,
            shuffle=False,
            verbose=1 if sys.stdout.isatty() else 2,
        )

    done, within = divmod(progress.step, steps_per_epoch)
    if within and progress.step < settings.steps:
        run_epochs(done, done + 1, steps_per_epoch - within, arrays)
        done += 1
    if progress.step < settings.steps:
        run_epochs(done, math.ceil(settings.steps / steps_per_epoch), steps_per_epoch)
    if (folder / BEST).exists():
        canonical.load(network, folder / BEST)
    freeze(network, "none")
    return progress


def _trainer(network: ImageClassifier, settings: Settings, schedule: Schedule) -> Trainer:
    trainer = Trainer(network, settings.weight_decay, settings.label_smoothing, settings.ema, settings.backbone_rate)
    optimizer = tf.keras.optimizers.SGD(schedule, momentum=settings.momentum, nesterov=settings.momentum > 0)
    trainer.compile(optimizer=optimizer, jit_compile=False)
    trainer.optimizer.build(network.trainable_variables)
    return trainer


def _batches(
    network: ImageClassifier, source: Source, settings: Settings, augmentation: Augmentation, step: int
) -> tuple[tf.data.Dataset, tf.data.Dataset | None]:
    """Returns the batches to train on from `step` on, and those to choose the best epoch on, if there are any."""
    size, classes = network.input_shape[1:3], len(source.labels)
    rest = (size, settings.batch_size, classes)
    training = training_batches(source.train, network.preprocessing, augmentation, *rest, settings.seed, step)
    chosen_on = source.validation
    return training, chosen_on and evaluation_batches(chosen_on, network.preprocessing, *rest)


def _identity(network: ImageClassifier, source: Source, settings: Settings, augmentation: Augmentation) -> dict[str, Any]:
    """Returns what makes a run this run and no other."""
    config = {key: value for key, value in network.get_config().items() if key != "labels"}
    return {
        "model": config,
        "labels": source.labels,
        "dataset": source.name,
        "keras": 2 if LEGACY_KERAS else 3,
        **dataclasses.asdict(settings),
        **dataclasses.asdict(augmentation),
    }


def _say(line: str) -> None:
    print(line, flush=True)
