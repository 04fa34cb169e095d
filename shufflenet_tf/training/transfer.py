"""Fine-tuning: trained weights into a network for other classes, and which of its layers go on learning."""

import numpy as np
import tensorflow as tf

from shufflenet_tf.errors import UserError
from shufflenet_tf.models.image_classifier import CLASSIFIER, ImageClassifier
from shufflenet_tf.models.open_set import without_none
from shufflenet_tf.weights import canonical
from shufflenet_tf.weights.published import Checkpoint

FREEZE = ("none", "stage4", "backbone")


def transfer(network: ImageClassifier, checkpoint: Checkpoint) -> bool:
    """Sets the weights of `network` to those of `checkpoint`, with a new classifier where the classes are others.

    A new classifier starts at zero: all classes are equally likely, and the first steps don't shake the trained layers.

    Returns:
      Whether the classifier is new.

    Raises:
      UserError: the checkpoint is another network's; the first tensor that differs is named.
    """
    classes = network.output_shape[-1]
    known = checkpoint.labels is None or network.labels is None or list(checkpoint.labels) == list(network.labels)
    fits = checkpoint.classes == classes and known
    arrays = without_none(checkpoint.arrays)
    if not fits:
        top = f"{CLASSIFIER}/"
        arrays = {name: array for name, array in arrays.items() if not name.startswith(top)}
        variables = canonical.named_variables(network)
        arrays |= {name: np.zeros(v.shape, np.float32) for name, v in variables.items() if name.startswith(top)}
    canonical.assign(network, arrays, checkpoint.path)
    return not fits


def freeze(network: tf.keras.Model, kind: str) -> None:
    """Freezes layers of `network`: their weights and their batch statistics stay as they are.

    Args:
      network: the network.
      kind: "none", "stage4" (all before stage 4, of a network that has one) or "backbone" (all but the classifier).

    Raises:
      UserError: the network has no stage 4.
    """
    if kind == "stage4" and not any(layer.name.startswith(kind) for layer in network.layers):
        raise UserError(f"{network.name} has no stage 4, which --freeze=stage4 is about: use --freeze=backbone or none.")
    trained = {"none": ("",), "stage4": ("stage4", "conv5", "last_se", "fc", CLASSIFIER), "backbone": (CLASSIFIER,)}[kind]
    for layer in network.layers:
        layer.trainable = layer.name.startswith(trained)
