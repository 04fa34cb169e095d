"""Small .tflite files for tests, which tell red, green and blue apart."""

import functools
import json
import pathlib
import zipfile

import numpy as np
import tensorflow as tf

import shufflenet_tf as st
from shufflenet_tf.tflite_classifier import LABELS, PREPROCESSING

SIDE = 32
COLOURS = ("red", "green", "blue")
CONTRACT = {PREPROCESSING: json.dumps(st.Preprocessing.of("megvii").to_config())}  # BGR, so that an RGB mix-up shows
UINT8 = {LABELS: "\n".join(COLOURS)}
FLOAT32 = UINT8 | CONTRACT


@functools.cache
def colour_model(kind: str = "float32", classes: int = 3, *, order: str = "rgb", softmax: bool = True) -> bytes:
    """A .tflite file whose class is the strongest channel, of `order`, in the upper half of an image of 32 x 32 pixels.

    Args:
      kind: type of the input, whose real values are 0-255, and of the output; not float32: a quantized model.
      classes: from the 4th on, classes that hardly any image belongs to, a bit less each.
    """
    channels = np.zeros((1, 1, 3, classes), np.float32)
    channels[0, 0, ["rgb".index(letter) for letter in order], [0, 1, 2]] = 8 / 255
    bias = np.concatenate([np.zeros(3), -2 - np.arange(classes - 3) / 128]).astype(np.float32)

    def classify(images):
        logits = tf.reduce_mean(tf.nn.conv2d(images[:, : SIDE // 2], channels, 1, "VALID") + bias, (1, 2))
        return tf.nn.softmax(logits) if softmax else logits - 100

    return converted(classify, (1, SIDE, SIDE, 3), kind=kind)


def converted(function, *shapes: tuple[int, ...], kind: str = "float32") -> bytes:
    """The .tflite file of a function of float32 tensors."""
    concrete = tf.function(function, [tf.TensorSpec(shape) for shape in shapes]).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    if kind != "float32":
        noise = np.random.default_rng(0).integers(0, 256, (8, *shapes[0]))
        noise[:3] = np.eye(3)[:, None, None, None] * 255  # for the input's scale to be 1, and for every class
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image.astype(np.float32)] for image in noise)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.dtypes.as_dtype(kind)
    return converter.convert()


def write(path: pathlib.Path, content: bytes, texts: dict[str, str | bytes] | None = None) -> pathlib.Path:
    """Writes a .tflite file with texts packed behind it."""
    path.write_bytes(content)
    if texts:
        with zipfile.ZipFile(path, "a") as archive:
            for name, text in texts.items():
                archive.writestr(name, text)
    return path
