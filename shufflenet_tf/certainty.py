"""How sure a classifier must be: what calibration found, which travels with the model."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from shufflenet_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class Certainty:
    """What is known of the probabilities of a trained model.

    Attributes:
      temperature: by which the logits are divided already, as the classifier's weights are; 1: not calibrated.
      threshold: probability, in 0..1, that the likeliest class of an answer must reach; below it, the answer is "not sure".
        None: every answer counts.
      coverage: share of known photos that was to reach it.
      images: number of validation photos that all this was measured on.
      shrinkage: of the covariance, where the classifier was recomputed from the classes' features; None: it is as trained.

    Raises:
      UserError: a value out of range.
    """

    temperature: float = 1.0
    threshold: float | None = None
    coverage: float | None = None
    images: int = 0
    shrinkage: float | None = None

    def __post_init__(self):
        if not self.temperature > 0:
            raise UserError(f"The temperature {self.temperature} can't be used: give one above 0.")
        for name, value in (("threshold", self.threshold), ("coverage", self.coverage)):
            if value is not None and not 0 <= value <= 1:
                raise UserError(f"The {name} {value} can't be used: give one from 0 to 1.")

    @classmethod
    def of(cls, config: "Certainty | Mapping[str, Any] | None") -> "Certainty | None":
        """Returns the certainty of a saved configuration; None: nothing is known.

        Raises:
          UserError: the configuration has other fields, or values out of range.
        """
        if config is None or isinstance(config, Certainty):
            return config
        try:
            return cls(**config)
        except TypeError:
            raise UserError(f"The certainty {dict(config)} can't be read: load it with the version that saved it.") from None

    def to_config(self) -> dict[str, Any]:
        """Returns the fields as JSON types."""
        return dataclasses.asdict(self)
