"""Loads trained networks of either Keras generation under Keras 2."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

import shufflenet_tf as st
from shufflenet_tf import loading
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import ARCHIVE_DAMAGE


def load(path: str | os.PathLike) -> st.Bundle:
    """Loads ShuffleNets as `shufflenet_tf.load` does, including .keras files from Keras 3, but no .tflite files.

    Raises:
      UserError: see `shufflenet_tf.load`; or it is another kind of network.
    """
    bundle = _load(path)
    if not bundle.model.network.startswith("shufflenet"):
        raise UserError(f"{os.fspath(path)} is a {bundle.model.network}, but quantization-aware training needs a ShuffleNet.")
    return bundle


def _load(path: str | os.PathLike) -> st.Bundle:
    file = loading._file(path)
    if _generation(file) == "3":
        with tempfile.TemporaryDirectory() as scratch:
            return _with_fixed_size(st.load(_canonical(file, pathlib.Path(scratch) / "weights.npz")), file)
    bundle = st.load(file)
    if not isinstance(bundle.model, st.ImageClassifier):
        raise UserError(f"{file} is a .tflite file, which can't be trained: give the model that it was converted from.")
    return _with_fixed_size(bundle, file)


def _generation(file: pathlib.Path) -> str:
    """Returns the first digit of the Keras version that wrote a .keras file; "" for any other file."""
    try:
        with zipfile.ZipFile(file) as archive:
            return str(json.loads(archive.read("metadata.json")).get("keras_version", ""))[:1]
    except ARCHIVE_DAMAGE:
        return ""


def _canonical(file: pathlib.Path, output: pathlib.Path) -> pathlib.Path:
    """Writes the weights of `file` to `output` in a separate process under the other Keras generation."""
    root = str(pathlib.Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, sys.path)])}
    environment.pop("TF_USE_LEGACY_KERAS", None)
    command = [sys.executable, "-m", "shufflenet_tf.weights", os.fspath(file), f"--output={output}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"{file} can't be loaded."])[-1]
        raise UserError(reason.rpartition("error: ")[2])
    return output


def _with_fixed_size(bundle: st.Bundle, file: pathlib.Path) -> st.Bundle:
    if None in bundle.model.input_shape[1:]:
        raise UserError(f"{file} takes images of any size, but a phone needs a fixed one: train it with an input size.")
    return bundle
