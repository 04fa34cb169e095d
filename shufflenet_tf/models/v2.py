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

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from shufflenet_tf.errors import UserError
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.models.layers import ConvBNReLU, max_pool, register
from shufflenet_tf.models.units import Branch, ShufflenetStage
from shufflenet_tf.weights.published import Checkpoint

# Paper, table 5: stages 2, 3, 4 and conv5. They are not multiples of one another.
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


@register
class ShuffleNetV2(ImageClassifier):
    """ShuffleNet V2 (paper, table 5), from normalised images to class probabilities.

    Args:
      alpha: width, as a multiple of 1.0x: 0.5, 1.0, 1.5 and 2.0 are the paper's; the channels of other widths are derived from
        1.0x. None: that of `weights`, else 1.0.
      branch: structure of the units' main branch; None: the paper's.
      Others: see ImageClassifier.

    Raises:
      UserError: an argument out of range.
    """

    def __init__(
        self,
        input_shape: Sequence[int | None] = (224, 224, 3),
        alpha: float | None = None,
        branch: Branch | Mapping[str, Any] | None = None,
        weights: str | os.PathLike | Checkpoint | None = None,
        **kwargs,
    ):
        weights, (alpha,) = self.fill(weights, alpha=alpha)
        alpha = 1.0 if alpha is None else alpha
        branch = Branch.of(branch)
        *stages, last = channels(alpha)

        def trunk(images, wiring):
            x = ConvBNReLU(STEM, 3, 2, padding=wiring.padding, name="conv1")(images)
            maps = {4: max_pool(x, wiring.padding)}
            for i, (filters, repeats) in enumerate(zip(stages, REPEATS, strict=True)):
                stage = ShufflenetStage(filters, repeats, wiring, [branch] * repeats, name=f"stage{i + 2}")
                maps[8 << i] = stage.inline(maps[4 << i])
            return {**maps, "features": ConvBNReLU(last, name="conv5")(maps[32])}

        super().__init__(
            trunk,
            input_shape=input_shape,
            network=f"shufflenet_v2_{alpha}x{branch.suffix}",
            config={"alpha": alpha, "branch": dataclasses.asdict(branch)},
            weights=weights,
            **kwargs,
        )

    @classmethod
    def arguments_of(cls, checkpoint: Checkpoint) -> dict[str, Any] | None:
        """Returns the width of a checkpoint's network; None: it is not a ShuffleNet V2 of a known width."""
        if checkpoint.family != "v2":
            return None
        widths = [alpha for alpha in CHANNELS if (STEM, *channels(alpha)[:-1]) == checkpoint.channels]
        widths += [checkpoint.config["alpha"]] if "alpha" in (checkpoint.config or {}) else []
        return {"alpha": widths[0]} if widths else None
