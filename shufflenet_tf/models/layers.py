"""The building blocks of every network here, written for `tf.keras` of both generations (Keras 3 and tf_keras 2).

Two ideas run through this file.

*Names.* A layer's name is its path in tensorpack's published scheme with dots for slashes (`stage2.block0.conv1`);
the variable names of a checkpoint follow from it without a table (`stage2/block0/conv1/W`, see `variable_names`).

*Composites.* Units and blocks contain only calls of other layers, so that a model can be shown as the paper's table
or, flattened, as a functional graph of primitive layers, which quantization-aware training works on (see `flatten`).
"""

import contextlib
import contextvars
import functools
from collections.abc import Iterator

import tensorflow as tf

from shufflenet_tf.models.kernels import BatchNorm, GroupedConv2D, register
from shufflenet_tf.wiring import EPSILON

# Untruncated and scaled by the fan-in, as in tensorpack's networks; a depthwise kernel [3, 3, C, 1] has the fan-in 9 * C.
INITIALIZER = {
    "class_name": "VarianceScaling",
    "config": {"scale": 2.0, "mode": "fan_in", "distribution": "untruncated_normal"},
}
MOMENTUM = 0.9

_flattening = contextvars.ContextVar("flattening", default=False)


class Composite(tf.keras.layers.Layer):
    """A layer that consists of sub-layers: `build` creates them, and `call` does nothing but call them."""

    def __call__(self, *args, **kwargs):
        if not _flattening.get():
            return super().__call__(*args, **kwargs)
        if not self.built:
            self.build(args[0].shape)
        return self.call(*args, **kwargs)

    def inline(self, x):
        """Applies the sub-layers to symbolic `x`, so that each becomes a node of the graph; one level deep."""
        self.build(x.shape)
        return self.call(x)


@contextlib.contextmanager
def _flatten_composites() -> Iterator[None]:
    token = _flattening.set(True)
    try:
        yield
    finally:
        _flattening.reset(token)


def flatten(model: tf.keras.Model) -> tf.keras.Model:
    """Returns the functional model of primitive layers (Conv2D, BatchNormalization, split, …) that `model` consists of.

    Weights are shared with `model`; outputs are bit-identical.
    """
    with _flatten_composites():
        inputs = tf.keras.Input(model.input_shape[1:], name="image")
        return tf.keras.Model(inputs, model.call(inputs), name=model.name)


