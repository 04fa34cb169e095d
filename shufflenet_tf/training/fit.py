"""A whole training run, from an open dataset to a trained network, that can be killed and started again at any moment."""

import dataclasses
import json
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
from shufflenet_tf.data.source import Shard, class_counts
from shufflenet_tf.distribution.strategy import Distribution
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.models.kernels import LEGACY_KERAS
from shufflenet_tf.training import checkpoint, pace, preemption
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
    distribution: Distribution | None = None,
    deadline: float | None = None,
) -> checkpoint.Progress:
    """Trains `network` on `source`, going on where an earlier run in `folder` stopped, and leaves it with its best weights.

    Args:
      network: built under the strategy of `distribution`; its input size and preprocessing say what it is fed.
      source: images and labels.
      settings: how to train.
      augmentation: what happens to the images.
      folder: for the checkpoint, the history, the best weights and TensorBoard's files.
      distribution: over devices and workers; None: one device. Where there are several workers, the network is left with its
        last weights, and the chief's folder has the best ones.
      deadline: when the training has to end, by `time.monotonic`; None: whenever its steps are done.

    Returns:
      The history; its `best_epoch` is that of the weights that the network has now.

    Raises:
      UserError: the folder holds another run, there are fewer images than a batch, or the training diverged.
      Preempted: SIGTERM has come, and a checkpoint is written.
      LostWorker: another worker has ended.
    """
    if settings.unlabelled:
        source = dataclasses.replace(source, unlabelled=open_unlabelled(settings.unlabelled))
    settings = settings.for_images(source.all_training.size, source.name)
    distribution = distribution or Distribution()
    before = _read_progress(distribution, folder)
    begins = before is None or not before.step
    if deadline is not None and not begins:  # its length was settled when it began
        settings = settings.shortened(before.run.get("steps", settings.steps))
    job = _Job(network, source, settings, augmentation, folder, deadline, distribution)
    prior = _prior(source) if settings.balance else None
    if settings.classifier_first and begins:
        right = fit_classifier(network, source.train, settings.batch_size, prior)
        _say(f"The classifier alone, fitted to the features of the trained layers, knows {right:.1%} of the training images.")
    freeze(network, settings.freeze)
    schedule = Schedule(settings.schedule, settings.learning_rate, settings.steps, settings.warmup_steps)
    with distribution.scope():
        trainer = _trainer(job, schedule, prior)
    if deadline is not None and begins:
        job = _in_time(trainer, job)
        schedule.shorten(job.settings.steps, job.settings.warmup_steps)
    fixed = ("labels", "model", "keras")
    progress = checkpoint.resume(before, folder, _identity(job), job.settings.steps, _say, fixed)
    with distribution.scope():
        arrays = _restore(trainer, job) if progress.step else None
    with distribution.watched():
        _run(trainer, job, schedule, progress, arrays)
    if distribution.cluster is None and (folder / BEST).exists():
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
    distribution: Distribution

    @property
    def steps_per_epoch(self) -> int:
        return self.settings.steps_per_epoch or self.source.all_training.size // self.settings.batch_size

    @property
    def sides(self) -> Sides:
        """The size of the images of each step."""
        settings = self.settings
        return image_sides(self.network.input_shape[1:3], settings.first_size, settings.growth, settings.steps)

    def training(self, step: int, sides: Sides) -> Any:
        """Returns the batches to train on from `step` on."""
        network, settings, classes = self.network, self.settings, len(self.source.labels)
        rest = (settings.batch_size, classes, settings.seed, step, sides if settings.first_size < 1 else None)
        examples = self.source.all_training

        def make(shard: Shard) -> tf.data.Dataset:
            size = network.input_shape[1:3]
            return training_batches(examples, network.preprocessing, self.augmentation, size, *rest, shard=shard)

        return self.distribution.batches(make)

    def validation(self) -> dict[str, Any]:
        """Returns the arguments of `fit` that say which batches to choose the best epoch on, if there are any."""
        network, batch_size, split = self.network, self.settings.batch_size, self.source.validation
        if split is None:
            return {}
        rest = (network.preprocessing, network.input_shape[1:3], batch_size, len(self.source.labels))
        filled = self.distribution.is_tpu
        batches = self.distribution.batches(lambda shard: evaluation_batches(split, *rest, shard, filled, keep=True))
        # Only a dataset that TensorFlow distributes needs their number.
        return {"validation_data": batches} | (
            {"validation_steps": math.ceil(split.size / batch_size)} if self.distribution.cluster else {}
        )


