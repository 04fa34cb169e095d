"""The large ShuffleNets of V2's appendix (table 7): V1-50, V2-50, and V2-164 with squeeze-and-excitation and residuals.

layer    output    V1-50, g = 3    V2-50       SE-V2-164
image    224x224
conv1    112x112   64              64          64, 64, 128     3x3, the first with stride 2
pool1     56x56
stage1    56x56    360 x 3         244 x 3     340 x 10        stride 1
stage2    28x28    720 x 4         488 x 4     680 x 10
stage3    14x14    1440 x 6        976 x 6     1360 x 23
stage4     7x7     2880 x 3        1952 x 3    2720 x 10
conv5      7x7                     2048        2048
gap
linear
"""

import dataclasses

from shufflenet_tf.errors import UserError
from shufflenet_tf.models import v1
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.models.layers import ConvBNReLU, max_pool, register
from shufflenet_tf.models.units import Branch, ShufflenetStage


@dataclasses.dataclass(frozen=True)
class Plan:
    """A column of the table.

    Attributes:
      stem: filters of the first convolutions.
      stages: channels of stages 1-4.
      repeats: number of units in each stage.
      last: filters of conv5; 0: none.
      groups: V1: number of groups of the 1x1 convolutions; 0: it is a V2.
      branch: V2: structure of the units' main branch; None: the paper's.
    """

    stem: tuple[int, ...]
    stages: tuple[int, ...]
    repeats: tuple[int, ...]
    last: int = 0
    groups: int = 0
    branch: Branch | None = None


PLANS = {
    # The paper states a bottleneck of a quarter, which gives 1.15G; half gives its 2.3G.
    "shufflenet_v1_50": Plan((64,), (360, 720, 1440, 2880), (3, 4, 6, 3), groups=3),
    "shufflenet_v2_50": Plan((64,), (244, 488, 976, 1952), (3, 4, 6, 3), last=2048),
    "shufflenet_v2_164_se": Plan(
        (64, 64, 128), (340, 680, 1360, 2720), (10, 10, 23, 10), last=2048, branch=Branch(residual=True, excite_unit=True)
    ),
}
BOTTLENECK = 2


@register
class ShuffleNetLarge(ImageClassifier):
    """A large ShuffleNet, from normalised images to class probabilities.

    Args:
      plan: a name from `PLANS`.
      Others: see ImageClassifier.

    Raises:
      UserError: an argument out of range.
    """

    def __init__(self, plan: str = "shufflenet_v2_50", **kwargs):
        if plan not in PLANS:
            raise UserError(f"There is no large ShuffleNet {plan!r}: use {', '.join(PLANS)}.")
        chosen = PLANS[plan]

        def trunk(images, wiring):
            x = images
            for i, filters in enumerate(chosen.stem):
                name = f"conv1.{i + 1}" if i else "conv1"
                x = ConvBNReLU(filters, 3, 1 if i else 2, padding=wiring.padding, name=name)(x)
            x, maps = max_pool(x, wiring.padding), {}
            for i, (filters, repeats) in enumerate(zip(chosen.stages, chosen.repeats, strict=True)):
                name, strides = f"stage{i + 1}", 2 if i else 1
                if chosen.groups:
                    given = {"groups": chosen.groups, "bottleneck": BOTTLENECK, "wiring": wiring}
                    x = v1.stage(x, name, filters, repeats, group_first=i > 0, strides=strides, **given)
                else:
                    x = ShufflenetStage(filters, repeats, wiring, [chosen.branch] * repeats, strides, name=name).inline(x)
                maps[4 << i] = x
            return {**maps, "features": ConvBNReLU(chosen.last, name="conv5")(x)} if chosen.last else maps

        super().__init__(trunk, network=plan, config={"plan": plan}, **kwargs)
