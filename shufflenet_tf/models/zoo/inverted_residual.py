"""The block of MobileNet V3 and IGCV3: narrow ends, a wide depthwise middle (Sandler et al., "MobileNetV2", CVPR 2018)."""

import tensorflow as tf

from shufflenet_tf.models.layers import ChannelShuffle, Composite, ConvBNReLU, DepthwiseConvBN, SqueezeExcite, register


def divisible(channels: float, by: int = 8) -> int:
    """Returns the multiple of `by` nearest to a width, but not below 90 % of the width (MobileNets' rounding)."""
    rounded = max(by, int(channels + by / 2) // by * by)
    return rounded if rounded >= 0.9 * channels else rounded + by


@register
class InvertedResidual(Composite):
    """1x1 that widens - depthwise - 1x1 that narrows, without activation; the input is added if the shapes agree.

    Args:
      filters: channels of the output.
      expanded: channels of the depthwise convolution; if the input has as many, an ungrouped first 1x1 is left out.
      kernel_size, strides: of the depthwise convolution, in pixels.
      activation: after the depthwise convolution; see `layers.activation`.
      hidden: channels inside the squeeze-and-excitation that follows; 0: none.
      groups: number of groups of both 1x1 (IGCV3): channel shuffles mix them, and the first 1x1 has no activation.
    """

    def __init__(
        self,
        filters: int,
        expanded: int,
        kernel_size: int = 3,
        strides: int = 1,
        activation: str = "relu",
        hidden: int = 0,
        groups: int = 1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters, self.expanded, self.kernel_size, self.strides = filters, expanded, kernel_size, strides
        self.activation, self.hidden, self.groups = activation, hidden, groups

    def build(self, input_shape):
        c, name, common = input_shape[-1], self.name, {"dtype": self.dtype_policy}
        g, act = self.groups, self.activation
        self.body = []
        if self.expanded != c or g > 1:
            first = act if g == 1 else None
            self.body.append(ConvBNReLU(self.expanded, groups=g, activation=first, name=f"{name}.conv1", **common))
        if g > 1:
            self.body.append(ChannelShuffle(g, name=f"{name}.shuffle1", **common))
        self.body.append(DepthwiseConvBN(self.kernel_size, self.strides, activation=act, name=f"{name}.dconv", **common))
        if self.hidden:
            self.body.append(SqueezeExcite(hidden=self.hidden, bias=True, name=f"{name}.se", **common))
        self.body.append(ConvBNReLU(self.filters, groups=g, activation=None, name=f"{name}.conv2", **common))
        if g > 1:
            # Restores the input's order, in which the groups are halves, so that the sum adds corresponding channels.
            self.body.append(ChannelShuffle(self.filters // g, name=f"{name}.shuffle2", **common))
        added = self.strides == 1 and c == self.filters
        self.add = tf.keras.layers.Add(name=f"{name}.add", **common) if added else None
        self.built = True

    def call(self, inputs):
        x = inputs
        for layer in self.body:
            x = layer(x)
        return self.add([inputs, x]) if self.add else x

    def get_config(self):
        keys = ("filters", "expanded", "kernel_size", "strides", "activation", "hidden", "groups")
        return {**super().get_config(), **{key: getattr(self, key) for key in keys}}
