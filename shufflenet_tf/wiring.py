"""The differences between the ShuffleNets of tensorpack, megvii and torchvision, whose published weights share one name."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from shufflenet_tf.errors import UserError

EPSILON = 1e-5  # of batch normalization, the same in all three

_CHOICES = {
    "shuffle_order": ("interleave", "deinterleave"),
    "shuffle_at": ("end", "start"),
    "projection": ("input", "half"),
    "padding": ("same", "symmetric"),
}


@dataclasses.dataclass(frozen=True)
class Wiring:
    """The details in which implementations of one architecture differ; wrong ones load silently and give wrong predictions.

    Attributes:
      shuffle_order: "interleave" (reshape the channels to (g, n), transpose) or "deinterleave" ((n, g), transpose).
      shuffle_at: V2: "end" of every unit, or "start" of every unit of stride 1 (the same permutations, except in
        the last unit of a stage).
      projection: V2: output channels of the stride-2 unit's projection: as many as the unit's "input" has (this gives the
        published 146/299/591 MFLOPs), or "half" of the unit's output.
      padding: at stride 2, also in the max pooling: "same" or "symmetric".
      average_pool_counts_padding: V1: whether zeros beyond the border count in the shortcut's average.
      shuffle_before_depthwise: V1: whether channel shuffle comes before the depthwise convolution (else after it).
      classifier_bias: whether the classifier has a bias.

    Raises:
      UserError: a value is invalid, or pooling counts padding although there is none.
    """

    shuffle_order: str = "deinterleave"
    shuffle_at: str = "end"
    projection: str = "input"
    padding: str = "same"
    average_pool_counts_padding: bool = False
    shuffle_before_depthwise: bool = True
    classifier_bias: bool = True

    def __post_init__(self):
        for field, choices in _CHOICES.items():
            if getattr(self, field) not in choices:
                raise UserError(f"Wiring.{field} is {getattr(self, field)!r}: use {' or '.join(map(repr, choices))}.")
        if self.average_pool_counts_padding != (self.padding == "symmetric"):
            raise UserError(
                "Average pooling counts its padding only if the padding is explicit: "
                "use average_pool_counts_padding=True with padding='symmetric', and False with 'same'."
            )

    @classmethod
    def of(cls, wiring: "str | Wiring | Mapping[str, Any]") -> "Wiring":
        """Returns the wiring of a name ("tensorpack", "megvii", "torchvision") or of a saved configuration."""
        if isinstance(wiring, str):
            if wiring not in WIRINGS:
                raise UserError(f"Wiring {wiring!r} is unknown: use {', '.join(WIRINGS)}.")
            return WIRINGS[wiring]
        return wiring if isinstance(wiring, cls) else cls(**wiring)

    def to_config(self) -> dict[str, Any]:
        """Returns the fields as a plain dict, which `of` reads back."""
        return dataclasses.asdict(self)


WIRINGS = {
    "tensorpack": Wiring(),
    "megvii": Wiring(
        shuffle_at="start",
        padding="symmetric",
        average_pool_counts_padding=True,
        shuffle_before_depthwise=False,
        classifier_bias=False,
    ),
    "torchvision": Wiring(shuffle_order="interleave", projection="half", padding="symmetric", average_pool_counts_padding=True),
}
