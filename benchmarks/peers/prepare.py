"""The step that needs TensorFlow: one network's weights as plain arrays, its .tflite files, and what they are checked with."""

import pathlib
import re

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

import shufflenet_tf as st
from benchmarks.peers.network import Weights
from export.convert.converter import run_converter
from export.optimize import optimize
from export.optimize.targets import HOST
from shufflenet_tf.errors import UserError
from shufflenet_tf.models.layers import EPSILON
from shufflenet_tf.weights import canonical

IMAGES = 32  # to calibrate with; of all of them, the first is the one that outputs are compared on
PRECISIONS = ("float32", "int8")
_PLAIN = re.compile(r"(conv1|conv5|linear|stage[234]/block\d/(shortcut_(dconv|conv)|conv1|dconv|conv2))/[Wb]")


def prepare(name: str, wiring: str, side: int, threads: list[int], folder: pathlib.Path) -> None:
    """Fills a folder with one network: weights.npz, images.npy, logits.npy and .tflite files.

    Graphs take a normalised float32 image and return float32 logits: neither preprocessing nor softmax.

    Args:
      name: a registered ShuffleNet V2.
      wiring: "tensorpack" or "torchvision".
      side: of the image, a multiple of 32 pixels.
      threads: numbers of threads to optimize the files for.
      folder: to write to; it exists.

    Raises:
      UserError: the network is unknown, or none that the peers are built as.
    """
    tf.keras.utils.set_random_seed(0)
    model = st.create_model(name, input_shape=(side, side, 3), wiring=wiring, classifier_activation=None)
    images = textured(side, IMAGES)
    for layer in model._flatten_layers():
        if hasattr(layer, "moving_mean"):
            layer.momentum = 0.0  # one step in training mode sets the statistics
    model(images, training=True)
    folded(canonical.arrays(model), st.Wiring.of(wiring), side).save(folder / "weights.npz")
    np.save(folder / "images.npy", images)
    np.save(folder / "logits.npy", model(images[:1], training=False).numpy())
    for precision in PRECISIONS:
        content = as_converted(model, precision, images)
        (folder / f"litert_{precision}.tflite").write_bytes(content)
        for count in threads:
            faster = optimize(content, threads=count, target=HOST).model
            (folder / f"ours_{precision}_{count}.tflite").write_bytes(faster)


def textured(side: int, count: int) -> np.ndarray:
    """Returns random images [count, side, side, 3] with some structure: noise at several scales."""
    rng = np.random.default_rng(1)
    layers = []
    for cells in (4, 16, side):
        noise = rng.normal(size=(count, cells, cells, 3))
        index = np.arange(side) * cells // side
        layers.append(noise[:, index][:, :, index])
    return np.sum(layers, axis=0).astype(np.float32)


def folded(arrays: dict[str, np.ndarray], wiring: st.Wiring, side: int) -> Weights:
    """Returns canonical arrays with normalizations worked into the convolutions, in the order of axes of everybody else.

    Raises:
      UserError: it isn't the plain ShuffleNet V2.
    """
    rest, result = dict(arrays), {}
    for key in [key for key in arrays if key.endswith("/W")]:
        name, kernel = key.removesuffix("/W"), rest.pop(key)
        norm = next((n for n in (f"{name}/bn", f"{name}_bn") if f"{n}/gamma" in rest), None)
        if norm:
            factor = rest.pop(f"{norm}/gamma") / np.sqrt(rest.pop(f"{norm}/variance/EMA") + np.float32(EPSILON))
            bias = rest.pop(f"{norm}/beta") - factor * rest.pop(f"{norm}/mean/EMA")
        else:
            factor, bias = np.float32(1), rest.pop(f"{name}/b", np.zeros(kernel.shape[-1], np.float32))
        # to [out, in, h, w]; depthwise [h, w, channels, 1] to [channels, 1, h, w]
        axes = (1, 0) if kernel.ndim == 2 else (2, 3, 0, 1) if name.endswith("dconv") else (3, 2, 0, 1)
        kernel = kernel.transpose(axes)
        result[key] = np.ascontiguousarray(kernel * np.reshape(factor, (-1, *[1] * (kernel.ndim - 1))))
        result[f"{name}/b"] = np.ascontiguousarray(bias)
    strange = [key for key in result if not _PLAIN.fullmatch(key)]
    if rest or strange or "stage2/block0/shortcut_dconv/W" not in result or wiring.shuffle_at != "end":
        raise UserError("Peers are built as a plain ShuffleNet V2: give its names, and the wiring tensorpack or torchvision.")
    return Weights(result, wiring.shuffle_order == "interleave", wiring.padding == "symmetric", side)


def as_converted(model: tf.keras.Model, precision: str, images: np.ndarray) -> bytes:
    """Returns what TensorFlow's converter makes of the network, float32 in and out."""
    signature = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, "image")
    traced = tf.function(lambda image: model(image, training=False)).get_concrete_function(signature)
    function = convert_variables_to_constants_v2(traced)
    return run_converter(function, precision, (lambda: ([image[None]] for image in images)) if precision == "int8" else None)
