"""The canonical checkpoint: a plain .npz of arrays under tensorpack's names, which both Keras generations read.

Besides the arrays, it holds the network's configuration as JSON text, so that the file alone is enough to build the network.
"""

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from shufflenet_tf.errors import UserError
from shufflenet_tf.files import atomic_path, open_npz

CONFIG = "config.json"
_LEAVES = {
    "kernel": "W",
    "depthwise_kernel": "W",
    "bias": "b",
    "moving_mean": "mean/EMA",
    "moving_variance": "variance/EMA",
}


def named_variables(model: tf.keras.Model) -> dict[str, tf.Variable]:
    """Returns the variables of `model` by canonical name (`stage2/block0/conv1/bn/gamma`), in the model's order."""
    named = {}
    for layer in primitives(model):
        for variable in layer.weights:
            leaf = variable.name.split("/")[-1].split(":")[0]
            named[f"{layer.name.replace('.', '/')}/{_LEAVES.get(leaf, leaf)}"] = variable
    return named


def primitives(layer: tf.keras.layers.Layer) -> Iterator[tf.keras.layers.Layer]:
    """Yields the layers inside `layer` that contain no other layers, in order."""
    children = list(layer._flatten_layers(recursive=False, include_self=False))
    if not children:
        yield layer
    for child in children:
        yield from primitives(child)


def assign(model: tf.keras.Model, arrays: Mapping[str, np.ndarray], source: str = "the weights") -> None:
    """Sets all variables of `model` to `arrays`, which have the canonical names.

    Raises:
      UserError: a name is missing or superfluous, or a shape differs; the message names the first one, and nothing is assigned.
    """
    variables = named_variables(model)
    for name, variable in variables.items():
        if name not in arrays:
            raise UserError(f"{source} has no {name}, which {model.name} needs: it was made for another network.")
        if tuple(variable.shape) != arrays[name].shape:
            raise UserError(
                f"{source} has {name} of shape {arrays[name].shape}, and {model.name} needs {tuple(variable.shape)}: "
                "it was made for another network, width or number of classes."
            )
    if superfluous := sorted(arrays.keys() - variables.keys()):
        raise UserError(f"{source} has {superfluous[0]}, which {model.name} lacks: it was made for another network.")
    for name, variable in variables.items():
        variable.assign(arrays[name])


def pop_config(arrays: dict[str, np.ndarray], source: str) -> dict[str, Any] | None:
    """Removes the network's configuration from a file's `arrays` and returns it; None: there is none.

    Raises:
      UserError: the text is not a configuration.
    """
    text = arrays.pop(CONFIG, None)
    if text is None:
        return None
    try:
        config = json.loads(str(text))
        if not isinstance(config, dict) or not isinstance(config.get("class"), str):
            raise ValueError("no class")
        return config
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source} has a {CONFIG} that describes no network ({error}): it is damaged.") from None


def load(model: tf.keras.Model, path: str | os.PathLike) -> None:
    """Sets the variables of `model` to those of a canonical .npz file.

    Raises:
      UserError: the file is missing, is not a .npz of plain arrays, or belongs to another network.
    """
    with open_npz(path, "give the path of weights that canonical.save wrote.") as file:
        arrays = dict(file)
    arrays.pop(CONFIG, None)
    assign(model, arrays, os.fspath(path))


def arrays(model: tf.keras.Model) -> dict[str, np.ndarray]:
    """Returns the values of the variables of `model` by canonical name."""
    return {name: np.asarray(variable) for name, variable in named_variables(model).items()}


def config(model: tf.keras.Model) -> dict[str, Any]:
    """Returns the class, the network's name and the constructor's arguments of `model`, as JSON types."""
    return {"class": type(model).__name__, "network": getattr(model, "network", None), **model.get_config()}


def save(model: tf.keras.Model, path: str | os.PathLike, values: Mapping[str, np.ndarray] | None = None) -> None:
    """Writes the variables and the configuration of `model` to a canonical .npz file.

    Args:
      model: whose class and configuration are written.
      path: of the file.
      values: of its variables, by canonical name, where they have been read already; None: they are read.
    """
    values = arrays(model) if values is None else values
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **{CONFIG: np.array(json.dumps(config(model)))}, **values)
