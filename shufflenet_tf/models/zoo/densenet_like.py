"""DenseNet-like, the network in ShuffleNet V2's table 8 (Huang et al., "Densely Connected Convolutional Networks", CVPR 2017).

V2's paper replaces the units of its table 5 by dense units, with as many channels as each complexity needs; it doesn't say
how many. Here, the network has conv1 and pool1 of table 5, stages of 4, 8 and 4 dense units (1x1 to four times the growth,
3x3 to the growth, concatenated), transitions between them that halve channels and size, and the growth that fits.
"""

import tensorflow as tf

from shufflenet_tf.errors import UserError
from shufflenet_tf.models import v2
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.models.layers import Composite, ConvBNReLU, max_pool, register

# Growth by the width of the compared ShuffleNet V2: 42, 142, 295 and 519 MFLOPs.
GROWTH = {0.5: 11, 1.0: 22, 1.5: 33, 2.0: 44}


@register
class DenseUnit(Composite):
    """1x1 to four times the growth, 3x3 to the growth, concatenated with the input.

    Args:
      growth: number of channels that the unit adds.
    """

    def __init__(self, growth: int, **kwargs):
        super().__init__(**kwargs)
        self.growth = growth

    def build(self, input_shape):
        common = {"dtype": self.dtype_policy}
        self.conv1 = ConvBNReLU(4 * self.growth, name=f"{self.name}.conv1", **common)
        self.conv2 = ConvBNReLU(self.growth, 3, name=f"{self.name}.conv2", **common)
        self.concat = tf.keras.layers.Concatenate(name=f"{self.name}.concat", **common)
        self.built = True

    def call(self, inputs):
        return self.concat([inputs, self.conv2(self.conv1(inputs))])

    def get_config(self):
        return {**super().get_config(), "growth": self.growth}


@register
class DenseNetLike(ImageClassifier):
    """DenseNet-like, from normalised images to class probabilities.

    Args:
      alpha: width of the ShuffleNet V2 with as many multiply-adds: 0.5, 1.0, 1.5 or 2.0.
      Others: see ImageClassifier.

    Raises:
      UserError: an argument out of range.
    """

    def __init__(self, alpha: float = 1.0, **kwargs):
        if alpha not in GROWTH:
            raise UserError(f"There is no DenseNet-like network of {alpha}x: use {', '.join(map(str, GROWTH))}.")

        def trunk(images, wiring):
            x = ConvBNReLU(v2.STEM, 3, 2, name="conv1")(images)
            x, maps = max_pool(x, "same"), {}
            for i, repeats in enumerate(v2.REPEATS):
                maps[4 << i] = x
                name = f"stage{i + 2}"
                if i:
                    x = ConvBNReLU(x.shape[-1] // 2, name=f"{name}.conv0")(x)
                x = tf.keras.layers.AveragePooling2D(2, 2, "same", name=f"{name}.pool")(x)
                for j in range(repeats):
                    x = DenseUnit(GROWTH[alpha], name=f"{name}.block{j}")(x)
            return {**maps, 32: x}

        super().__init__(trunk, network=f"densenet_like_{alpha}x", config={"alpha": alpha}, **kwargs)
