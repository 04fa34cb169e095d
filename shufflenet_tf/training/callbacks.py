"""What happens between the steps: checkpoints, the best model, averaged weights in evaluation, an end to lost runs."""

import math
import pathlib
import shutil
import threading
import time

import numpy as np
import tensorflow as tf

from shufflenet_tf.distribution.strategy import Distribution
from shufflenet_tf.errors import UserError
from shufflenet_tf.training import checkpoint
from shufflenet_tf.training.preemption import Preempted
from shufflenet_tf.training.schedules import Schedule
from shufflenet_tf.weights import canonical
from shufflenet_tf.weights.canonical import named_variables

BEST = "best.npz"
_AGREE = 10  # steps between two questions whether any worker was asked to stop
_COLUMNS = ("epoch", "step", "learning_rate", "loss", "top1", "top5", "val_loss", "val_top1", "val_top5", "seconds")


_FIGURES = 75  # columns of a terminal beside the progress bar: steps, times and three metrics


class Diverged(UserError):
    """The loss is no longer a number."""

    status = 1


class Keeper(tf.keras.callbacks.Callback):
    """Counts the steps, keeps the run's state and its best weights, and stops it when it's done or lost.

    Args:
      folder: of the run.
      progress: where it stands; updated.
      schedule: of the learning rate, whose `steps` are the run's.
      checkpoint_steps: steps between two checkpoints; one is also written at the end of each epoch, evaluation included.
      steps_per_epoch: between two evaluations.
      metrics: of the interrupted epoch, restored when it goes on.
      patience: evaluations without a better one after which it ends; 0: any number.
      deadline: when it ends after an epoch, by `time.monotonic`; None: never.
      distribution: over workers, of whom the chief alone writes; None: there is one.
      asked: set when the run is to stop at a checkpoint.

    Raises:
      Preempted: it was asked to stop, and the checkpoint is written.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        progress: checkpoint.Progress,
        schedule: Schedule,
        checkpoint_steps: int,
        steps_per_epoch: int,
        metrics: dict[str, np.ndarray] | None = None,
        patience: int = 0,
        deadline: float | None = None,
        distribution: Distribution | None = None,
        asked: threading.Event | None = None,
    ):
        super().__init__()
        self.distribution, self.asked = distribution or Distribution(), asked or threading.Event()
        self.folder, self.progress, self.schedule = folder, progress, schedule
        self.checkpoint_steps, self.steps_per_epoch, self._metrics = checkpoint_steps, steps_per_epoch, metrics
        self.patience, self.deadline = patience, deadline
        self._epoch_start, self._first_step = time.monotonic(), progress.step

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch_start, self._first_step = time.monotonic(), self.progress.step
        if self._metrics:
            checkpoint.restore_metrics(self.model, self._metrics)
            self._metrics = None

    def on_train_batch_end(self, batch, logs=None):
        before = self.progress.step
        step = self.progress.step = self._first_step + batch + 1  # on a TPU, one call takes several steps
        self._stop_if_lost(logs["loss"])
        if step >= self.schedule.steps:
            self.model.stop_training = True
        elif step % self.steps_per_epoch:  # at the end of an epoch, its evaluation comes first
            if step // self.checkpoint_steps > before // self.checkpoint_steps:
                self._save()
            if self.distribution.cluster is None or step // _AGREE > before // _AGREE:
                self._stop_if_asked()

    def _save(self):
        state = self.distribution.read(self.model.state())
        for name, array in state.items():
            # A finite loss may have made weights that are none: the last good checkpoint is not given up for them.
            if name.startswith("weights/") and not np.isfinite(array).all():
                self._stop_if_lost(math.nan)
        if self.distribution.is_chief:
            checkpoint.save(state, self.progress, self.folder)

    def _stop_if_asked(self):
        if self.distribution.any(self.asked.is_set()):
            self._save()
            self.distribution.wait()  # a launcher may end the chief as soon as another worker has ended
            raise Preempted(f"Stopped by SIGTERM at step {self.progress.step}: the same command goes on from there.")

    def _stop_if_lost(self, loss):
        """Raises Diverged for a `loss` that is no number: what is saved from then on would be lost too."""
        if not math.isfinite(float(loss)):
            step = self.progress.step
            raise Diverged(
                f"The loss is no longer a number at step {step} (learning rate {float(self.schedule(step - 1)):.3g}): "
                f"try --learning_rate={self.schedule.peak / 4:.2g}, a longer --warmup_steps or, after float16, "
                "--mixed_precision=bfloat16."
            )

    def on_test_begin(self, logs=None):
        self.model.swap_averages()

    def on_test_end(self, logs=None):
        self.model.swap_averages()

    def on_epoch_end(self, epoch, logs=None):
        self._stop_if_lost(logs.get("val_loss", logs["loss"]))
        row = {key: float(logs[key]) for key in _COLUMNS if key in logs}
        row |= {
            "epoch": epoch + 1,
            "step": self.progress.step,
            "seconds": round(time.monotonic() - self._epoch_start, 2),
        }
        row["learning_rate"] = float(self.schedule(self.progress.step - 1))
        self.progress.history = [old for old in self.progress.history if old["epoch"] <= epoch] + [row]
        if self.distribution.is_chief:
            checkpoint.write_history(self.progress, _COLUMNS, self.folder)
        if self._is_best(row):
            self.progress.best, self.progress.best_loss = row.get("val_top1", -1.0), row.get("val_loss", math.inf)
            self.progress.best_epoch = row["epoch"]
            self._save_best()
        if self.progress.step < self.schedule.steps and (why := self._reason_to_stop(row["epoch"])):
            self.progress.stopped, self.model.stop_training = why, True
            print(f"The training ends at epoch {row['epoch']}: {why}.", flush=True)
        self._save()
        if self.progress.step < self.schedule.steps and not self.progress.stopped:
            self._stop_if_asked()

    def _save_best(self):
        network = self.model.network
        with self.model.averaged_weights():
            arrays = self.distribution.read(named_variables(network))
        if self.distribution.is_chief:
            canonical.save(network, self.folder / BEST, arrays)

    def _reason_to_stop(self, epoch: int) -> str:
        """Returns why no other epoch follows this one, or nothing."""
        if self.patience and epoch - self.progress.best_epoch >= self.patience:
            return f"none of the last {self.patience} evaluations was better than that of epoch {self.progress.best_epoch}"
        if self.deadline is not None and time.monotonic() > self.deadline:
            return "its time is up"
        return ""

    def _is_best(self, row: dict[str, float]) -> bool:
        """Whether the weights of this epoch are those to keep; without validation images, the last ones are."""
        if "val_top1" not in row:
            return True
        return (row["val_top1"], -row["val_loss"]) > (self.progress.best, -self.progress.best_loss)


class Bar(tf.keras.callbacks.ProgbarLogger):
    """Keras's progress bar, shorter in a narrow terminal, where a line that wraps would be printed anew at each step."""

    def __init__(self):
        super().__init__()
        self.use_steps = True  # Keras 2 counts images otherwise

    def _maybe_init_progbar(self) -> None:
        super()._maybe_init_progbar()
        self.progbar.width = min(self.progbar.width, max(4, shutil.get_terminal_size().columns - _FIGURES))
