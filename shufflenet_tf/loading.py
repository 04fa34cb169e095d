"""Loads and saves trained models: Keras files with labels and preprocessing, and SavedModels that don't need this code."""

import dataclasses
import json
import os
import pathlib
import zipfile
from typing import Any

import numpy as np
import tensorflow as tf

from shufflenet_tf.data.decode import decode
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import ARCHIVE_DAMAGE, atomic_path
from shufflenet_tf.models import registry
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.preprocessing import Preprocessing
from shufflenet_tf.tflite_classifier import LiteClassifier
from shufflenet_tf.weights import hub, published

MODEL, METRICS = "model.keras", "metrics.json"  # files of a finished run


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A trained network and everything that is needed to use it.

    Attributes:
      model: normalised images -> probabilities; of a .tflite file: raw uint8 images -> probabilities.
      labels: names of the classes in order; None: unknown.
      preprocessing: how a photo becomes the model's input.
    """

    model: ImageClassifier | LiteClassifier
    labels: tuple[str, ...] | None
    preprocessing: Preprocessing

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images to classify, in pixels: the contract's crop if the network takes any size."""
        height, width = self.model.input_shape[1:3]
        return height or self.preprocessing.crop, width or self.preprocessing.crop

    @property
    def threshold(self) -> float | None:
        """Probability that the likeliest class must reach, else the answer is "not sure"; None: every answer counts."""
        if isinstance(self.model, LiteClassifier):
            return self.model.threshold
        certainty = getattr(self.model, "certainty", None)
        return certainty and certainty.threshold

    def classify(self, images: np.ndarray) -> np.ndarray:
        """Returns the probabilities, float32 [N, classes], of uint8 RGB images [N, height, width, 3]."""
        if isinstance(self.model, LiteClassifier):
            return self.model(images)
        return self.model(self.preprocessing.normalize(images), training=False).numpy()


def load(path: str | os.PathLike) -> Bundle:
    """Loads a trained network of any kind, without running code from the file.

    Args:
      path: a .keras file or the folder of a training run that has one; a .tflite file; a checkpoint (a tensorpack or
        canonical .npz, a torchvision .pth, a megvii .pth.tar), whose network is recognised; or the address of a shared model,
        hf://USER/NAME or hf://USER/NAME@REVISION. The content tells the kind.

    Raises:
      UserError: the file is missing or damaged, or its network is unknown.
    """
    file = _file(path)
    with open(file, "rb") as opened:
        head = opened.read(8)
    if head[4:] == b"TFL3":
        model = LiteClassifier(file)
    else:
        model = _keras_model(file) if _is_keras(file, head) else _built(published.read(file))
    labels = tuple(model.labels) if model.labels is not None else None
    return Bundle(model, labels, model.preprocessing)


def checkpoint(path: str | os.PathLike) -> published.Checkpoint:
    """Returns the weights of a file that `load` can load, except .tflite files, to start training from.

    Raises:
      UserError: see `load`.
    """
    file = _file(path)
    with open(file, "rb") as opened:
        head = opened.read(8)
    if head[4:] == b"TFL3":
        raise UserError(f"{file} is made for inference, so training can't start from it: give the model.keras it came from.")
    return published.of_model(_keras_model(file), os.fspath(file)) if _is_keras(file, head) else published.read(file)


def training_dataset(path: str | os.PathLike) -> str | None:
    """Returns the dataset that a run was trained on, as --dataset takes it; None if the run doesn't say.

    Args:
      path: folder of the run, or a file in it.
    """
    return _metrics(path).get("dataset_spec") or None


def training_division(path: str | os.PathLike, dataset: str) -> dict[str, bool]:
    """Returns the options with which `open_source` divides `dataset` as a run did; of another dataset than the run's: none.

    Args:
      path: folder of the run, or a file in it.
      dataset: as --dataset takes it.
    """
    metrics = _metrics(path)
    return {"keep_copies": True} if metrics.get("keep_copies") and metrics.get("dataset_spec") == dataset else {}


