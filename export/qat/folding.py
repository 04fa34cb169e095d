"""The network that learns to be int8: primitive layers from raw pixels to probabilities, normalization folded away.

An int8 graph has no batch normalization, so none is trained: its statistics are those of the trained network, and its
factors and offsets are part of the kernels and biases that learn.
"""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from export.convert.from_keras import check_convertible
from export.convert.stem import PixelTransform, Stem, frame
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.models.kernels import register
from shufflenet_tf.models.layers import HardSigmoid, HardSwish, flatten
from shufflenet_tf.weights import canonical

layers = tf.keras.layers
STEM = "conv1"  # the convolution that takes the image
CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D)
WEIGHTED = (*CONVOLUTIONS, layers.Dense)
BLACK, WHITE = 0, 255


@register
class PixelConv2D(layers.Conv2D):
    """The convolution that takes the image: uint8 values, with an edge of mean pixels where the network pads with zeros.

    Args:
      edges: pixels before and behind, by axis; None: the convolution pads as it does anyway.
      pixel: R, G, B of the edge, 0-255.
    """

    def __init__(self, *args, edges=None, pixel=(0.0, 0.0, 0.0), **kwargs):
        super().__init__(*args, **kwargs)
        self.edges, self.pixel = edges, pixel

    def call(self, inputs):
        x = whole(inputs)
        if self.edges:
            x = whole(self._add_frame(x))
        return tf.nn.bias_add(tf.nn.conv2d(x, self.kernel, self.strides, self.padding.upper()), self.bias)

    def _add_frame(self, x):
        pixel = np.float32(self.pixel)
        if x.shape[0] == 1:  # in the exported graph
            return frame(x, self.edges, pixel)
        edge = np.pad(np.zeros((*x.shape[1:3], 1), np.float32), [*self.edges, (0, 0)], constant_values=1) * pixel
        return tf.pad(x, [(0, 0), *self.edges, (0, 0)]) + edge

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        if self.edges:
            height, width = height + sum(self.edges[0]), width + sum(self.edges[1])
        return super().compute_output_shape((batch, height, width, channels))

    def get_config(self):
        return {**super().get_config(), "edges": self.edges, "pixel": list(map(float, self.pixel))}


def whole(pixels: tf.Tensor) -> tf.Tensor:
    """Rounds pixel values 0-255 as a uint8 tensor of scale 1 holds them."""
    return tf.quantization.fake_quant_with_min_max_args(pixels, BLACK, WHITE)


def folded(model: ImageClassifier) -> tf.keras.Model:
    """Returns the functional model of primitive layers from pixels, float32 [N, H, W, 3] 0-255 RGB, to probabilities.

    Each layer has a kernel and a bias, which are copies. In float it computes the same as `model`, except that pixels are
    rounded.

    Args:
      model: with a fixed input size, and a softmax.

    Raises:
      UserError: another kind of model.
    """
    check_convertible(model)
    flat, stem = flatten(model), Stem.of(model)
    weights = {layer.name: _weights(layer) for layer in flat.layers if isinstance(layer, WEIGHTED)}
    weights[STEM] = [*stem.transform.fold(*weights[STEM])]

    def primitive(layer):
        if isinstance(layer, (HardSigmoid, HardSwish)):  # a policy as dtype keeps tf_keras from making their configuration
            return type(layer)(name=layer.name)
        config = layer.get_config()
        if layer.name == STEM:
            if stem.edges is not None:
                config |= {"edges": stem.edges, "pixel": stem.transform.mean.tolist(), "padding": "valid"}
            return PixelConv2D.from_config({**config, "use_bias": True})
        if isinstance(layer, WEIGHTED):
            return type(layer).from_config({**config, "use_bias": True})
        if isinstance(layer, layers.BatchNormalization) or (layer.name == f"{STEM}.pad" and stem.edges is not None):
            return layers.Activation("linear", name=layer.name)
        return type(layer).from_config(config)

    clone = tf.keras.models.clone_model(flat, clone_function=primitive)
    for name, arrays in weights.items():
        clone.get_layer(name).set_weights(arrays)
    return clone


def unfolded(model: ImageClassifier, trained: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns weights by canonical name that make `model` compute the same as a `folded` model with `trained`.

    A bias that has been learnt where `model` has none is left out.

    Args:
      model: the network; it is not changed.
      trained: kernels and biases, as "stage2.block0.conv1/kernel".
    """
    flat, arrays = flatten(model), canonical.arrays(model)
    transform = PixelTransform.of(model.preprocessing)
    for layer in flat.layers:
        path = layer.name.replace(".", "/")
        kernel, bias = (trained.get(f"{layer.name}/{kind}") for kind in ("kernel", "bias"))
        if isinstance(layer, CONVOLUTIONS) and (normalization := _normalization(layer)):
            if layer.name == STEM:
                kernel, bias = transform.unfold(kernel, bias)
            after, ones = normalization.name.replace(".", "/"), np.ones_like(bias)
            arrays |= {f"{after}/gamma": ones, f"{after}/beta": bias, f"{after}/mean/EMA": 0 * ones}
            arrays |= {f"{after}/variance/EMA": ones * np.float32(1 - normalization.epsilon)}
        elif bias is not None and layer.use_bias:
            arrays[f"{path}/b"] = bias
        if kernel is not None:
            arrays[f"{path}/W"] = kernel
    return arrays


def _normalization(conv: tf.keras.layers.Layer) -> tf.keras.layers.Layer | None:
    after = conv.outbound_nodes[0].outbound_layer
    return after if isinstance(after, layers.BatchNormalization) else None


def _weights(conv: tf.keras.layers.Layer) -> list[np.ndarray]:
    """Kernel and bias of a layer with the normalization that follows it."""
    (kernel, *bias), after = conv.get_weights(), _normalization(conv)
    depthwise = isinstance(conv, layers.DepthwiseConv2D)
    if after is None:
        return [kernel, *(bias or [np.zeros(kernel.shape[-2 if depthwise else -1], np.float32)])]
    gamma, beta, mean, variance = after.get_weights()
    factor = gamma / np.sqrt(variance + after.epsilon)
    return [kernel * (factor[:, None] if depthwise else factor), beta - mean * factor]
