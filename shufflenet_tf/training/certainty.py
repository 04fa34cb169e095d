"""Makes a trained network's probabilities mean what they say, and finds below which of them it is not sure.

Both are measured on validation photos, which the network was neither trained nor tested on.
"""

import dataclasses
import os

import numpy as np
import tensorflow as tf

from shufflenet_tf.certainty import Certainty
from shufflenet_tf.data import Source, Split
from shufflenet_tf.data.pipeline import numbered_evaluation_images
from shufflenet_tf.evaluation.calibration import SMALLEST, Reliability, at_temperature, fit_temperature, reliability
from shufflenet_tf.evaluation.rejection import Refusal, choose_threshold
from shufflenet_tf.evaluation.reliability_picture import draw
from shufflenet_tf.models.image_classifier import CLASSIFIER, ImageClassifier
from shufflenet_tf.models.open_set import NONE_LOGIT, has_none
from shufflenet_tf.training import none_logit
from shufflenet_tf.training.discriminant import body_of, refit

FEWEST = 20  # validation photos: of fewer, 5 % are less than one
_FEWEST_UNKNOWN = 10


def calibrate(network: ImageClassifier, source: Source, coverage: float, batch_size: int = 64) -> ImageClassifier:
    """Divides the logits of `network` by a temperature, chooses the threshold of sure answers, and leaves both in it.

    First, the classifier is recomputed where that is better, unless it just was; see `discriminant`. A recomputed one gets a
    logit of none of the classes; see `none_logit`. Weights are divided, so that all that is made of the network is calibrated.

    Args:
      network: trained.
      source: whose validation photos are used, and every second photo of none of the classes, where there are any.
      coverage: share of the validation photos that are to get a sure answer; 1: all, and there is no threshold.
      batch_size: of the evaluation.

    Returns:
      The network, or a copy with that logit. Its `certainty` says what was found; None: there are fewer than 20 validation
      photos, and the network stays as it is.
    """
    known, network.certainty = getattr(network, "certainty", None), None
    if not is_measurable(source):
        return network
    body = body_of(network)
    shrinkage = known.shrinkage if known and known.shrinkage else refit(network, source, batch_size, body)
    if shrinkage:
        network = none_logit.add(network, source, batch_size, body)
    probabilities, targets = predict(network, source.validation, batch_size)
    temperature = fit_temperature(_with_none(network, probabilities), targets)
    divide_logits(network, temperature)
    threshold = None
    if coverage < 1:
        unknown, _ = unknown_probabilities(network, source, batch_size)
        scores = _at_temperature(network, probabilities, temperature).max(axis=1)
        threshold = choose_threshold(scores, coverage, None if unknown is None else unknown.max(axis=1))
    network.certainty = Certainty(temperature, threshold, coverage if coverage < 1 else None, len(targets), shrinkage)
    return network


def _with_none(network: ImageClassifier, probabilities: np.ndarray) -> np.ndarray:
    """Adds the probability of none of the classes, where `network` has one, as the last column."""
    if not has_none(network):
        return probabilities
    return np.concatenate([probabilities, np.maximum(1 - probabilities.sum(axis=1, keepdims=True), SMALLEST)], axis=1)


