"""MobileNet V3 (Howard et al., "Searching for MobileNetV3", ICCV 2019, tables 1 and 2), and its minimalistic form.

Keras has it too, but its two generations name the layers differently, and its squeeze-and-excitation is a graph of many small
operators; this network has the same parameters. The minimalistic form has no squeeze-and-excitation, no hard swish and no 5x5
kernels.
"""

import tensorflow as tf

from shufflenet_tf.errors import UserError
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.models.layers import INITIALIZER, ConvBNReLU, activation, register
from shufflenet_tf.models.zoo.inverted_residual import InvertedResidual, divisible

STEM = 16
# For each block: expansion, channels, kernel, stride, squeeze-and-excitation, hard swish.
BLOCKS = {
    "large": (
        (1, 16, 3, 1, False, False),
        (4, 24, 3, 2, False, False),
        (3, 24, 3, 1, False, False),
        (3, 40, 5, 2, True, False),
        (3, 40, 5, 1, True, False),
        (3, 40, 5, 1, True, False),
        (6, 80, 3, 2, False, True),
        (2.5, 80, 3, 1, False, True),
        (2.3, 80, 3, 1, False, True),
        (2.3, 80, 3, 1, False, True),
        (6, 112, 3, 1, True, True),
        (6, 112, 3, 1, True, True),
        (6, 160, 5, 2, True, True),
        (6, 160, 5, 1, True, True),
        (6, 160, 5, 1, True, True),
    ),
    "small": (
        (1, 16, 3, 2, True, False),
        (72 / 16, 24, 3, 2, False, False),
        (88 / 24, 24, 3, 1, False, False),
        (4, 40, 5, 2, True, True),
        (6, 40, 5, 1, True, True),
        (6, 40, 5, 1, True, True),
        (3, 48, 5, 1, True, True),
        (3, 48, 5, 1, True, True),
        (6, 96, 5, 2, True, True),
        (6, 96, 5, 1, True, True),
        (6, 96, 5, 1, True, True),
    ),
}
LAST = {"large": 1280, "small": 1024}


@register
class MobileNetV3(ImageClassifier):
    """MobileNet V3, from normalised images to class probabilities.

    Args:
      size: "large" or "small".
      alpha: width; the published ones are 0.75 and 1.0.
      minimalistic: whether to build the form for hardware that lacks the new operators.
      Others: see ImageClassifier.

    Raises:
      UserError: an argument out of range.
    """

    def __init__(self, size: str = "large", alpha: float = 1.0, minimalistic: bool = False, **kwargs):
        if size not in BLOCKS or alpha <= 0:
            raise UserError(f"MobileNet V3 {size!r} of width {alpha} can't be built: use {' or '.join(BLOCKS)}, and 1.0.")
        kind = "relu" if minimalistic else "hard_swish"

        def trunk(images, wiring):
            x = ConvBNReLU(STEM, 3, 2, activation=kind, name="conv1")(images)
            maps, stride = {}, 2
            for i, (expansion, filters, kernel, strides, excite, swish) in enumerate(BLOCKS[size]):
                if strides == 2:
                    maps[stride], stride = x, 2 * stride
                expanded = divisible(x.shape[-1] * expansion)
                x = InvertedResidual(
                    divisible(filters * alpha),
                    expanded,
                    3 if minimalistic else kernel,
                    strides,
                    kind if swish else "relu",
                    divisible(expanded / 4) if excite and not minimalistic else 0,
                    name=f"block{i}",
                )(x)
            maps[stride] = x
            features = ConvBNReLU(divisible(x.shape[-1] * 6), activation=kind, name="conv2")(x)
            return {**{s: m for s, m in maps.items() if s > 2}, "features": features}

        def head(x):
            last = divisible(LAST[size] * max(alpha, 1))
            x = tf.keras.layers.Dense(last, kernel_initializer=INITIALIZER, name="fc")(x)
            x = activation(kind, name="fc.act")(x)
            return tf.keras.layers.Dropout(0.2, name="dropout")(x)

        config = {"size": size, "alpha": alpha, "minimalistic": minimalistic}
        network = f"mobilenet_v3_{size}_{'minimalistic' if minimalistic else f'{alpha}x'}"
        super().__init__(trunk, network=network, config=config, head=head, **kwargs)
