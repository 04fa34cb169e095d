"""ShuffleNet V2 (Ma et al., "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design", ECCV 2018).

Table 5 of the paper, with the channels of 0.5x, 1.0x, 1.5x and 2.0x in `CHANNELS`:

    layer       output     kernel  stride  repeat
    image       224x224
    conv1       112x112    3x3     2       1
    pool1        56x56     3x3     2
    stage2       28x28             2, 1    1 + 3
    stage3       14x14             2, 1    1 + 7
    stage4        7x7              2, 1    1 + 3
    conv5         7x7      1x1     1       1
    gap           1x1      7x7
    linear
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from shufflenet_tf.errors import UserError
from shufflenet_tf.layers import (
    ChannelShuffle,
    ChannelSplit,
    Composite,
    ConvBNReLU,
    DepthwiseConvBN,
    max_pool,
    register,
)
from shufflenet_tf.model import ImageClassifier
from shufflenet_tf.preprocessing import Preprocessing
from shufflenet_tf.wiring import Wiring

# Paper, table 5: stages 2, 3, 4 and conv5. They are no multiples of one another.
CHANNELS = {
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}
STEM = 24
REPEATS = (4, 8, 4)


def channels(alpha: float) -> tuple[int, int, int, int]:
    """Returns the output channels of stages 2, 3, 4 and conv5: the paper's, or `alpha` times those of 1.0x."""
    if alpha <= 0:
        raise UserError(f"alpha={alpha} leaves no channels: give a positive multiple of 1.0x, such as 0.5.")
    if alpha in CHANNELS:
        return CHANNELS[alpha]
    half = max(1, math.ceil(58 * alpha))  # a unit splits its channels in two
    return 2 * half, 4 * half, 8 * half, 1024 if alpha < 2 else 2048


class _Unit(Composite):
    """What the two units share: their arguments and the main branch."""

    def __init__(self, filters: int, wiring: str | Wiring | Mapping[str, Any] = "tensorpack", **kwargs):
        super().__init__(**kwargs)
        if filters % 2:
            raise UserError(f"A ShuffleNet V2 unit works on two halves, and {filters} channels have none: give an even number.")
        self.filters = filters
        self.wiring = Wiring.of(wiring)

    def _build_main(self, strides: int, filters: int) -> None:
        """1x1 - 3x3 depthwise - 1x1, of which no layer reduces the channels (guideline 1)."""
        common = {"padding": self.wiring.padding, "dtype": self.dtype_policy}
        self.conv1 = ConvBNReLU(self.filters // 2, name=f"{self.name}.conv1", **common)
        self.dconv = DepthwiseConvBN(strides=strides, name=f"{self.name}.dconv", **common)
        self.conv2 = ConvBNReLU(filters, name=f"{self.name}.conv2", **common)
        self.concat = tf.keras.layers.Concatenate(name=f"{self.name}.concat", dtype=self.dtype_policy)
        self.shuffle = ChannelShuffle(2, self.wiring.shuffle_order, name=f"{self.name}.shuffle", dtype=self.dtype_policy)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "wiring": self.wiring.to_config()}


