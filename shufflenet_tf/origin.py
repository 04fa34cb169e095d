"""Where a network's weights come from, and under which licence they were published."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from shufflenet_tf import imagenet
from shufflenet_tf.weights import hub
from shufflenet_tf.weights.published import Checkpoint

METRICS, KEY = "metrics.json", "started_from"


@dataclasses.dataclass(frozen=True)
class Licence:
    """`id`: as the Hugging Face Hub names it; `name`: for people; `owner` and `where`: who published the weights, and where."""

    id: str
    name: str
    owner: str
    where: str


# By the source of a checkpoint.
LICENCES = {
    "megvii": Licence("mit", "MIT", "megvii", "https://github.com/megvii-model/ShuffleNet-Series"),
    "tensorpack": Licence("apache-2.0", "Apache-2.0", "tensorpack", "https://github.com/tensorpack/tensorpack"),
    "torchvision": Licence("bsd-3-clause", "BSD-3-Clause", "torchvision", "https://github.com/pytorch/vision"),
}


def origin(checkpoint: Checkpoint | None, given: str | None) -> dict[str, str] | None:
    """Returns what a run records of the weights that it starts from; None: random ones.

    Args:
      checkpoint: the weights.
      given: how they were given: a path, "imagenet" or an address on the Hub.

    Returns:
      `weights`: the file's name or the address, without folders of this machine; `source`: who published them, "hub", or
      "unknown". Of weights that another run has trained, what that run started from counts.
    """
    if checkpoint is None or not given:
        return None
    if hub.is_address(given):
        return {"weights": os.fspath(given), "source": "hub"}
    name = given if given == "imagenet" else pathlib.Path(given).name
    # In their format and of ImageNet's classes: taken to be theirs. Of other classes, somebody has gone on training.
    if checkpoint.source in LICENCES and checkpoint.classes == imagenet.CLASSES:
        return {"weights": name, "source": checkpoint.source}
    path = pathlib.Path(given)
    metrics = read_metrics(path if path.is_dir() else path.parent)
    return metrics.get(KEY, {"weights": name, "source": "unknown"})


def read_metrics(run: pathlib.Path) -> Mapping[str, Any]:
    """Returns the figures of a finished run; empty: it has none that can be read."""
    try:
        metrics = json.loads((run / METRICS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return metrics if isinstance(metrics, dict) else {}
