"""The small models that the camera app's tests run on: each kind of input, and each way of resizing.

Written with: PYTHONPATH=.:tests python tests/golden_models.py android_demo/core/src/test/resources/models
"""

import pathlib
import sys

import numpy as np
import tensorflow as tf
from lite_models import converted

from export.flatbuffer import metadata
from shufflenet_tf.preprocessing import Preprocessing

LABELS = ("apple", "Birne", "cerise", "жираф", "象")


def _network(height: int, width: int, scale: float):
    """A function of images [1, height, width, 3]: mean colours of the quarters, a dense layer, softmax."""
    weights = np.random.default_rng(1).normal(0, 4, (12, len(LABELS))).astype(np.float32)

    def classify(images):
        quarters = tf.nn.avg_pool2d(images * scale, (height // 2, width // 2), (height // 2, width // 2), "VALID")
        return tf.nn.softmax(tf.reshape(quarters, (1, 12)) @ weights - 0.5)

    return classify


def _scaled() -> bytes:
    """A model that takes int8, but not of pixels: of what normalized ones are, -2.5 to 2.5."""
    concrete = tf.function(_network(16, 16, 0.3), [tf.TensorSpec((1, 16, 16, 3))]).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    noise = np.random.default_rng(0).uniform(-2.5, 2.5, (8, 1, 16, 16, 3)).astype(np.float32)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image] for image in noise)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def models() -> dict[str, bytes]:
    """The .tflite files by their names."""
    unlike = Preprocessing(channel_order="bgr", interpolation="lanczos3", mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
    made = {
        "uint8": (converted(_network(16, 16, 1 / 255), (1, 16, 16, 3), kind="uint8"), Preprocessing()),
        "int8": (converted(_network(12, 20, 1 / 255), (1, 12, 20, 3), kind="int8"), Preprocessing.of("tensorpack")),
        "float32": (converted(_network(16, 16, 1.0), (1, 16, 16, 3)), unlike),
        "scaled": (_scaled(), Preprocessing(interpolation="area")),
    }
    about = "A small network for tests"
    return {f"{name}.tflite": metadata.attach(model, name, about, LABELS, how) for name, (model, how) in made.items()}


if __name__ == "__main__":
    for name, content in models().items():
        (pathlib.Path(sys.argv[1]) / name).write_bytes(content)
