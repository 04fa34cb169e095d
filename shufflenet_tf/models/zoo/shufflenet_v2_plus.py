"""ShuffleNet V2+ (megvii-model/ShuffleNet-Series, MIT), which no paper describes.

V2 with hard swish, squeeze-and-excitation and kernels from an architecture search, in three widths:

    layer       output     Small  Medium  Large
    image       224x224
    conv1       112x112    16     16      16       3x3, stride 2
    stage1       56x56     36     48      68       4 units, ReLU
    stage2       28x28     104    128     168      4 units, hard swish from here on
    stage3       14x14     208    256     336      8 units, squeeze-and-excitation from here on
    stage4        7x7      416    512     672      4 units
    conv5         7x7      1280
    gap, last_se, fc       1280
    linear
"""

import os
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from shufflenet_tf.errors import UserError
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.models.layers import INITIALIZER, ConvBNReLU, HardSwish, SqueezeExcite, register
from shufflenet_tf.models.units import Branch, ShufflenetStage
from shufflenet_tf.weights.published import Checkpoint
from shufflenet_tf.wiring import Wiring

CHANNELS = {"small": (36, 104, 208, 416), "medium": (48, 128, 256, 512), "large": (68, 168, 336, 672)}
STEM = 16
LAST = 1280
# For each unit: its depthwise kernel in pixels, or "x" for three 3x3 separable convolutions.
STAGES = ((3, 3, "x", 5), (5, 5, 3, 3), (7, 3, 7, 5, 5, 3, 7, 3), (7, 5, "x", 7))


@register
class ShuffleNetV2Plus(ImageClassifier):
    """ShuffleNet V2+, from normalised images to class probabilities.

    Args:
      size: "small", "medium" or "large"; None: that of `weights`, else "small".
      wiring: a name or a Wiring; None: that of `weights`, else megvii's.
      Others: see ImageClassifier.

    Raises:
      UserError: an argument out of range.
    """

    default_wiring = "megvii"

    def __init__(
        self,
        size: str | None = None,
        wiring: str | Wiring | Mapping[str, Any] | None = None,
        weights: str | os.PathLike | Checkpoint | None = None,
        **kwargs,
    ):
        weights, (size,) = self.fill(weights, size=size)
        size = size or "small"
        if size not in CHANNELS:
            raise UserError(f"There is no ShuffleNet V2+ of size {size!r}: use {', '.join(CHANNELS)}.")

        def trunk(images, wiring):
            x = ConvBNReLU(STEM, 3, 2, padding=wiring.padding, activation="hard_swish", name="conv1")(images)
            maps = {}
            for i, (filters, kernels) in enumerate(zip(CHANNELS[size], STAGES, strict=True)):
                branches = [_branch(kernel, i) for kernel in kernels]
                stage = ShufflenetStage(filters, len(kernels), wiring, branches, name=f"stage{i + 1}")
                x = maps[4 << i] = stage.inline(x)
            return {**maps, "features": ConvBNReLU(LAST, activation="hard_swish", name="conv5")(x)}

        network = f"shufflenet_v2_plus_{size}"
        super().__init__(trunk, network=network, config={"size": size}, wiring=wiring, head=_head, weights=weights, **kwargs)

    @classmethod
    def arguments_of(cls, checkpoint: Checkpoint) -> dict[str, Any] | None:
        """Returns the size of a checkpoint's network; None: it is not a ShuffleNet V2+."""
        sizes = [size for size, stages in CHANNELS.items() if (STEM, *stages) == checkpoint.channels]
        return {"size": sizes[0]} if sizes and checkpoint.family == "v2_plus" else None


def _branch(kernel: int | str, stage: int) -> Branch:
    separable = kernel == "x"
    return Branch(
        kernel_size=3 if separable else kernel,
        activation="hard_swish" if stage >= 1 else "relu",
        squeeze_excite=stage >= 2,
        separable=separable,
    )


def _head(x):
    x = tf.keras.layers.Reshape((1, 1, LAST), name="pixel")(x)
    x = SqueezeExcite(name="last_se")(x)
    x = tf.keras.layers.Flatten(name="flat")(x)
    x = tf.keras.layers.Dense(LAST, use_bias=False, kernel_initializer=INITIALIZER, name="fc")(x)
    x = HardSwish(name="fc.act")(x)
    return tf.keras.layers.Dropout(0.2, name="dropout")(x)
