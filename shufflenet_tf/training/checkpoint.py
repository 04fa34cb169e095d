"""How a run survives being killed: its state in one file that is replaced whole, its history, and how it goes on.

Training and quantization-aware training (`export.qat`) share this.
"""

import csv
import dataclasses
import json
import math
import pathlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from shufflenet_tf.errors import UserError
from shufflenet_tf.files import atomic_path, open_npz
from shufflenet_tf.training.trainer import Trainer

NAME, HISTORY = "checkpoint.npz", "history.csv"
REMEDY = "give another --output, or --overwrite to start afresh."
_REMEDY = "remove it, or start afresh with --overwrite."


@dataclasses.dataclass
class Progress:
    """Where a run stands.

    Attributes:
      step: training steps done.
      history: a row an epoch, as in history.csv.
      best: the highest validation top-1 so far (fraction), or -1.
      best_loss: the validation loss with it, which decides among equals.
      best_epoch: whose weights are kept: the best on the validation images or, without them, the last; 0: none yet.
      stopped: why the training ended before its last step; "": it did not.
      run: what the run is (model, labels, flags), to be compared when it goes on.
    """

    step: int = 0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    best: float = -1.0
    best_loss: float = math.inf
    best_epoch: int = 0
    stopped: str = ""
    run: dict[str, Any] = dataclasses.field(default_factory=dict)


def save(state: Mapping[str, Any], progress: Progress, folder: pathlib.Path) -> None:
    """Writes the variables of a run, by name, and `progress`.

    Raises:
      OSError: the folder can't be written, or the disk is full; the previous file is then still there.
    """
    arrays = {name: np.asarray(variable) for name, variable in state.items()}
    text = json.dumps(dataclasses.asdict(progress))
    with atomic_path(folder / NAME) as temporary, open(temporary, "wb") as file:
        np.savez(file, progress=np.frombuffer(text.encode(), np.uint8), **arrays)


def read_progress(folder: pathlib.Path) -> Progress | None:
    """Returns where the run in `folder` stands, or None where there is none.

    Raises:
      UserError: the file can't be read.
    """
    path = folder / NAME
    if not path.exists():
        return None
    with open_npz(path, _REMEDY) as file:
        return Progress(**json.loads(bytes(file["progress"]).decode()))


def resume(
    progress: Progress | None,
    folder: pathlib.Path,
    run: Mapping[str, Any],
    steps: int,
    say: Callable[[str], None],
    fixed: Collection[str] | None = None,
) -> Progress:
    """Returns `progress` as that of this run, or the beginning of one.

    Args:
      progress: from `read_progress`.
      folder: of the run.
      run: what makes it this run and no other, of types that JSON knows.
      steps: of the whole run.
      say: called with each line about a run that goes on.
      fixed: keys of `run` that may not have changed; None: all of them.

    Raises:
      UserError: the folder holds another run.
    """
    run = json.loads(json.dumps(run))
    if progress is None:
        return Progress(run=run)
    changed = [key for key in run if progress.run.get(key) != run[key]]
    for key in run if fixed is None else fixed:
        if key in changed:
            raise UserError(f"The run in {folder} has {_difference(key, progress.run.get(key), run[key])}: {REMEDY}")
    say(f"Going on at step {progress.step} of {steps} of the run in {folder}.")
    for key in changed:
        say(f"  changed since: {key} from {progress.run.get(key)} to {run[key]}")
    progress.run = run
    return progress


def _difference(key: str, old: Any, new: Any) -> str:
    if key == "labels":
        old = old or []
        differing = sorted(set(old) ^ set(new))[:3] or ["their order"]
        return f"{len(old)} labels and this dataset {len(new)}, differing in {', '.join(differing)}"
    if isinstance(old, dict):
        old, new = ({k: v for k, v in side.items() if old.get(k) != new.get(k)} for side in (old, new))
    return f"another {key} ({old}, now {new})"


def write_history(progress: Progress, columns: Sequence[str], folder: pathlib.Path) -> None:
    """Writes history.csv."""
    with atomic_path(folder / HISTORY) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(progress.history)


def read_state(state: Mapping[str, Any], folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the saved state of a run, by name, for the variables `state`.

    Raises:
      UserError: the file is damaged or of another network.
    """
    path = folder / NAME
    with open_npz(path, _REMEDY) as file:
        for name, variable in state.items():
            if name not in file or file[name].shape != tuple(variable.shape):
                raise UserError(f"{path} does not fit this run at {name}: {REMEDY}")
        return {name: file[name] for name in state}


def restore(state: Mapping[str, Any], folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Sets the variables of a run, by name, to the saved state, and returns it; see `read_state`."""
    arrays = read_state(state, folder)
    for name, variable in state.items():
        variable.assign(arrays[name])
    return arrays


def restore_metrics(trainer: Trainer, arrays: dict[str, np.ndarray]) -> None:
    """Sets the running figures of the epoch, which Keras resets when it begins one, to the saved state."""
    for metric in trainer.metrics:
        for i, variable in enumerate(metric.variables):
            variable.assign(arrays[f"{metric.name}/{i}"])
