"""How numbers are stored in an exported graph, and the images that int8 ranges are taken from."""

import dataclasses
import os
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

import shufflenet_tf as st
from shufflenet_tf.data import Split, open_source, photos
from shufflenet_tf.data.decode import UndecodableError
from shufflenet_tf.data.pipeline import evaluation_images
from shufflenet_tf.errors import UserError

KINDS = ("float32", "float16", "dynamic", "int8", "int16")
CALIBRATED = ("int8", "int16")  # these take ranges from images


@dataclasses.dataclass(frozen=True)
class Quantization:
    """How numbers are stored in a converted graph.

    Attributes:
      kind: "float32", "float16" (weights), "dynamic" (int8 weights, float activations), "int8" (both, weights with a scale
        each output channel) or "int16" (activations; weights as in int8).
      output: int8: type of the probabilities, "uint8" or "float32"; else they are float32.
      calibration: int8, int16: uint8 images [H, W, 3]; the range of each activation is what they make of it.

    Raises:
      UserError: an unknown kind or type, or int8 or int16 without images.
    """

    kind: str = "float32"
    output: str = "uint8"
    calibration: Sequence[np.ndarray] = ()

    def __post_init__(self):
        if self.kind not in KINDS:
            raise UserError(f"There is no quantization {self.kind!r}: use {', '.join(KINDS)}.")
        if self.output not in ("uint8", "float32"):
            raise UserError(f"Probabilities can't be of type {self.output!r}: use uint8 or float32.")
        if self.kind in CALIBRATED and not len(self.calibration):
            raise UserError(f"{self.kind} needs images to take the ranges of activations from: give --calibration=FOLDER.")

    def apply(self, converter: tf.lite.TFLiteConverter) -> None:
        """Sets up TensorFlow's converter."""
        if self.kind != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if self.kind == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if self.kind in CALIBRATED:
            converter.representative_dataset = self._samples
        if self.kind == "int16":
            converter.target_spec.supported_ops = [
                tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
                tf.lite.OpsSet.TFLITE_BUILTINS,
            ]
        if self.kind == "int8":
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = tf.uint8
            converter.inference_output_type = getattr(tf, self.output)

    def _samples(self) -> Iterator[list[np.ndarray]]:
        for i, image in enumerate(self.calibration):
            image = image.astype(np.float32)
            if i == 0:
                # A pixel stays a pixel: with black and white seen, the input's scale is 1 and its zero point 0.
                image[0, 0], image[0, 1] = 0, 255
            yield [image[None]]


def calibration_images(spec: str, bundle: st.Bundle, count: int, data_dir: str | None = None) -> list[np.ndarray]:
    """Reads images to calibrate with, drawn at random but always the same.

    Args:
      spec: a folder with photos, in whatever folders within it; or a dataset, whose training part is used: folder:PATH,
        tfds:NAME, shapes.
      bundle: the model, for its size and preprocessing.
      count: how many.
      data_dir: where TensorFlow Datasets are prepared.

    Returns:
      uint8 [height, width, 3] each.

    Raises:
      UserError: there is no such folder or dataset, or it has fewer images.
    """
    random = np.random.default_rng(0)
    if not os.path.isdir(spec):
        source = open_source(spec, data_dir=data_dir)
        if source.train.size < count:
            raise UserError(_too_few(spec, source.train.size, count))
        drawn = Split(source.train.size, lambda _: source.train.examples(0))
        dataset = evaluation_images(drawn, bundle.preprocessing, bundle.size).take(count)
        return [image for image, _ in dataset.as_numpy_iterator()]
    found, images = photos.find(spec), []
    for path in random.permutation(np.array(found, object)):
        if len(images) == count:
            break
        try:
            images.append(photos.read(path, bundle.preprocessing, bundle.size))
        except UndecodableError:
            continue  # another one serves as well
    if len(images) < count:
        raise UserError(_too_few(spec, len(images), count))
    return images


def _too_few(spec: str, found: int, count: int) -> str:
    if not found:
        return f"There is no photo in {spec}: give a folder with some {count} of the kind that the model will see."
    return f"{spec} has {found} images and {count} are asked for: give --calibration_images={found}, or more photos."
