"""The training loop of quantization-aware training; it survives being killed at any moment, and keeps the best step."""

import math
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from export.qat import pixel_source
from export.qat.training import Training
from shufflenet_tf.data import Source
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.data.pipeline import training_batches
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import atomic_path, open_npz
from shufflenet_tf.preprocessing import Preprocessing
from shufflenet_tf.training import checkpoint
from shufflenet_tf.training.callbacks import BEST, Diverged

WHY = "the smallest loss on test images, by more than one standard error"
_COLUMNS = ("epoch", "step", "learning_rate", "loss", "val_loss", "val_top1", "best")
_LOSSES, _STEP = "losses", "step"  # losses on the test images; keys in the file of the best step
_SECONDS = 5.0  # between two lines of progress


def train(
    training: Training,
    source: Source,
    contract: Preprocessing,
    augmentation: Augmentation,
    folder: pathlib.Path,
    run: Mapping[str, Any],
    say: Callable[[str], None] = print,
) -> checkpoint.Progress:
    """Trains, resuming an earlier run in `folder`, and restores the step with the smallest loss on test images.

    A step replaces the best one so far only if its loss is smaller by more than one standard error of the differences over the
    images. Each step rounds activations differently, so losses vary a little even without any learning. The best step may be
    the start.

    Args:
      training: the training in its initial state.
      source: the photos.
      contract: the network's preprocessing, which defines resizing and cropping.
      augmentation: augmentation of the photos.
      folder: folder for the checkpoint, the history and the best variables.
      run: identifies the run; compared when the run is resumed.
      say: called with each line of progress.

    Raises:
      UserError: there are fewer photos than a batch, the folder holds a different run, or the training diverged.
    """
    settings = training.settings
    if source.train.size < settings.batch_size:
        raise UserError(
            f"{source.name} has {source.train.size} training photos, fewer than a batch of {settings.batch_size}: "
            "give more, or a smaller --batch_size."
        )
    progress = checkpoint.resume(checkpoint.read_progress(folder), folder, run, settings.steps, say)
    if progress.step:
        checkpoint.restore(training.state(), folder)
    selection = _Selection(training, source, contract, folder, progress, say)
    per_epoch = settings.steps_per_epoch or max(1, settings.steps // 5)
    if not progress.history:
        selection.evaluate(0, math.nan)
    size, pixels, classes = training.student.input_shape[1:3], pixel_source.in_pixels(contract), max(1, len(source.labels))
    batches = training_batches(
        source.train, pixels, augmentation, size, settings.batch_size, classes, settings.seed, progress.step
    )
    countdown, losses = _Countdown(progress.step, settings.steps, say), []
    for images, labels in batches.take(settings.steps - progress.step):
        rate = training.rate()
        loss, _ = training.update(images, tf.argmax(labels, -1))
        losses.append(_finite(training, float(loss)))
        progress.step += 1
        countdown.show(progress.step, losses)
        if progress.step % per_epoch == 0 or progress.step == settings.steps:
            selection.evaluate(rate, float(np.mean(losses[-per_epoch:])))
            _save(training, progress, folder)
        elif progress.step % settings.checkpoint_steps == 0:
            _save(training, progress, folder)
    selection.restore_best()
    say(f"Step {best_step(progress)} of {settings.steps} is kept: {WHY}.")
    return progress


def best_step(progress: checkpoint.Progress) -> int:
    """Returns the step with the smallest loss on test images."""
    return max(row["step"] for row in progress.history if row["best"])


class _Selection:
    """Evaluates steps on the test images, and keeps the variables of the best one in a file.

    Args:
      training, source, contract, folder, say: see `train`.
      progress: receives a row of history for each evaluation.
    """

    def __init__(
        self,
        training: Training,
        source: Source,
        contract: Preprocessing,
        folder: pathlib.Path,
        progress: checkpoint.Progress,
        say: Callable[[str], None],
    ):
        self.training, self.source, self.contract, self.folder = training, source, contract, folder
        self.progress, self.say = progress, say

    def evaluate(self, rate: float, loss: float) -> None:
        """Adds a row to the history, and saves the variables if they are the best so far.

        Args:
          rate: learning rate of the last step.
          loss: mean loss of the steps since the last evaluation.
        """
        training, progress, settings = self.training, self.progress, self.training.settings
        with training.averaged():
            variables = {name: v.numpy() for name, v in zip(training.names, training.variables, strict=True)}
            losses, correct = self._losses()
        best = not progress.history or _better(losses, progress.step, self.folder)
        row = {"epoch": len(progress.history), "step": progress.step, "learning_rate": rate, "loss": loss}
        row |= {"val_loss": float(losses.mean()), "val_top1": correct, "best": int(best)}
        progress.history.append(row)
        checkpoint.write_history(progress, _COLUMNS, self.folder)
        if best:
            with atomic_path(self.folder / BEST) as temporary, open(temporary, "wb") as file:
                np.savez(file, **variables, **{_LOSSES: losses, _STEP: progress.step})
        measure = "same top-1 as in float" if settings.distill else "correct"
        self.say(
            f"step {progress.step} of {settings.steps}: {correct:.1%} {measure}, loss {row['val_loss']:.4g}, "
            f"on {len(losses):,} test images"
        )

    def _losses(self) -> tuple[np.ndarray, float]:
        """Returns the loss of each test image, and the fraction of correctly classified images."""
        settings, size = self.training.settings, self.training.student.input_shape[1:3]
        count = settings.test_images if settings.test_images < self.source.test.size else 0
        losses, correct = [], []
        for images, labels in pixel_source.pixel_batches(self.source.test, self.contract, size, settings.batch_size, count):
            batch_losses, batch_correct = self.training.evaluate(tf.cast(images, tf.float32), labels)
            losses.extend(batch_losses.numpy()), correct.extend(batch_correct.numpy())
        return np.array(losses), float(np.mean(correct))

    def restore_best(self) -> None:
        """Sets the training's variables to those of the best step."""
        with open_npz(self.folder / BEST, checkpoint.REMEDY) as file:
            for name, variable in zip(self.training.names, self.training.variables, strict=True):
                variable.assign(file[name])


def _better(losses: np.ndarray, step: int, folder: pathlib.Path) -> bool:
    """Whether these losses are smaller than those of the best step so far by more than one standard error."""
    with open_npz(folder / BEST, checkpoint.REMEDY) as file:
        if int(file[_STEP]) == step:  # the run was killed between this evaluation and its checkpoint
            return True
        gains = file[_LOSSES] - losses
    return float(gains.mean()) > float(gains.std()) / math.sqrt(len(gains))


class _Countdown:
    """Reports the progress and the remaining time at intervals.

    Args:
      first: the first step of the training.
      steps: number of steps of the whole run.
      say: called with each line.
    """

    def __init__(self, first: int, steps: int, say: Callable[[str], None]):
        self.first, self.steps, self.say = first, steps, say
        self.began = self.shown = time.monotonic()

    def show(self, step: int, losses: Sequence[float]) -> None:
        """Reports the progress after `step`, unless the last report is recent."""
        now = time.monotonic()
        if step == self.first + 1:
            self.began = now  # the first step includes building TensorFlow's graph, so its time doesn't count
        elif now - self.shown > _SECONDS:
            self.shown = now
            seconds = (now - self.began) / (step - self.first - 1) * (self.steps - step)
            left = f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"
            self.say(f"step {step} of {self.steps}, loss {np.mean(losses[-20:]):.4g}, {left} left")


def _save(training: Training, progress: checkpoint.Progress, folder: pathlib.Path) -> None:
    state = training.state()
    # Even with a finite loss, weights can become infinite; they must not replace the last good checkpoint.
    if lost := next((name for name, variable in state.items() if not np.isfinite(variable.numpy()).all()), None):
        raise _diverged(training, lost)
    checkpoint.save(state, progress, folder)


def _finite(training: Training, loss: float) -> float:
    if not math.isfinite(loss):
        raise _diverged(training, "the loss")
    return loss


def _diverged(training: Training, name: str) -> Diverged:
    return Diverged(
        f"After step {int(training.step)}, {name} is NaN or infinite: "
        f"try --learning_rate={training.settings.learning_rate / 4:.2g}."
    )
