"""Trained models in and out: Keras files with what belongs to them, and SavedModels that need none of this code."""

import dataclasses
import os
import pathlib
import zipfile

import tensorflow as tf

from shufflenet_tf.data.decode import decode
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import atomic_path
from shufflenet_tf.model import ImageClassifier
from shufflenet_tf.preprocessing import Preprocessing

MODEL = "model.keras"


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A trained network and what is needed to use it.

    Attributes:
      model: normalised images -> probabilities.
      labels: names of the classes in order, or None where they are unknown.
      preprocessing: how a photo becomes the model's input.
    """

    model: tf.keras.Model
    labels: tuple[str, ...] | None
    preprocessing: Preprocessing


def load(path: str | os.PathLike) -> Bundle:
    """Loads a `.keras` file, or the one in a folder that train_main.py has written, without running code from it.

    Raises:
      UserError: there is no such file, or it's none of this project's models.
    """
    path = pathlib.Path(path)
    file = path / MODEL if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"There is no model at {path}: give a .keras file or the folder of a finished training run.")
    try:
        model = tf.keras.models.load_model(file, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UserError(
            f"{file} can't be loaded as a Keras model ({reason}): give a model.keras that this generation of Keras wrote."
        ) from None
    if not isinstance(model, ImageClassifier):
        raise UserError(f"{file} holds a {type(model).__name__}, which has no preprocessing: give a model of this project.")
    labels = tuple(model.labels) if model.labels is not None else None
    return Bundle(model, labels, model.preprocessing)


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
            return classify(images)

        self.images = tf.function(classify, [tf.TensorSpec((None, height, width, 3), tf.uint8, "images")])
        self.encoded = tf.function(classify_encoded, [tf.TensorSpec((None,), tf.string, "encoded")])


def save_saved_model(model: ImageClassifier, path: str | os.PathLike) -> None:
    """Writes a SavedModel with preprocessing inside, for TF Serving and tf.data pipelines.

    Its signatures are "serving_default" (`images`: uint8 [N, height, width, 3], RGB) and "encoded" (`encoded`: string [N],
    JPEG or PNG files of any size); both return `probabilities`, float32 [N, classes], and `label`, string [N].

    Raises:
      UserError: the model's input size is open.
    """
    if None in model.input_shape[1:]:
        raise UserError(f"{model.name} takes images of any size, and a SavedModel needs one: build it with an input_shape.")
    serving = _Serving(model)
    with atomic_path(path) as temporary:
        signatures = {"serving_default": serving.images, "encoded": serving.encoded}
        tf.saved_model.save(serving, str(temporary), signatures)