def _metrics(path: str | os.PathLike) -> dict[str, Any]:
    """Returns metrics.json of a run, or nothing if it can't be read."""
    path = pathlib.Path(path)
    try:
        metrics = json.loads(((path if path.is_dir() else path.parent) / METRICS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return metrics if isinstance(metrics, dict) else {}


def _file(path: str | os.PathLike) -> pathlib.Path:
    if hub.is_address(path):
        return hub.weights_file(path)
    path = pathlib.Path(path)
    file = path / MODEL if path.is_dir() else path
    if not file.is_file():
        raise UserError(
            f"There is no model at {path}: give the folder of a finished training run, or a .keras, .tflite, .npz or .pth file."
        )
    return file


def _is_keras(file: pathlib.Path, head: bytes) -> bool:
    if file.suffix in (".keras", ".h5"):  # a damaged one, too
        return True
    try:
        return head.startswith(b"PK") and "config.json" in zipfile.ZipFile(file).namelist()
    except ARCHIVE_DAMAGE:
        return False


def _keras_model(file: pathlib.Path) -> ImageClassifier:
    try:
        model = tf.keras.models.load_model(file, compile=False, safe_mode=True)
    except (*ARCHIVE_DAMAGE, tf.errors.OpError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UserError(
            f"{file} can't be loaded as a Keras model ({reason}): give a model.keras that this generation of Keras wrote."
        ) from None
    if not isinstance(model, ImageClassifier):
        raise UserError(f"{file} holds a {type(model).__name__}, which has no preprocessing: give a model of this project.")
    return model


def _built(checkpoint: published.Checkpoint) -> ImageClassifier:
    checkpoint.check_classifier()
    given = dict(checkpoint.config or {})
    shape = tuple(given.get("input_shape") or (checkpoint.preprocessing.crop,) * 2 + (3,))
    network = registry.identify(checkpoint)
    return registry.create_model(network, weights=checkpoint, classes=checkpoint.classes, input_shape=shape)


class _Serving(tf.Module):
    def __init__(self, model: ImageClassifier):
        super().__init__()
        height, width, _ = model.input_shape[1:]
        self.model = model
        self.names = tf.constant(model.labels or [str(i) for i in range(model.output_shape[-1])])

        def classify(images):
            probabilities = model(model.preprocessing.normalize(images), training=False)
            label = tf.gather(self.names, tf.argmax(probabilities, -1))
            return {"probabilities": probabilities, "label": label}

        def read(encoded):
            return model.preprocessing.resize_and_crop(decode(encoded), (height, width))

        def classify_encoded(encoded):
            images = tf.map_fn(read, encoded, fn_output_signature=tf.TensorSpec((height, width, 3), tf.uint8))
            return self.images(images)

        self.images = tf.function(classify, [tf.TensorSpec((None, height, width, 3), tf.uint8, "images")])
        self.encoded = tf.function(classify_encoded, [tf.TensorSpec((None,), tf.string, "encoded")])


def save_saved_model(model: ImageClassifier, path: str | os.PathLike) -> None:
    """Writes a SavedModel with preprocessing inside, for TF Serving and tf.data pipelines.

    Its signatures are "serving_default" (`images`: uint8 [N, height, width, 3], RGB) and "encoded" (`encoded`: string [N],
    JPEG, PNG or plain BMP files of any size, rotated upright; other files are refused); both return `probabilities`, float32
    [N, classes], and `label`, string [N].

    Raises:
      UserError: the model's input size is not fixed.
    """
    if None in model.input_shape[1:]:
        raise UserError(f"{model.name} takes images of any size, but a SavedModel needs one: build it with an input_shape.")
    serving = _Serving(model)
    with atomic_path(path) as temporary:
        signatures = {"serving_default": serving.images, "encoded": serving.encoded}
        tf.saved_model.save(serving, str(temporary), signatures)
