"""IGCV3-D (Sun et al., "IGCV3: Interleaved Low-Rank Group Convolutions", BMVC 2018): MobileNet V2 in 2 groups, doubled."""

from shufflenet_tf.errors import UserError
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.models.layers import ConvBNReLU, register
from shufflenet_tf.models.zoo.inverted_residual import InvertedResidual

# For each stage: expansion, channels, blocks, stride of the first block.
STAGES = ((1, 16, 1, 1), (6, 24, 4, 2), (6, 32, 6, 2), (6, 64, 8, 2), (6, 96, 6, 1), (6, 160, 6, 2), (6, 320, 1, 1))
STEM, LAST = 32, 1280


@register
class IGCV3(ImageClassifier):
    """IGCV3-D, from normalised images to class probabilities.

    Args:
      alpha: width; the paper's are 0.7, 1.0 and 1.4.
      Others: see ImageClassifier.

    Raises:
      UserError: an argument out of range.
    """

    def __init__(self, alpha: float = 1.0, **kwargs):
        if alpha <= 0:
            raise UserError(f"alpha={alpha} leaves no channels: give a positive multiple of 1.0x, such as 0.7.")

        def even(channels: int) -> int:
            width = round(channels * alpha)
            return width + width % 2  # for two groups

        def trunk(images, wiring):
            x = ConvBNReLU(even(STEM), 3, 2, activation="relu6", name="conv1")(images)
            maps, stride = {}, 2
            for i, (expansion, filters, blocks, strides) in enumerate(STAGES):
                stride *= strides
                for j in range(blocks):
                    given = {"strides": 1 if j else strides, "name": f"stage{i + 1}.block{j}"}
                    block = InvertedResidual(even(filters), expansion * x.shape[-1], activation="relu6", groups=2, **given)
                    x = maps[stride] = block(x)
            features = ConvBNReLU(max(LAST, even(LAST)), activation="relu6", name="conv2")(x)
            return {**{stride: x for stride, x in maps.items() if stride > 2}, "features": features}

        super().__init__(trunk, network=f"igcv3_d_{alpha}x", config={"alpha": alpha}, **kwargs)
