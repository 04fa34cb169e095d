"""ShuffleNet V1 (Zhang et al., "ShuffleNet: An Extremely Efficient CNN for Mobile Devices", CVPR 2018).

Table 1 of the paper, with the channels of 1.0x in `CHANNELS`:

    layer       output     kernel  stride  repeat   channels, g = 1   2    3    4    8
    image       224x224                                         3    3    3    3    3
    conv1       112x112    3x3     2       1                   24   24   24   24   24
    pool1        56x56     3x3     2
    stage2       28x28             2, 1    1 + 3              144  200  240  272  384
    stage3       14x14             2, 1    1 + 7              288  400  480  544  768
    stage4        7x7              2, 1    1 + 3              576  800  960 1088 1536
    gap           1x1      7x7
    linear
"""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from shufflenet_tf.errors import UserError
from shufflenet_tf.layers import (
    ChannelShuffle,
    Composite,
    ConvBNReLU,
    DepthwiseConvBN,
    GroupedConvBN,
    max_pool,
    register,
)
from shufflenet_tf.model import ImageClassifier
from shufflenet_tf.preprocessing import Preprocessing
from shufflenet_tf.wiring import Wiring

CHANNELS = {
    1: 144,
    2: 200,
    3: 240,
    4: 272,
    8: 384,
}  # paper, table 1: stage 2 by groups; stages 3 and 4: twice, four times
STEM = 24
REPEATS = (4, 8, 4)


def channels(alpha: float, groups: int) -> tuple[int, int, int, int]:
    """Returns the output channels of conv1 and stages 2, 3, 4, rounded as in all published weights."""
    if groups not in CHANNELS:
        raise UserError(f"groups={groups} is not among the paper's {', '.join(map(str, CHANNELS))}.")
    if alpha <= 0:
        raise UserError(f"alpha={alpha} leaves no channels: give a positive multiple of 1.0x, such as 0.5.")

    def rounded(width: float, multiple: int) -> int:
        return math.ceil(width / multiple) * multiple

    # The published 1.5x keeps the 24 channels of 1.0x in front.
    stem = STEM if alpha == 1.5 else rounded(STEM * alpha, groups)
    # A unit's bottleneck has a quarter of its channels, and these fall into groups.
    return stem, *(rounded(CHANNELS[groups] * factor * alpha, 4 * groups) for factor in (1, 2, 4))


