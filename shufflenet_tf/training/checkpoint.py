"""The state of a run in one file that is replaced whole, so that a killed run finds the last one or the one before."""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from shufflenet_tf.errors import UserError
from shufflenet_tf.files import atomic_path, open_npz
from shufflenet_tf.training.trainer import Trainer
from shufflenet_tf.weights.canonical import named_variables

NAME = "checkpoint.npz"
_REMEDY = "remove it, or start afresh with --overwrite."


@dataclasses.dataclass
class Progress:
    """Where a run stands.

    Attributes:
      step: training steps done.
      history: a row an epoch, as in history.csv.
      best: the highest test top-1 so far (fraction), or -1.
      run: what the run is (model, labels, flags), to be compared when it goes on.
    """

    step: int = 0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    best: float = -1.0
    run: dict[str, Any] = dataclasses.field(default_factory=dict)


def _variables(trainer: Trainer) -> dict[str, Any]:
    """Returns everything that a step reads and writes, by name."""
    named = {f"weights/{name}": variable for name, variable in named_variables(trainer.network).items()}
    named |= {f"optimizer/{i}": variable for i, variable in enumerate(trainer.optimizer.variables)}
    named |= {f"average/{i}": variable for i, variable in enumerate(trainer.averages)}
    # With these an interrupted epoch's figures are still those of the whole epoch.
    named |= {f"{metric.name}/{i}": variable for metric in trainer.metrics for i, variable in enumerate(metric.variables)}
    return named


def save(trainer: Trainer, progress: Progress, folder: pathlib.Path) -> None:
    """Writes the state of `trainer` and `progress`.

    Raises:
      OSError: the folder can't be written, or the disk is full; the previous file is then still there.
    """
    arrays = {name: np.asarray(variable) for name, variable in _variables(trainer).items()}
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


def restore(trainer: Trainer, folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Sets `trainer` to the saved state.

    Returns:
      The metrics' state by name, which Keras resets when it begins an epoch: see `restore_metrics`.

    Raises:
      UserError: the file is damaged or of another network.
    """
    path = folder / NAME
    variables = _variables(trainer)
    with open_npz(path, _REMEDY) as file:
        for name, variable in variables.items():
            if name not in file or file[name].shape != tuple(variable.shape):
                raise UserError(f"{path} does not fit this run at {name}: give another --output or --overwrite.")
        arrays = {name: file[name] for name in variables}
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return arrays


def restore_metrics(trainer: Trainer, arrays: dict[str, np.ndarray]) -> None:
    """Sets the running figures of the epoch to the saved state."""
    for metric in trainer.metrics:
        for i, variable in enumerate(metric.variables):
            variable.assign(arrays[f"{metric.name}/{i}"])
