"""Probabilities that leave room for photos of none of the classes: open-set recognition with one more logit."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from shufflenet_tf.models.kernels import register
from shufflenet_tf.models.layers import INITIALIZER

NONE = "none"  # first part of the names of all layers that the logit of none of the classes needs
NONE_LOGIT = f"{NONE}.logit"


@register
class KnownSoftmax(tf.keras.layers.Layer):
    """Softmax over the logits of C classes and of none of them, [N, C + 1]; returns the classes' probabilities, [N, C].

    Their sum is below 1; what is missing is the probability that the photo shows none of them.
    """

    def call(self, logits):
        return tf.nn.softmax(logits)[:, :-1]

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] - 1)


def known_probabilities(features, logits, units: int):
    """Returns the symbolic probabilities [N, C] of the classes, beside which the photo may show none of them.

    The logit of none is linear in rectified linear functions of the features, and so can be the length of a vector:
    `training.none_logit` finds its weights. Until then, they are random.

    Args:
      features: symbolic input of the classifier [N, D].
      logits: symbolic logits of the classes [N, C].
      units: number of those functions.
    """
    arguments = {"kernel_initializer": INITIALIZER, "dtype": "float32"}
    x = tf.keras.layers.Dense(units, name=f"{NONE}.distances", **arguments)(features)
    x = tf.keras.layers.Activation("relu", dtype="float32", name=f"{NONE}.relu")(x)
    none = tf.keras.layers.Dense(1, name=NONE_LOGIT, **arguments)(x)
    x = tf.keras.layers.Concatenate(dtype="float32", name=f"{NONE}.join")([logits, none])
    return KnownSoftmax(dtype="float32", name="probabilities")(x)


def without_none(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns weights by canonical name without those that only the logit of none of the classes needs."""
    return {name: array for name, array in arrays.items() if not name.startswith(f"{NONE}/")}


def has_none(network: tf.keras.Model) -> bool:
    """Returns whether a network has a logit of none of the classes."""
    return any(layer.name == NONE_LOGIT for layer in network.layers)