@register
class ShuffleNetV1Unit(Composite):
    """1x1 grouped - shuffle - 3x3 depthwise - 1x1 grouped, with a shortcut (paper, figures 2b and 2c).

    Args:
      filters: channels of the output; the bottleneck has a quarter.
      groups: of the two 1x1 convolutions.
      strides: 1, or 2 with the concatenated shortcut.
      group_first: whether the first 1x1 is grouped too (not in the first unit of stage 2, whose input is thin).
      shuffle: False for the ablation without channel shuffle (paper, table 3).
      wiring: a name or a Wiring.

    Raises:
      UserError: channels that do not fall into groups, or that do not fit the input.
    """

    def __init__(
        self,
        filters: int,
        groups: int = 3,
        strides: int = 1,
        group_first: bool = True,
        shuffle: bool = True,
        wiring: str | Wiring | Mapping[str, Any] = "tensorpack",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if filters % (4 * groups):
            raise UserError(
                f"A quarter of {filters} channels does not fall into {groups} groups: give a multiple of {4 * groups}."
            )
        self.filters, self.groups, self.strides, self.group_first = filters, groups, strides, group_first
        self.shuffle, self.wiring = shuffle, Wiring.of(wiring)

    def build(self, input_shape):
        c = input_shape[-1]
        added = self.strides == 1
        if (c != self.filters) if added else (c >= self.filters):
            raise UserError(f"{self.name} of stride {self.strides} cannot make {self.filters} channels of {c}.")
        common = {"dtype": self.dtype_policy}
        padding = self.wiring.padding
        bottleneck = self.filters // 4
        groups = self.groups if self.group_first else 1
        self.conv1 = ConvBNReLU(bottleneck, groups=groups, name=f"{self.name}.conv1", **common)
        mixes = self.shuffle and self.groups > 1
        order = self.wiring.shuffle_order
        self.mix = ChannelShuffle(self.groups, order, name=f"{self.name}.shuffle", **common) if mixes else None
        self.dconv = DepthwiseConvBN(strides=self.strides, padding=padding, name=f"{self.name}.dconv", **common)
        made = self.filters if added else self.filters - c
        self.conv2 = GroupedConvBN(made, groups=self.groups, name=f"{self.name}.conv2", **common)
        self.relu = tf.keras.layers.Activation("relu", name=f"{self.name}.relu", **common)
        if added:
            self.add = tf.keras.layers.Add(name=f"{self.name}.add", **common)
        else:
            explicit = padding == "symmetric"
            self.pad = tf.keras.layers.ZeroPadding2D(1, name=f"{self.name}.pad", **common) if explicit else None
            self.pool = tf.keras.layers.AveragePooling2D(
                3, 2, "valid" if explicit else "same", name=f"{self.name}.pool", **common
            )
            self.concat = tf.keras.layers.Concatenate(name=f"{self.name}.concat", **common)
        self.built = True

    def call(self, inputs):
        x = self.conv1(inputs)  # (N, H, W, C/4)
        if self.mix and self.wiring.shuffle_before_depthwise:
            x = self.mix(x)
        x = self.dconv(x)
        if self.mix and not self.wiring.shuffle_before_depthwise:
            x = self.mix(x)
        x = self.conv2(x)
        if self.strides == 1:
            return self.relu(self.add([inputs, x]))
        shortcut = self.pool(self.pad(inputs) if self.pad else inputs)
        # The pooled input is never negative, so the ReLU of the paper's figure touches the other half only.
        return self.concat([shortcut, self.relu(x)])

    def get_config(self):
        keys = ("filters", "groups", "strides", "group_first", "shuffle")
        config = {**{key: getattr(self, key) for key in keys}, "wiring": self.wiring.to_config()}
        return {**super().get_config(), **config}


@register
class ShuffleNetV1(ImageClassifier):
    """ShuffleNet V1 (paper, table 1), from normalised images to class probabilities.

    Args:
      alpha: width, as a multiple of 1.0x; the paper's are 0.25, 0.5 and 1.0, megvii's also 1.5 and 2.0.
      groups: 1, 2, 3, 4 or 8.
      shuffle: False for the ablation without channel shuffle (paper, table 3).
      Others: see ImageClassifier.

    Raises:
      UserError: an argument out of range.
    """

    def __init__(
        self,
        input_shape: Sequence[int | None] = (224, 224, 3),
        alpha: float = 1.0,
        groups: int = 3,
        shuffle: bool = True,
        include_top: bool = True,
        weights: str | os.PathLike | None = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: str | None = "softmax",
        wiring: str | Wiring | Mapping[str, Any] | None = None,
        labels: Sequence[str] | None = None,
        preprocessing: Preprocessing | Mapping[str, Any] | str | None = None,
        name: str | None = None,
    ):
        stem, *stages = channels(alpha, groups)

        def trunk(images, wiring):
            x = ConvBNReLU(stem, 3, 2, padding=wiring.padding, name="conv1")(images)
            maps = {4: max_pool(x, wiring.padding)}
            for i, (filters, repeats) in enumerate(zip(stages, REPEATS, strict=True)):
                x = maps[4 << i]
                for block in range(repeats):
                    first = block == 0
                    unit = ShuffleNetV1Unit(
                        filters,
                        groups,
                        strides=2 if first else 1,
                        group_first=i > 0 or not first,
                        shuffle=shuffle,
                        wiring=wiring,
                        name=f"stage{i + 2}.block{block}",
                    )
                    x = unit(x)
                maps[8 << i] = x
            return maps

        super().__init__(
            trunk,
            input_shape=input_shape,
            include_top=include_top,
            weights=weights,
            pooling=pooling,
            classes=classes,
            classifier_activation=classifier_activation,
            wiring=wiring,
            labels=labels,
            preprocessing=preprocessing,
            name=name,
            network=f"shufflenet_v1_{alpha}x_g{groups}{'' if shuffle else '_noshuffle'}",
            config={"alpha": alpha, "groups": groups, "shuffle": shuffle},
        )