@register
class ShufflenetUnit1(_Unit):
    """The unit of stride 1 (paper, figure 3c): half of the channels pass by, the other half is convolved.

    Args:
      filters: channels of input and output, even.
      wiring: a name or a Wiring.

    Raises:
      UserError: an odd number of channels, or an input of another number.
    """

    def build(self, input_shape):
        if input_shape[-1] != self.filters:
            raise UserError(f"{self.name} keeps the number of channels: its input has {input_shape[-1]}, not {self.filters}.")
        self.split = ChannelSplit(2, name=f"{self.name}.split", dtype=self.dtype_policy)
        self._build_main(1, self.filters // 2)
        self.built = True

    def call(self, inputs):
        x = self.shuffle(inputs) if self.wiring.shuffle_at == "start" else inputs
        shortcut, x = self.split(x)  # (N, H, W, C/2) each
        x = self.conv2(self.dconv(self.conv1(x)))
        x = self.concat([shortcut, x])  # (N, H, W, C)
        return self.shuffle(x) if self.wiring.shuffle_at == "end" else x


@register
class ShufflenetUnit2(_Unit):
    """The unit of stride 2 (paper, figure 3d): both branches are convolved, which sets the number of channels.

    Args:
      filters: channels of the output, even.
      wiring: a name or a Wiring, which says how many of them the projection makes.

    Raises:
      UserError: an odd number of channels, or no more channels than the input has (wiring projection="input").
    """

    def build(self, input_shape):
        projected = self.filters // 2 if self.wiring.projection == "half" else input_shape[-1]
        if projected >= self.filters:
            raise UserError(
                f"{self.name} passes on {projected} channels of its input, so it must make more than {self.filters}."
            )
        common = {"padding": self.wiring.padding, "dtype": self.dtype_policy}
        self.shortcut_dconv = DepthwiseConvBN(strides=2, name=f"{self.name}.shortcut_dconv", **common)
        self.shortcut_conv = ConvBNReLU(projected, name=f"{self.name}.shortcut_conv", **common)
        self._build_main(2, self.filters - projected)
        self.built = True

    def call(self, inputs):
        shortcut = self.shortcut_conv(self.shortcut_dconv(inputs))
        x = self.conv2(self.dconv(self.conv1(inputs)))
        x = self.concat([shortcut, x])  # (N, H/2, W/2, C)
        return self.shuffle(x) if self.wiring.shuffle_at == "end" else x


@register
class ShufflenetStage(Composite):
    """One unit of stride 2, then `repeats` - 1 of stride 1.

    Args:
      filters: channels of the output, even.
      repeats: number of units.
      wiring: a name or a Wiring.
    """

    def __init__(self, filters: int, repeats: int, wiring: str | Wiring | Mapping[str, Any] = "tensorpack", **kwargs):
        super().__init__(**kwargs)
        self.filters, self.repeats, self.wiring = filters, repeats, Wiring.of(wiring)

    def build(self, input_shape):
        kinds = [ShufflenetUnit2] + [ShufflenetUnit1] * (self.repeats - 1)
        self.units = [
            unit(self.filters, self.wiring, name=f"{self.name}.block{i}", dtype=self.dtype_policy)
            for i, unit in enumerate(kinds)
        ]
        self.built = True

    def call(self, inputs):
        for unit in self.units:
            inputs = unit(inputs)
        return inputs

    def get_config(self):
        config = {"filters": self.filters, "repeats": self.repeats, "wiring": self.wiring.to_config()}
        return {**super().get_config(), **config}


@register
class ShuffleNetV2(ImageClassifier):
    """ShuffleNet V2 (paper, table 5), from normalised images to class probabilities.

    Args:
      alpha: width, as a multiple of 1.0x: 0.5, 1.0, 1.5 and 2.0 are the paper's, any other is derived.
      wiring: a name ("tensorpack", "megvii", "torchvision") or a Wiring.
      Others: see ImageClassifier.

    Raises:
      UserError: an argument out of range.
    """

    def __init__(
        self,
        input_shape: Sequence[int | None] = (224, 224, 3),
        alpha: float = 1.0,
        include_top: bool = True,
        weights: str | None = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: str | None = "softmax",
        wiring: str | Wiring | Mapping[str, Any] = "tensorpack",
        labels: Sequence[str] | None = None,
        preprocessing: Preprocessing | Mapping[str, Any] | str | None = None,
        name: str | None = None,
    ):
        wiring = Wiring.of(wiring)
        *stages, last = channels(alpha)

        def trunk(images):
            x = ConvBNReLU(STEM, 3, 2, padding=wiring.padding, name="conv1")(images)
            maps = {4: max_pool(x, wiring.padding)}
            for i, (filters, repeats) in enumerate(zip(stages, REPEATS, strict=True)):
                x = maps[8 << i] = ShufflenetStage(filters, repeats, wiring, name=f"stage{i + 2}").inline(maps[4 << i])
            return {**maps, "features": ConvBNReLU(last, name="conv5")(x)}

        super().__init__(
            trunk,
            input_shape=input_shape,
            include_top=include_top,
            weights=weights,
            pooling=pooling,
            classes=classes,
            classifier_activation=classifier_activation,
            classifier_bias=wiring.classifier_bias,
            labels=labels,
            preprocessing=preprocessing,
            name=name or f"shufflenet_v2_{alpha}x",
            config={"alpha": alpha, "wiring": wiring.to_config()},
        )
