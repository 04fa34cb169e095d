"""Distillation: a trained model's answers to the very images that a network is trained on (Hinton et al. 2015)."""

import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from shufflenet_tf import loading
from shufflenet_tf.errors import UserError
from shufflenet_tf.preprocessing import Preprocessing
from shufflenet_tf.tflite_classifier import LiteClassifier

_SMALLEST = 1e-7  # probability; what saturates in a softmax has no logarithm


class Teacher:
    """A model that tells a network what it sees on each training image, after all augmentation.

    Args:
      path: what `shufflenet_tf.load` loads, but for .tflite files.
      labels: of the network's classes, in order; the teacher must know them all.
      preprocessing: of the network's input.
      temperature: by which both sides' logits are divided, so that small probabilities count more.
      weight: of the teacher's part of a labelled image's loss; the label has the rest.

    Raises:
      UserError: the model can't be loaded, or doesn't know a class.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        labels: Sequence[str],
        preprocessing: Preprocessing,
        temperature: float = 2.0,
        weight: float = 0.5,
    ):
        bundle = loading.load(path)
        if isinstance(bundle.model, LiteClassifier):
            raise UserError(f"{path} is a .tflite file, which can't teach: give the model.keras that it came from.")
        missing = sorted(set(labels) - set(bundle.labels or ()))
        if missing:
            raise UserError(
                f"The teacher {path} doesn't know {len(missing)} of {len(labels)} classes, such as {missing[0]}: "
                "give one that was trained on these classes."
            )
        self._model, self._size, self._theirs, self._ours = bundle.model, bundle.size, bundle.preprocessing, preprocessing
        self._order = [bundle.labels.index(label) for label in labels]
        self._temperature, self._weight = temperature, weight

    def probabilities(self, images: tf.Tensor) -> tf.Tensor:
        """Returns softened probabilities [N, C] of the network's input [N, H, W, 3], in the order of its labels."""
        factor, offset = self._ours.affine()
        rgb = images[..., ::-1] if self._ours.channel_order == "bgr" else images
        pixels = tf.image.resize((rgb - offset) / factor, self._size)
        answers = self._model(self._theirs.normalize(pixels), training=False)
        logits = tf.math.log(tf.maximum(tf.gather(answers, self._order, axis=-1), _SMALLEST))
        return tf.stop_gradient(tf.nn.softmax(logits / self._temperature))

    def blend(self, losses: tf.Tensor, labels: tf.Tensor, logits: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
        """Returns the loss of each image [N]: its own by the label, and the divergence from the teacher's answer.

        Args:
          losses: by the labels [N].
          labels: [N, C]; zeros for an image without a label, whose loss is the divergence alone.
          logits: the network's [N, C].
          images: the network's input.
        """
        target = self.probabilities(images)
        soft = tf.nn.softmax_cross_entropy_with_logits(target, logits / self._temperature)
        entropy = -tf.reduce_sum(target * tf.math.log(tf.maximum(target, _SMALLEST)), -1)
        # Squared, as gradients of softened logits are smaller by as much.
        divergence = (soft - entropy) * np.float32(self._temperature**2)
        known = tf.reduce_sum(labels, -1)
        weight = 1 - known * (1 - self._weight)
        return weight * divergence + (1 - weight) * losses