@register
class ChannelSplit(tf.keras.layers.Layer):
    """Splits [N, H, W, C] into `parts` tensors of C / parts consecutive channels each."""

    def __init__(self, parts: int = 2, **kwargs):
        super().__init__(**kwargs)
        self.parts = parts

    def call(self, inputs):
        return tf.split(inputs, self.parts, axis=-1)

    def compute_output_shape(self, input_shape):
        return [(*input_shape[:-1], input_shape[-1] // self.parts)] * self.parts

    def get_config(self):
        return {**super().get_config(), "parts": self.parts}


@register
class ChannelShuffle(tf.keras.layers.Layer):
    """Channel shuffle (ShuffleNet V1, figure 1): mixes the channels of the groups.

    Args:
      groups: g; must divide the number of channels C = g * n.
      order: "interleave" reshapes the channels to (g, n), then transposes (the paper, torchvision);
        "deinterleave" to (n, g) (tensorpack, megvii). One is the inverse of the other; they agree only where g = n.

    Raises:
      ValueError: `groups` does not divide the channels, or the order is unknown.
    """

    def __init__(self, groups: int, order: str = "interleave", **kwargs):
        super().__init__(**kwargs)
        if order not in ("interleave", "deinterleave"):
            raise ValueError(f"Channel shuffle order {order!r} is unknown: use 'interleave' or 'deinterleave'.")
        self.groups = groups
        self.order = order

    def build(self, input_shape):
        if input_shape[-1] % self.groups:
            raise ValueError(f"{input_shape[-1]} channels cannot be shuffled in {self.groups} groups of equal size.")
        self.built = True

    def call(self, inputs):
        _, h, w, c = inputs.shape
        if h is None or w is None:
            h, w = tf.shape(inputs)[1], tf.shape(inputs)[2]
        n = c // self.groups
        rows, columns = (self.groups, n) if self.order == "interleave" else (n, self.groups)
        # At most four dimensions: GPU delegates on phones refuse the five-dimensional form.
        x = tf.reshape(inputs, (-1, h * w, rows, columns))  # (N, H*W, g, n)
        x = tf.transpose(x, (0, 1, 3, 2))  # (N, H*W, n, g)
        return tf.reshape(x, (-1, h, w, c))  # (N, H, W, C)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "groups": self.groups, "order": self.order}


@register
class HardSigmoid(tf.keras.layers.Layer):
    """min(max(x + 3, 0), 6) / 6. Keras's layer of this name differs between its generations."""

    def call(self, inputs):
        return tf.nn.relu6(inputs + 3.0) * (1 / 6)


@register
class HardSwish(tf.keras.layers.Layer):
    """x * hard_sigmoid(x) (Howard et al., "Searching for MobileNetV3", section 5.2), one operator in TFLite."""

    def call(self, inputs):
        return inputs * tf.nn.relu6(inputs + 3.0) * (1 / 6)


def activation(kind: str, **kwargs) -> tf.keras.layers.Layer:
    """Returns the layer for "hard_swish", "hard_sigmoid" or an activation that Keras knows by name."""
    classes = {"hard_swish": HardSwish, "hard_sigmoid": HardSigmoid}
    return classes[kind](**kwargs) if kind in classes else tf.keras.layers.Activation(kind, **kwargs)


@register
class ConvBNReLU(Composite):
    """Convolution without bias, batch normalization, activation; base of the next two classes.

    As in tensorpack, a normalization with an activation is named inside the convolution (`conv1.bn`), and one without an
    activation beside it (`conv2_bn`).

    Args:
      filters: output channels.
      kernel_size, strides: for height and width, in pixels.
      groups: number of groups (ShuffleNet V1); must divide the channels of the input and `filters`.
      padding: at stride 2, "same" (TensorFlow: more on the right and at the bottom) or "symmetric" (PyTorch).
      activation: see `activation`, or None.
    """

    def __init__(self, filters=None, kernel_size=1, strides=1, groups=1, padding="same", activation="relu", **kwargs):
        super().__init__(**kwargs)
        self.filters, self.kernel_size, self.strides, self.groups = filters, kernel_size, strides, groups
        self.padding, self.activation = padding, activation

    def _convolution(self, **kwargs) -> tf.keras.layers.Layer:
        if self.groups == 1:
            return tf.keras.layers.Conv2D(self.filters, self.kernel_size, kernel_initializer=INITIALIZER, **kwargs)
        return GroupedConv2D(self.filters, self.kernel_size, groups=self.groups, kernel_initializer=INITIALIZER, **kwargs)

    def build(self, input_shape):
        # At stride 1, both paddings add the same pixels, and "same" needs no extra operator.
        explicit = self.padding == "symmetric" and self.strides > 1 and self.kernel_size > 1
        common = {"dtype": self.dtype_policy}
        self.pad = tf.keras.layers.ZeroPadding2D(self.kernel_size // 2, name=f"{self.name}.pad", **common) if explicit else None
        padding = "valid" if explicit else "same"
        self.conv = self._convolution(strides=self.strides, padding=padding, use_bias=False, name=self.name, **common)
        bn_name = f"{self.name}{'.bn' if self.activation else '_bn'}"
        self.bn = BatchNorm(momentum=MOMENTUM, epsilon=EPSILON, name=bn_name, **common)
        self.act = activation(self.activation, name=f"{self.name}.act", **common) if self.activation else None
        self.built = True

    def call(self, inputs):
        x = self.pad(inputs) if self.pad else inputs
        x = self.bn(self.conv(x))
        return self.act(x) if self.act else x

    def get_config(self):
        keys = ("filters", "kernel_size", "strides", "groups", "padding", "activation")
        return {**super().get_config(), **{key: getattr(self, key) for key in keys}}


@register
class GroupedConvBN(ConvBNReLU):
    """A 1x1 grouped convolution and batch normalization without activation (ShuffleNet V1, figure 2)."""

    def __init__(self, filters=None, groups=1, activation=None, **kwargs):
        super().__init__(filters, groups=groups, activation=activation, **kwargs)


@register
class DepthwiseConvBN(ConvBNReLU):
    """A 3x3 depthwise convolution and batch normalization without activation (both ShuffleNets)."""

    def __init__(self, kernel_size=3, strides=1, activation=None, **kwargs):
        super().__init__(kernel_size=kernel_size, strides=strides, activation=activation, **kwargs)

    def _convolution(self, **kwargs) -> tf.keras.layers.Layer:
        return tf.keras.layers.DepthwiseConv2D(self.kernel_size, depthwise_initializer=INITIALIZER, **kwargs)


@register
class SqueezeExcite(Composite):
    """Scales each channel by a factor that depends on the means of all channels.

    Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018. As in megvii's ShuffleNet V2+: batch normalization after the
    first convolution, no biases, a hard sigmoid. An input of one pixel needs no pooling.

    Args:
      reduction: ratio of the input's channels to those between the two convolutions.
      hidden: number of channels between the two convolutions; replaces `reduction`.
      bias: whether both convolutions have biases and no normalization, as in MobileNet V3.
    """

    def __init__(self, reduction: int = 4, hidden: int | None = None, bias: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.reduction, self.hidden, self.bias = reduction, hidden, bias

    def build(self, input_shape):
        common = {"dtype": self.dtype_policy}
        c = input_shape[-1]
        pixel = tuple(input_shape[1:3]) == (1, 1)
        pool = tf.keras.layers.GlobalAveragePooling2D
        self.pool = None if pixel else pool(keepdims=True, name=f"{self.name}.pool", **common)
        hidden, name = self.hidden or c // self.reduction, f"{self.name}.squeeze"
        conv = functools.partial(tf.keras.layers.Conv2D, kernel_initializer=INITIALIZER, **common)
        self.squeeze = conv(hidden, 1, activation="relu", name=name) if self.bias else ConvBNReLU(hidden, name=name, **common)
        self.excite = conv(c, 1, use_bias=self.bias, name=f"{self.name}.excite")
        self.gate = HardSigmoid(name=f"{self.name}.gate", **common)
        self.scale = tf.keras.layers.Multiply(name=f"{self.name}.scale", **common)
        self.built = True

    def call(self, inputs):
        x = self.pool(inputs) if self.pool else inputs  # (N, 1, 1, C)
        return self.scale([inputs, self.gate(self.excite(self.squeeze(x)))])

    def get_config(self):
        return {**super().get_config(), "reduction": self.reduction, "hidden": self.hidden, "bias": self.bias}


def max_pool(x, padding: str, name: str = "pool1"):
    """Applies 3x3 max pooling with stride 2 to a map without negative values, so that padding with zeros changes nothing."""
    if padding == "symmetric":
        x = tf.keras.layers.ZeroPadding2D(1, name=f"{name}.pad")(x)
    return tf.keras.layers.MaxPooling2D(3, 2, "valid" if padding == "symmetric" else "same", name=name)(x)
