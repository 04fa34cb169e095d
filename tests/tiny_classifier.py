"""A tiny classifier as Keras model, float .tflite and int8 .tflite, for tests."""

import io
import json
import zipfile

import numpy as np
import tensorflow as tf

import shufflenet_tf as st

SIDE, CLASSES = 32, 5
PIXELS = st.Preprocessing(scale=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), resize=SIDE, crop=SIDE)


def network(seed: int = 0, classes: int = CLASSES) -> tf.keras.Model:
    """Returns a model of pixels, float32 [N, 32, 32, 3], whose answers differ from image to image."""
    tf.keras.utils.set_random_seed(seed)
    layers, biases = tf.keras.layers, tf.keras.initializers.RandomNormal(0.0, 0.3)
    image = tf.keras.Input((SIDE, SIDE, 3))
    x = layers.Rescaling(1 / 64, -2.0)(image)
    x = layers.Conv2D(8, 3, 2, padding="same", activation="relu", bias_initializer=biases, name="stem")(x)
    x = layers.DepthwiseConv2D(3, padding="same", bias_initializer=biases, name="depthwise")(x)
    y = layers.Conv2D(8, 1, activation="relu", bias_initializer=biases, name="branch")(x)
    x = layers.Concatenate(name="joined")([y, layers.AveragePooling2D(1, name="pool")(x)])
    x = layers.Conv2D(16, 1, activation="relu", bias_initializer=biases, name="mix")(x)
    x = layers.GlobalAveragePooling2D(name="gap")(x)
    x = layers.Dense(classes, kernel_initializer=tf.keras.initializers.RandomNormal(0.0, 3.0), name="linear")(x)
    return tf.keras.Model(image, layers.Softmax(name="probabilities")(x), name="tiny")


def convert(model: tf.keras.Model, int8: bool = False) -> bytes:
    """Returns a .tflite file: one that takes uint8 pixels, or floats that its preprocessing makes of them."""
    image = tf.keras.Input((SIDE, SIDE, 3), batch_size=1)
    converter = tf.lite.TFLiteConverter.from_keras_model(tf.keras.Model(image, model(image)))
    if not int8:
        return packed(converter.convert(), {"preprocessing.json": json.dumps(PIXELS.to_config())})
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    converter.representative_dataset = lambda: ([image[None].astype(np.float32)] for image in images(30, seed=1))
    return converter.convert()


def packed(content: bytes, files: dict[str, str]) -> bytes:
    """Returns a .tflite file with texts packed into it, by name."""
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def images(count: int, seed: int = 0) -> np.ndarray:
    """Returns uint8 [count, 32, 32, 3]: blocks of random colours, each 0 and 255 among them."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (count, 4, 4, 3), np.uint8)
    blocks[:, 0, 0], blocks[:, 0, 1] = 0, 255
    return blocks.repeat(SIDE // 4, 1).repeat(SIDE // 4, 2)
