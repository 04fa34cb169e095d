"""The user's settings of Keras (keras.json, KERAS_BACKEND), and the values that the networks need."""

import json
import os
import pathlib
import sys

from shufflenet_tf import home
from shufflenet_tf.errors import UserError

_NEEDED = {"backend": "tensorflow", "image_data_format": "channels_last", "floatx": "float32"}
_KNOWN = {"image_data_format": ("channels_last", "channels_first"), "floatx": ("float16", "bfloat16", "float32", "float64")}


def settings_file() -> pathlib.Path:
    """Returns where Keras looks for its settings."""
    given = os.environ.get("KERAS_HOME")
    return (pathlib.Path(given) if given else home.folder() / ".keras") / "keras.json"


def check_before_loading(in_program: bool) -> None:
    """Checks the settings that would prevent Keras from loading; a program of this project ends with the message.

    Raises:
      UserError: a setting is invalid; the message says which one to change, and where.
    """
    given = _from_file()
    problem = ""
    for name, known in _KNOWN.items():
        if name in given and given[name] not in known:
            problem = f"{settings_file()} has {name}: {given[name]!r}, which Keras doesn't know: write {_NEEDED[name]!r} there."
    backend = os.environ.get("KERAS_BACKEND") or given.get("backend", "tensorflow")
    if backend != "tensorflow" and os.environ.get("TF_USE_LEGACY_KERAS", "").lower() not in ("1", "true"):
        problem = _refusal("backend", backend)
    if problem and in_program:
        print(problem, file=sys.stderr)
        raise SystemExit(2)
    if problem:
        raise UserError(problem)


def _from_file() -> dict[str, str]:
    try:
        given = json.loads(settings_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # Keras ignores it too
        return {}
    return given if isinstance(given, dict) else {}


def choose() -> None:
    """Sets the values that the networks need, for this process."""
    import tensorflow as tf

    tf.keras.backend.set_image_data_format(_NEEDED["image_data_format"])
    tf.keras.backend.set_floatx(_NEEDED["floatx"])
    tf.keras.backend.set_epsilon(1e-7)


def check() -> None:
    """Checks the settings of a process that isn't one of this project's programs, before a network is built.

    Raises:
      UserError: a setting is invalid; the message says which one to change, and where.
    """
    import tensorflow as tf

    keras = tf.keras.backend
    given = {"image_data_format": keras.image_data_format(), "floatx": keras.floatx()}
    given["backend"] = (
        getattr(tf.keras.config, "backend", lambda: "tensorflow")() if hasattr(tf.keras, "config") else "tensorflow"
    )
    for name, value in given.items():
        if value != _NEEDED[name]:
            raise UserError(_refusal(name, value))


def _refusal(name: str, value: str) -> str:
    where = f"in {settings_file()}" if settings_file().exists() else "of Keras"
    variable = "set the environment variable KERAS_BACKEND=tensorflow"
    how = variable if name == "backend" else f"call keras.config.set_{name}('{_NEEDED[name]}')"
    return f"Keras's {name} is {value}, but the networks need {_NEEDED[name]}: change {name} {where}, or {how}."