def _run(
    trainer: Trainer,
    job: _Job,
    schedule: Schedule,
    progress: checkpoint.Progress,
    metrics: dict[str, np.ndarray] | None,
) -> None:
    """Trains from where `progress` stands to the end; `metrics` are those of an interrupted epoch."""
    settings, per_epoch, is_chief = job.settings, job.steps_per_epoch, job.distribution.is_chief

    def epochs(first: int, last: int, steps: int, metrics: dict[str, np.ndarray] | None = None) -> None:
        rest = {"patience": settings.patience, "deadline": job.deadline, "distribution": job.distribution, "asked": asked}
        callbacks = [Keeper(job.folder, progress, schedule, settings.checkpoint_steps, per_epoch, metrics, **rest)]
        if settings.tensorboard and is_chief:
            callbacks.append(tf.keras.callbacks.TensorBoard(job.folder / "tensorboard", write_graph=False))
        # Keras 3 says so of validation photos, whose number it can't know, as some may vanish meanwhile.
        warnings.filterwarnings("ignore", "Your input ran out of data")
        trainer.fit(
            job.training(progress.step, job.sides),
            initial_epoch=first,
            epochs=last,
            steps_per_epoch=steps,
            callbacks=[*callbacks, *([Bar()] if is_chief else [])],
            shuffle=False,
            verbose=(1 if sys.stdout.isatty() else 2) if is_chief else 0,
            **job.validation(),
        )

    with preemption.noticed() as asked:
        done, within = divmod(progress.step, per_epoch)
        if within and progress.step < settings.steps and not progress.stopped:
            epochs(done, done + 1, per_epoch - within, metrics)
            done += 1
        if progress.step < settings.steps and not progress.stopped:
            epochs(done, math.ceil(settings.steps / per_epoch), per_epoch)


def _read_progress(distribution: Distribution, folder: pathlib.Path) -> checkpoint.Progress | None:
    """Returns where the run in the chief's folder stands; the others' folders don't matter."""
    progress = checkpoint.read_progress(folder) if distribution.is_chief else None
    if distribution.cluster is None:
        return progress
    text = json.dumps(progress and dataclasses.asdict(progress)).encode() if distribution.is_chief else b""
    length = int(distribution.sum(len(text)))
    content = {"text": np.frombuffer(text, np.uint8)}
    text = distribution.from_chief(content, {"text": np.zeros(length, np.uint8)})["text"].tobytes()
    return None if (read := json.loads(text)) is None else checkpoint.Progress(**read)


def _restore(trainer: Trainer, job: _Job) -> dict[str, np.ndarray]:
    """Sets the trainer to the chief's checkpoint and returns its arrays by name."""
    state = trainer.state()
    if job.distribution.cluster is None:
        return checkpoint.restore(state, job.folder)
    arrays = checkpoint.read_state(state, job.folder) if job.distribution.is_chief else None
    arrays = job.distribution.from_chief(arrays, state)
    for name, variable in state.items():
        variable.assign(arrays[name])
    return arrays


def _prior(source: Source) -> np.ndarray:
    """Returns the share of each class among the labelled training images."""
    counts = np.maximum(class_counts(source.train, len(source.labels)), 1).astype(np.float64)
    return counts / counts.sum()


def _trainer(job: _Job, schedule: Schedule, prior: np.ndarray | None) -> Trainer:
    """Returns what trains the network, compiled."""
    network, settings = job.network, job.settings
    teacher = None
    if settings.teacher:
        how = (settings.temperature, settings.teacher_weight)
        teacher = Teacher(settings.teacher, job.source.labels, network.preprocessing, *how)
    rates = (settings.backbone_rate, settings.layer_decay)
    trainer = Trainer(network, settings.weight_decay, settings.label_smoothing, settings.ema, *rates, prior, teacher)
    optimizer = tf.keras.optimizers.SGD(schedule, momentum=settings.momentum, nesterov=settings.momentum > 0)
    trainer.compile(
        optimizer, jit_compile=settings.xla, steps_per_execution=job.distribution.steps_at_once(job.steps_per_epoch)
    )
    if job.distribution.cluster:  # else the devices' running figures, which are means, would be added up
        trainer.distribute_reduction_method = "first"
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
