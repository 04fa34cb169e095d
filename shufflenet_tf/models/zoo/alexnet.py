"""AlexNet (Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks", NIPS 2012).

The original was split between two graphics cards; here, the two halves are two groups. Local response normalization is left
out: later networks showed that it doesn't help, no delegate supports it, and no count changes.
"""

import tensorflow as tf

from shufflenet_tf.errors import UserError
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.models.kernels import GroupedConv2D
from shufflenet_tf.models.layers import INITIALIZER, register

# For each convolution: filters, kernel, groups, and whether a pool follows.
CONVOLUTIONS = ((96, 11, 1, True), (256, 5, 2, True), (384, 3, 1, False), (384, 3, 2, False), (256, 3, 2, True))
HIDDEN = 4096


@register
class AlexNet(ImageClassifier):
    """AlexNet, from normalised images to class probabilities.

    Args:
      Others: see ImageClassifier.

    Raises:
      UserError: an argument out of range.
    """

    min_size = 63  # leaves one pixel after the last pool

    def __init__(self, **kwargs):
        def trunk(images, wiring):
            x = tf.keras.layers.ZeroPadding2D(2, name="conv1.pad")(images)
            maps, stride = {}, 4
            for i, (filters, kernel, groups, pooled) in enumerate(CONVOLUTIONS, 1):
                given = {"kernel_initializer": INITIALIZER, "name": f"conv{i}"}
                given |= {"strides": 1, "padding": "same"} if i > 1 else {"strides": 4, "padding": "valid"}
                conv = GroupedConv2D if groups > 1 else tf.keras.layers.Conv2D
                x = conv(filters, kernel, groups=groups, **given)(x)
                x = maps[stride] = tf.keras.layers.Activation("relu", name=f"conv{i}.act")(x)
                if pooled:
                    stride *= 2
                    x = maps[stride] = tf.keras.layers.MaxPooling2D(3, 2, name=f"pool{i}")(x)
            return maps

        super().__init__(trunk, network="alexnet", config={}, pool=flat, head=two_dense_layers, **kwargs)


def flat() -> tf.keras.layers.Layer:
    """Returns a layer that passes all pixels of the last feature map to dense layers, instead of their mean."""
    return tf.keras.layers.Flatten(name="flat")


def two_dense_layers(x):
    """Applies the two dense layers of AlexNet and VGG, with dropout, to symbolic `x`.

    Raises:
      UserError: the size of `x` is not fixed.
    """
    if x.shape[-1] is None:
        raise UserError("Dense layers on all pixels need a fixed image size: build the network with an input_shape.")
    for i in (1, 2):
        x = tf.keras.layers.Dense(HIDDEN, activation="relu", kernel_initializer=INITIALIZER, name=f"fc{i}")(x)
        x = tf.keras.layers.Dropout(0.5, name=f"fc{i}.dropout")(x)
    return x
