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
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.models.layers import (
    ChannelShuffle,
    Composite,
    ConvBNReLU,
    DepthwiseConvBN,
    GroupedConvBN,
    SqueezeExcite,
    max_pool,
    register,
)
from shufflenet_tf.weights.published import Checkpoint
from shufflenet_tf.wiring import Wiring

CHANNELS = {
    1: 144,
    2: 200,
    3: 240,
    4: 272,
    8: 384,
}  # paper, table 1: stage 2 by groups; stages 3 and 4: twice, four times
WIDTHS = (0.25, 0.5, 1.0, 1.5, 2.0)  # the published ones
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

    # The published 1.5x keeps the 24 channels of 1.0x in its first convolution.
    stem = STEM if alpha == 1.5 else rounded(STEM * alpha, groups)
    # A unit's bottleneck has a quarter of its channels, and they must be divisible into groups.
    return stem, *(rounded(CHANNELS[groups] * factor * alpha, 4 * groups) for factor in (1, 2, 4))


@register
class ShuffleNetV1Unit(Composite):
    """1x1 grouped - shuffle - 3x3 depthwise - 1x1 grouped, with a shortcut (paper, figures 2b and 2c).

    Args:
      filters: channels of the output.
      groups: number of groups of the two 1x1 convolutions.
      strides: 1, or 2 with the concatenated shortcut.
      group_first: whether the first 1x1 is grouped too (not in the first unit of stage 2, whose input has few channels).
      shuffle: False for the ablation without channel shuffle (paper, table 3).
      wiring: a name or a Wiring.
      bottleneck: ratio of the output's channels to those of the depthwise convolution.
      reduction: ratio of the SqueezeExcite at the branch's end (paper, table 5: SE); 0: none.
      project: whether the shortcut of a unit of stride 1 is a 1x1 convolution, which sets the number of channels.

    Raises:
      UserError: the channels can't be divided into groups, or don't fit the input.
    """

    def __init__(
        self,
        filters: int,
        groups: int = 3,
        strides: int = 1,
        group_first: bool = True,
        shuffle: bool = True,
        wiring: str | Wiring | Mapping[str, Any] = "tensorpack",
        bottleneck: int = 4,
        reduction: int = 0,
        project: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if filters % (bottleneck * groups):
            raise UserError(
                f"{filters} channels, divided by {bottleneck}, can't be split into {groups} groups: "
                f"give a multiple of {bottleneck * groups}."
            )
        self.bottleneck, self.reduction, self.project = bottleneck, reduction, project
        self.filters, self.groups, self.strides, self.group_first = filters, groups, strides, group_first
        self.shuffle, self.wiring = shuffle, Wiring.of(wiring)

    def build(self, input_shape):
        c = input_shape[-1]
        added = self.strides == 1
        if (c != self.filters and not self.project) if added else (c >= self.filters):
            raise UserError(
                f"{self.name} can't turn {c} channels into {self.filters}: give as many at stride 1, and more at stride 2."
            )
        common = {"dtype": self.dtype_policy}
        padding = self.wiring.padding
        groups = self.groups if self.group_first else 1
        self.conv1 = ConvBNReLU(self.filters // self.bottleneck, groups=groups, name=f"{self.name}.conv1", **common)
        mixes = self.shuffle and self.groups > 1
        order = self.wiring.shuffle_order
        self.mix = ChannelShuffle(self.groups, order, name=f"{self.name}.shuffle", **common) if mixes else None
        self.dconv = DepthwiseConvBN(strides=self.strides, padding=padding, name=f"{self.name}.dconv", **common)
        channels_of_branch = self.filters if added else self.filters - c
        self.conv2 = GroupedConvBN(channels_of_branch, groups=self.groups, name=f"{self.name}.conv2", **common)
        self.excite = SqueezeExcite(self.reduction, name=f"{self.name}.se", **common) if self.reduction else None
        self.relu = tf.keras.layers.Activation("relu", name=f"{self.name}.relu", **common)
        if added:
            projection = ConvBNReLU(self.filters, activation=None, name=f"{self.name}.shortcut", **common)
            self.shortcut = [projection] if self.project else []
            self.join = tf.keras.layers.Add(name=f"{self.name}.add", **common)
        else:
            explicit = padding == "symmetric"
            pad = tf.keras.layers.ZeroPadding2D(1, name=f"{self.name}.pad", **common)
            pool = tf.keras.layers.AveragePooling2D(3, 2, "valid" if explicit else "same", name=f"{self.name}.pool", **common)
            self.shortcut = [pad, pool] if explicit else [pool]
            self.join = tf.keras.layers.Concatenate(name=f"{self.name}.concat", **common)
        self.built = True

    def call(self, inputs):
        x = self.conv1(inputs)  # (N, H, W, C/4)
        if self.mix and self.wiring.shuffle_before_depthwise:
            x = self.mix(x)
        x = self.dconv(x)
        if self.mix and not self.wiring.shuffle_before_depthwise:
            x = self.mix(x)
        x = self.conv2(x)
        x = self.excite(x) if self.excite else x
        shortcut = inputs
        for layer in self.shortcut:
            shortcut = layer(shortcut)
        if self.strides == 1:
            return self.relu(self.join([shortcut, x]))
        # The pooled input is never negative, so the ReLU of the paper's figure changes only the other half.
        return self.join([shortcut, self.relu(x)])

    def get_config(self):
        keys = ("filters", "groups", "strides", "group_first", "shuffle", "bottleneck", "reduction", "project")
        config = {**{key: getattr(self, key) for key in keys}, "wiring": self.wiring.to_config()}
        return {**super().get_config(), **config}


def stage(x, name: str, filters: int, repeats: int, group_first: bool = True, strides: int = 2, **given):
    """Applies `repeats` units to symbolic `x`; the first has `strides`. `given`: other arguments of ShuffleNetV1Unit."""
    for i in range(repeats):
        unit = {"group_first": group_first or i > 0, "strides": 1 if i else strides, "name": f"{name}.block{i}"}
        unit["project"] = i == 0 and strides == 1
        x = ShuffleNetV1Unit(filters, **unit, **given)(x)
    return x


@register
class ShuffleNetV1(ImageClassifier):
    """ShuffleNet V1 (paper, table 1), from normalised images to class probabilities.

    Args:
      alpha: width, as a multiple of 1.0x; the paper's are 0.25, 0.5 and 1.0, megvii's also 1.5 and 2.0; None: that of
        `weights`, else 1.0.
      groups: 1, 2, 3, 4 or 8; None: those of `weights`, else 3.
      shuffle: False for the ablation without channel shuffle (paper, table 3).
      reduction: ratio of squeeze-and-excitation in all units (paper, table 5: 16 gives the 527M of 2.0x); 0: none.
      repeats: number of units in stages 2, 3 and 4; None: the paper's 4, 8, 4.
      Others: see ImageClassifier.

    Raises:
      UserError: an argument out of range.
    """

    def __init__(
        self,
        input_shape: Sequence[int | None] = (224, 224, 3),
        alpha: float | None = None,
        groups: int | None = None,
        shuffle: bool = True,
        reduction: int = 0,
        repeats: Sequence[int] | None = None,
        weights: str | os.PathLike | Checkpoint | None = None,
        **kwargs,
    ):
        weights, (alpha, groups) = self.fill(weights, alpha=alpha, groups=groups)
        alpha, groups = 1.0 if alpha is None else alpha, 3 if groups is None else groups
        stem, *stages = channels(alpha, groups)

        def trunk(images, wiring):
            x = ConvBNReLU(stem, 3, 2, padding=wiring.padding, name="conv1")(images)
            maps = {4: max_pool(x, wiring.padding)}
            given = {"groups": groups, "shuffle": shuffle, "reduction": reduction, "wiring": wiring}
            for i, (filters, count) in enumerate(zip(stages, repeats or REPEATS, strict=True)):
                maps[8 << i] = stage(maps[4 << i], f"stage{i + 2}", filters, count, group_first=i > 0, **given)
            return maps

        suffix = f"{'' if shuffle else '_noshuffle'}{'_se' if reduction else ''}{'_shallow' if repeats else ''}"
        config = {"alpha": alpha, "groups": groups, "shuffle": shuffle, "reduction": reduction}
        super().__init__(
            trunk,
            input_shape=input_shape,
            network=f"shufflenet_v1_{alpha}x_g{groups}{suffix}",
            config={**config, "repeats": list(repeats) if repeats else None},
            weights=weights,
            **kwargs,
        )

    @classmethod
    def arguments_of(cls, checkpoint: Checkpoint) -> dict[str, Any] | None:
        """Returns width and groups of a checkpoint's network; None: it is not a ShuffleNet V1 of a known width."""
        if checkpoint.family != "v1" or checkpoint.groups not in CHANNELS:
            return None
        widths = [width for width in WIDTHS if channels(width, checkpoint.groups) == checkpoint.channels]
        widths += [checkpoint.config["alpha"]] if "alpha" in (checkpoint.config or {}) else []
        return {"alpha": widths[0], "groups": checkpoint.groups} if widths else None
