"""A run of training that can be killed at any moment, and ends with the best of its steps."""

import csv
import dataclasses
import json
import math
import pathlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from export.qat import photos
from export.qat.training import Training
from shufflenet_tf.data import Source
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.data.pipeline import training_batches
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import atomic_path, open_npz
from shufflenet_tf.preprocessing import Preprocessing
from shufflenet_tf.training.callbacks import Diverged
from shufflenet_tf.training.checkpoint import Progress

CHECKPOINT, HISTORY, BEST = "checkpoint.npz", "history.csv", "best.npz"
_REMEDY = "give another --output_dir, or --overwrite to start afresh."
WHY = "the smallest loss on test images, beyond chance"
_LOSSES, _STEP = "losses", "step"  # of the test images, in the file of the best step
_SECONDS = 5.0  # between two lines of progress


def train(
    training: Training,
    source: Source,
    contract: Preprocessing,
    augmentation: Augmentation,
    folder: pathlib.Path,
    run: dict[str, Any],
    say: Callable[[str], None] = print,
) -> Progress:
    """Trains, going on where an earlier run in `folder` stopped, and ends with the step that did best on test images.

    That may be the one before the first: a step only takes another one's place if the loss is smaller by more than chance
    would have it, which is a standard error of the differences on the images. Any step rounds activations another way, so
    that losses differ a little even if nothing has been learnt.

    Args:
      training: at its start.
      source: the photos.
      contract: the network's preprocessing, which says how they are cut.
      augmentation: what happens to them.
      folder: for the checkpoint, the history and the best variables.
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
    with open_npz(folder / BEST, _REMEDY) as file:
        for name, variable in zip(training.names, training.variables, strict=True):
            variable.assign(file[name])
    say(f"Step {best_step(progress)} of {settings.steps} is kept: {WHY}.")
    return progress


def best_step(progress: Progress) -> int:
    """Returns the step that did best on test images."""
    return max(row["step"] for row in progress.history if row["best"])


def _better(losses: np.ndarray, step: int, folder: pathlib.Path) -> bool:
    """Whether these losses of images are smaller than the best step's so far, by more than a standard error."""
    with open_npz(folder / BEST, _REMEDY) as file:
        if int(file[_STEP]) == step:  # the run was killed between this evaluation and its checkpoint
            return True
        gains = file[_LOSSES] - losses
    return float(gains.mean()) > float(gains.std()) / math.sqrt(len(gains))


def _evaluated(training, source, contract, progress, folder, rate, loss, say) -> None:
    """Adds a row to the history, and keeps the variables if they are the best so far."""
    size = training.student.input_shape[1:3]
    losses, rights = [], []
    settings = training.settings
    shown = settings.test_images if settings.test_images < source.test.size else 0
    with training.averaged():
        learnt = {name: v.numpy() for name, v in zip(training.names, training.variables, strict=True)}
        for images, labels in photos.pixel_batches(source.test, contract, size, settings.batch_size, shown):
            own, right = training.evaluate(tf.cast(images, tf.float32), labels)
            losses.extend(own.numpy()), rights.extend(right.numpy())
    losses = np.array(losses)
    best = not progress.history or _better(losses, progress.step, folder)
    row = {"epoch": len(progress.history), "step": progress.step, "learning_rate": rate, "loss": loss}
    row |= {"val_loss": float(losses.mean()), "val_top1": float(np.mean(rights)), "best": int(best)}
    progress.history.append(row)
    with atomic_path(folder / HISTORY) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerows(progress.history)
    if best:
        with atomic_path(folder / BEST) as temporary, open(temporary, "wb") as file:
            np.savez(file, **learnt, **{_LOSSES: losses, _STEP: progress.step})
    measure = "same answer as in float" if settings.distill else "right"
    say(
        f"step {progress.step} of {settings.steps}: {row['val_top1']:.1%} {measure}, loss {row['val_loss']:.4g}, "
        f"on {len(losses):,} test images"
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
