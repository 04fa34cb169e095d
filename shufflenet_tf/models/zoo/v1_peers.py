"""The networks of ShuffleNet V1's table 4: VGG, ResNet and ResNeXt units in place of ShuffleNet's, at equal cost.

As in table 1 of the paper, they have conv1, pool1, stages 2-4 of 4, 8 and 4 units, and a classifier. The paper gives only the
channels of stage 4 at 38 MFLOPs (50, 192, 192). It describes the units as two 3x3 with batch normalization (VGG), bottlenecks
of a quarter (ResNet), and bottlenecks of half in 16 groups (ResNeXt). Here, channels double from stage to stage. The 16 groups
need multiples of 32; those nearest to the paper's cost were chosen.
The paper's Xception-like network is ShuffleNet V1 with one group, which has nothing to shuffle.
"""

import dataclasses
import functools
from collections.abc import Mapping

import tensorflow as tf

from shufflenet_tf.errors import UserError
from shufflenet_tf.models import v1
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.models.layers import Composite, ConvBNReLU, max_pool, register


@dataclasses.dataclass(frozen=True)
class Structure:
    """A kind of unit.

    Attributes:
      bottleneck: ratio of the unit's channels to those of the 3x3; 0: two 3x3, without a shortcut.
      groups: number of groups of the 3x3.
      channels: channels of stages 2, 3 and 4 by width: 1.0x is for 140 MFLOPs, 0.5x for 38 and 0.25x for 13.
    """

    bottleneck: int
    groups: int
    channels: Mapping[float, tuple[int, int, int]]


STRUCTURES = {
    "vgg": Structure(0, 1, {0.5: (12, 25, 50), 1.0: (25, 50, 100)}),
    "resnet": Structure(4, 1, {0.25: (24, 48, 96), 0.5: (48, 96, 192), 1.0: (96, 192, 384)}),
    "resnext": Structure(2, 16, {0.25: (32, 32, 128), 0.5: (32, 96, 192), 1.0: (64, 192, 384)}),
}


@register
class PlainUnit(Composite):
    """A unit of VGG, ResNet or ResNeXt.

    Args:
      filters: channels of the output.
      strides: 1 or 2.
      bottleneck, groups: see Structure.
    """

    def __init__(self, filters: int, strides: int = 1, bottleneck: int = 0, groups: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.strides, self.bottleneck, self.groups = filters, strides, bottleneck, groups

    def build(self, input_shape):
        common, filters, strides = {"dtype": self.dtype_policy}, self.filters, self.strides

        def conv(name, channels, *args, **kwargs):
            return ConvBNReLU(channels, *args, name=f"{self.name}.{name}", **kwargs, **common)

        self.shortcut = self.add = None
        if not self.bottleneck:
            self.body = [conv("conv1", filters, 3, strides), conv("conv2", filters, 3)]
        else:
            middle = filters // self.bottleneck
            self.body = [
                conv("conv1", middle),
                conv("conv2", middle, 3, strides, groups=self.groups),
                conv("conv3", filters, activation=None),
            ]
            if strides > 1 or input_shape[-1] != filters:
                self.shortcut = conv("shortcut", filters, 1, strides, activation=None)
            self.add = tf.keras.layers.Add(name=f"{self.name}.add", **common)
            self.relu = tf.keras.layers.Activation("relu", name=f"{self.name}.relu", **common)
        self.built = True

    def call(self, inputs):
        x = inputs
        for layer in self.body:
            x = layer(x)
        if self.add is None:
            return x
        return self.relu(self.add([self.shortcut(inputs) if self.shortcut else inputs, x]))

    def get_config(self):
        keys = ("filters", "strides", "bottleneck", "groups")
        return {**super().get_config(), **{key: getattr(self, key) for key in keys}}


@register
class V1Peer(ImageClassifier):
    """A network of V1's table 4, from normalised images to class probabilities.

    Args:
      structure: "vgg", "resnet" or "resnext".
      alpha: width: 1.0, 0.5 or, except for VGG, 0.25.
      Others: see ImageClassifier.

    Raises:
      UserError: an argument out of range.
    """

    def __init__(self, structure: str = "resnet", alpha: float = 1.0, **kwargs):
        if structure not in STRUCTURES or alpha not in STRUCTURES[structure].channels:
            raise UserError(f"There is no {structure!r}-like network of {alpha}x: use {', '.join(STRUCTURES)}, and 0.5 or 1.0.")
        kind = STRUCTURES[structure]

        def trunk(images, wiring):
            x = ConvBNReLU(round(v1.STEM * alpha), 3, 2, name="conv1")(images)
            maps = {4: max_pool(x, "same")}
            unit = functools.partial(PlainUnit, bottleneck=kind.bottleneck, groups=kind.groups)
            for i, (filters, repeats) in enumerate(zip(kind.channels[alpha], v1.REPEATS, strict=True)):
                x = maps[4 << i]
                for j in range(repeats):
                    x = unit(filters, 1 if j else 2, name=f"stage{i + 2}.block{j}")(x)
                maps[8 << i] = x
            return maps

        config = {"structure": structure, "alpha": alpha}
        super().__init__(trunk, network=f"{structure}_like_{alpha}x", config=config, **kwargs)