def _at_temperature(network: ImageClassifier, probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Returns the probabilities of the classes [N, C] that the same logits give when they are divided by a temperature."""
    return at_temperature(_with_none(network, probabilities), temperature)[:, : probabilities.shape[1]]


def is_measurable(source: Source) -> bool:
    """Returns whether there are enough validation photos to decide by."""
    return source.validation is not None and source.validation.size >= FEWEST


def divide_logits(network: ImageClassifier, temperature: float) -> None:
    """Divides the weights of the classifier, and so the logits, by a temperature."""
    for name in (CLASSIFIER, NONE_LOGIT) if has_none(network) else (CLASSIFIER,):
        for variable in network.get_layer(name).trainable_variables:
            variable.assign(variable / temperature)


def predict(network: ImageClassifier, split: Split, batch_size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Returns probabilities, float32 [N, C], and class indices, int64 [N], of all images of a split in file order."""
    return predict_numbered(network, split, batch_size)[:2]


def predict_numbered(network: ImageClassifier, split: Split, batch_size: int = 64) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the same, and the images' positions in file order, int64 [N]; those of photos that have vanished are missing."""
    pixels = tf.TensorSpec((None, *network.input_shape[1:]), tf.uint8)  # else a last batch that is smaller is traced anew
    infer = tf.function(lambda images: network(network.preprocessing.normalize(images), training=False), [pixels])
    images = numbered_evaluation_images(split, network.preprocessing, network.input_shape[1:3])
    batches = images.batch(batch_size).prefetch(tf.data.AUTOTUNE)
    rows = [(infer(pixels).numpy(), labels.numpy(), places.numpy()) for places, pixels, labels in batches]
    probabilities, targets, positions = zip(*rows, strict=True)
    return np.concatenate(probabilities), np.concatenate(targets), np.concatenate(positions)


def unknown_probabilities(
    network: ImageClassifier, source: Source, batch_size: int = 64
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Returns probabilities [M, C] of photos of none of the classes: those that choose a threshold, and those that test it.

    None where there are none; fewer than 10 only test.
    """
    if source.none is None:
        return None, None
    probabilities, _ = predict(network, source.none, batch_size)
    if len(probabilities) < _FEWEST_UNKNOWN:
        return None, probabilities
    return probabilities[::2], probabilities[1::2]


@dataclasses.dataclass(frozen=True)
class CertaintyReport:
    """What calibration and threshold do on test photos.

    Attributes:
      certainty: as the model has it.
      before, after: confidence against accuracy with and without the temperature.
      refusal: what the threshold does; None: there is none.
      examples: number of test photos.
      none: mean probability of the test photos to show none of the classes; None: the network has none for that.
    """

    certainty: Certainty
    before: Reliability
    after: Reliability
    refusal: Refusal | None
    examples: int
    none: float | None = None

    @classmethod
    def of(
        cls, network: ImageClassifier, source: Source, probabilities: np.ndarray, targets: np.ndarray, batch_size: int = 64
    ) -> "CertaintyReport | None":
        """Measures a calibrated network; None: it is not calibrated.

        Args:
          network: as `calibrate` left it.
          source: for photos of none of the classes.
          probabilities: float32 [N, C], what the network says of test photos.
          targets: int [N], their true classes.
          batch_size: of the evaluation.
        """
        if (certainty := network.certainty) is None:
            return None
        before = reliability(_at_temperature(network, probabilities, 1 / certainty.temperature), targets)
        refusal = None
        if certainty.threshold is not None:
            _, unknown = unknown_probabilities(network, source, batch_size)
            refusal = Refusal.of(certainty.threshold, probabilities, targets, unknown)
        none = float(1 - probabilities.sum(axis=1).mean()) if has_none(network) else None
        return cls(certainty, before, reliability(probabilities, targets), refusal, len(targets), none)

    def to_json(self) -> dict:
        """Returns all figures as JSON types."""
        figures = {**self.certainty.to_config(), "before": self.before.to_json(), "after": self.after.to_json()}
        return figures | {"none": self.none, "test": self.refusal and self.refusal.to_json()}

    def text(self) -> str:
        """Returns a few lines for a terminal."""
        how = "classifier recomputed from the features of the classes; " if self.certainty.shrinkage else ""
        lines = [
            f"{how}calibrated on {self.certainty.images:,} validation photos: temperature {self.certainty.temperature:.2f}, "
            f"calibration error on the test photos {self.before.error:.1%} before and {self.after.error:.1%} now"
        ]
        if self.none is not None:
            lines.append(f"{self.none:.1%} of the test photos' probability is left for photos of none of the classes")
        return "\n".join([*lines, *([self.refusal.text()] if self.refusal else [])])

    def draw(self, path: str | os.PathLike) -> None:
        """Draws reliability.png."""
        draw(self.before, self.after, self.certainty.temperature, path)


def none_text(source: Source) -> str:
    """Returns why a network is not calibrated."""
    count = source.validation.size if source.validation is not None else 0
    return f'not calibrated, and never "not sure": that takes {FEWEST} validation photos or more, and there are {count}'
