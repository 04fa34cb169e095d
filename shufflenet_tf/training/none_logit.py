"""The logit of none of the classes: photos of other things lie far from all classes, in directions that no class lies in.

Features are whitened by their covariance within the classes. A discriminant measures how far a photo lies in the direction of a
class; divided by the whole distance, it is the cosine to that class, which tells photos of other things better than a
probability does, as that compares the classes only with each other. So the logit of none is the distance times the cosine below
which somewhat more than half of the photos lie whose class is left out.

A network computes the distance as the sum of absolute values in directions that are rotated at random, which is nearly
proportional to it.
"""

import dataclasses

import numpy as np

from shufflenet_tf.data import Source
from shufflenet_tf.models.image_classifier import CLASSIFIER, ImageClassifier
from shufflenet_tf.models.open_set import NONE, NONE_LOGIT, without_none
from shufflenet_tf.training.discriminant import SHRINKAGE, Body, features_of, logits_of, moments
from shufflenet_tf.weights import canonical

_FEWEST_DIRECTIONS = 48
_LARGEST_PART = 4  # of the features: more directions would cost more than they tell
_MOST = 4_000  # training photos, which tell enough
_LEFT_OUT = 10  # classes
_BELOW = 0.55  # part of their photos; a larger one refuses more, and takes more from the probabilities of the classes


def add(network: ImageClassifier, source: Source, batch_size: int = 64, body: Body | None = None) -> ImageClassifier:
    """Returns `network` with a logit of none of the classes, or as it is where that can't be computed.

    Args:
      network: trained; its classifier is a dense layer of linear discriminants.
      source: whose training photos are used.
      batch_size: of the evaluation.
      body: see `discriminant.body_of`; None: a new one.
    """
    features, classes = features_of(network, source.train.drawn(_MOST), batch_size, body=body)
    weights = layers(features, classes, network.get_layer(CLASSIFIER).get_weights())
    return network if weights is None else rebuilt(network, weights)


def rebuilt(network: ImageClassifier, weights: list[np.ndarray] | None) -> ImageClassifier:
    """Returns a copy of `network` with these weights of the layers of `open_set`, or without them."""
    units = None if weights is None else weights[0].shape[1]
    copy = type(network).from_config({**network.get_config(), "none_units": units})
    canonical.assign(copy, canonical.arrays(copy) | without_none(canonical.arrays(network)))
    if weights is not None:
        copy.get_layer(f"{NONE}.distances").set_weights(weights[:2])
        copy.get_layer(NONE_LOGIT).set_weights(weights[2:])
    return copy


def layers(features: np.ndarray, classes: np.ndarray, classifier: list[np.ndarray]) -> list[np.ndarray] | None:
    """Returns kernel [D, 2R] and bias [2R] of the distances in R directions, kernel [2R, 1] and bias [1] of the logit of none.

    Args:
      features: float64 [N, D].
      classes: int [N].
      classifier: kernel [D, C], and a bias [C] or none, of linear discriminants: the scale of the logits.

    Returns:
      None: there are fewer than three classes, some have fewer than two photos, or there are too many for so few features.
    """
    count, rank = classifier[0].shape[1], max(_FEWEST_DIRECTIONS, classifier[0].shape[1])
    if count < 3 or np.bincount(classes, minlength=count).min() < 2 or rank * _LARGEST_PART > features.shape[1]:
        return None
    space = _Space.of(features, classes, rank)
    cosine = max(np.quantile(_of_left_out(features, classes, rank), _BELOW), 0.0)
    projections = space.projections(features)
    scale = np.mean(logits_of(features, classifier) * projections) / max(np.mean(projections**2), 1e-12)
    kernel = np.concatenate([space.directions, -space.directions], axis=1)
    weight = np.full((2 * rank, 1), scale * cosine * space.per_direction)
    return [array.astype(np.float32) for array in (kernel, -space.middle @ kernel, weight, np.zeros(1))]


@dataclasses.dataclass(frozen=True)
class _Space:
    """Whitened features.

    Attributes:
      middle: mean of all features [D].
      directions: in which all of them spread most, randomly rotated [D, R].
      units: directions of the classes, of length 1 [C, R].
    """

    middle: np.ndarray
    directions: np.ndarray
    units: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray, classes: np.ndarray, rank: int) -> "_Space":
        from scipy.linalg import eigh, solve_triangular

        means, middle, covariance = moments(features, classes, SHRINKAGE)
        whitening = solve_triangular(np.linalg.cholesky(covariance), np.eye(len(covariance)), lower=True).T
        whitened = (features - middle) @ whitening
        size = len(covariance)
        _, main = eigh(whitened.T @ whitened, subset_by_index=[size - rank, size - 1])
        rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(rank, rank)))[0]
        directions = whitening @ main @ rotation
        units = (means - middle) @ directions
        return cls(middle, directions, units / np.maximum(np.linalg.norm(units, axis=1, keepdims=True), 1e-12))

    @property
    def per_direction(self) -> float:
        """What a sum of absolute values in all directions is to be multiplied by to be about a length."""
        return float(np.sqrt(np.pi / 2 / self.directions.shape[1]))

    def projections(self, features: np.ndarray) -> np.ndarray:
        """Returns how far features lie in the directions of the classes [N, C]."""
        return (features - self.middle) @ self.directions @ self.units.T

    def cosines(self, features: np.ndarray) -> np.ndarray:
        """Returns the cosines to the nearest class [N], with distances as a network computes them."""
        distances = np.abs((features - self.middle) @ self.directions).sum(axis=1) * self.per_direction
        return self.projections(features).max(axis=1) / np.maximum(distances, 1e-12)


def _of_left_out(features: np.ndarray, classes: np.ndarray, rank: int) -> np.ndarray:
    """Returns the cosines of photos whose class was left out, for some classes [M]."""
    count = classes.max() + 1
    found = []
    for index in np.unique(np.linspace(0, count - 1, min(_LEFT_OUT, count)).round().astype(int)):
        known = classes != index
        space = _Space.of(features[known], classes[known] - (classes[known] > index), rank)
        found.append(space.cosines(features[~known]))
    return np.concatenate(found)
