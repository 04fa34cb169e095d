"""Recomputes a trained classifier from the features of each class, unless validation photos say that the trained one is better.

A training fits the classifier to single photos that the features fit already. Linear discriminants, computed in one step from
the means of the classes and their common covariance, depend less on single photos; and photos of none of the classes get less
certain answers from them.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from shufflenet_tf.certainty import Certainty
from shufflenet_tf.data import Source, Split
from shufflenet_tf.data.pipeline import evaluation_batches
from shufflenet_tf.evaluation.calibration import SMALLEST, at_temperature, fit_temperature, softmax
from shufflenet_tf.models.image_classifier import CLASSIFIER, ImageClassifier

SHRINKAGE = 0.2  # of the covariance, towards a multiple of the identity
CLEARLY = 2.0  # standard errors of the mean difference
_MOST = 20_000  # training photos, which tell enough
_VIEWS = 2  # of a photo: as it is, and mirrored
Weights = list[np.ndarray]
Body = Callable[..., tf.Tensor]


def refit(network: ImageClassifier, source: Source, batch_size: int = 64, body: Body | None = None) -> float | None:
    """Replaces the weights of the classifier of `network`, unless that clearly raises the calibrated loss on validation photos.

    Validation photos often show the same things as training photos do, and so favour the trained classifier; a small
    difference in its favour is therefore no reason to keep it.

    Args:
      network: trained; its classifier is a dense layer, else nothing is done.
      source: has validation photos; every class needs two training photos, else nothing is done.
      batch_size: of the evaluation.
      body: of the network, from `body_of`; None: a new one.

    Returns:
      The shrinkage of the covariance; None: the classifier is as it was.
    """
    layer, body = network.get_layer(CLASSIFIER), body or body_of(network)
    trained = layer.get_weights()
    if not recompute(network, source.train, batch_size, body=body):
        return None
    seen, targets = features_of(network, source.validation, batch_size, body=body)
    worse = cross_entropies(logits_of(seen, layer.get_weights()), targets) - cross_entropies(logits_of(seen, trained), targets)
    if worse.mean() > CLEARLY * worse.std() / np.sqrt(len(worse)):
        layer.set_weights(trained)
        network.certainty = None
        return None
    return SHRINKAGE


def recompute(
    network: ImageClassifier, split: Split, batch_size: int = 64, mirrored: bool = True, body: Body | None = None
) -> bool:
    """Replaces the weights of the classifier by linear discriminants of the photos of `split`, and of their mirror images.

    Returns:
      Whether it did: the classifier must be a dense layer, and every class needs two photos. `network.certainty` says so too.
    """
    layer = network.get_layer(CLASSIFIER)
    if not isinstance(layer, tf.keras.layers.Dense):
        return False
    drawn = split.drawn(_MOST)
    features, classes = features_of(network, drawn, batch_size, mirrored, body)
    if np.bincount(classes, minlength=layer.units).min() < (2 * _VIEWS if mirrored else 2):
        return False
    layer.set_weights(discriminants(features, classes, SHRINKAGE, layer.use_bias))
    network.certainty = Certainty(shrinkage=SHRINKAGE)
    return True


def validation_losses(network: ImageClassifier, split: Split, batch_size: int = 64, body: Body | None = None) -> np.ndarray:
    """Returns the cross entropy of each photo of `split`, nats [N], once the logits are calibrated on these photos."""
    features, targets = features_of(network, split, batch_size, body=body)
    return cross_entropies(logits_of(features, network.get_layer(CLASSIFIER).get_weights()), targets)


def cross_entropies(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns the cross entropy of each photo, nats, once the logits are calibrated."""
    probabilities = softmax(logits)
    probabilities = at_temperature(probabilities, fit_temperature(probabilities, targets))
    return -np.log(np.maximum(probabilities[np.arange(len(targets)), targets], SMALLEST))


def body_of(network: ImageClassifier) -> Body:
    """Returns the layers below the classifier as a function of normalized images, traced once; it follows the weights."""
    body = tf.keras.Model(network.input, network.get_layer(CLASSIFIER).input)
    return tf.function(lambda images: body(images, training=False), [tf.TensorSpec((None, *network.input_shape[1:]))])


def features_of(
    network: ImageClassifier, split: Split, batch_size: int = 64, mirrored: bool = False, body: Body | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what the classifier is fed, float64 [N, D], and class indices [N].

    Args:
      network: with a classifier.
      split: labelled images.
      batch_size: of the evaluation.
      mirrored: whether to add the features of the mirror images.
      body: of the network, from `body_of`; None: a new one.
    """
    infer = body or body_of(network)
    size, classes = network.input_shape[1:3], network.output_shape[-1]
    batches = evaluation_batches(split, network.preprocessing, size, batch_size, classes)
    views = (lambda images: images, lambda images: images[:, :, ::-1])[: _VIEWS if mirrored else 1]
    pairs = [(infer(view(images)).numpy(), labels.numpy().argmax(-1)) for images, labels in batches for view in views]
    features, targets = zip(*pairs, strict=True)
    return np.concatenate(features).astype(np.float64), np.concatenate(targets)


def logits_of(features: np.ndarray, weights: Weights) -> np.ndarray:
    """Returns the logits [N, C] of features [N, D] by a classifier's kernel [D, C] and its bias [C], if it has one."""
    return features @ weights[0] + (weights[1] if len(weights) > 1 else 0)


def discriminants(features: np.ndarray, classes: np.ndarray, shrinkage: float, use_bias: bool) -> Weights:
    """Returns a kernel [D, C], and a bias [C]: how far features lie from their mean in the direction of each class.

    Directions and lengths are those of features whose covariance within the classes is the identity.

    Args:
      features: float64 [N, D].
      classes: int [N], at least two of each.
      shrinkage: of the covariance, towards a multiple of the identity, 0 to 1.
      use_bias: whether there is a bias; without, the list has the kernel alone.
    """
    means, middle, covariance = moments(features, classes, shrinkage)
    kernel = np.linalg.solve(covariance, (means - middle).T)  # [D, C]
    kernel /= np.sqrt(np.maximum(np.einsum("cd,dc->c", means - middle, kernel), 1e-12))
    bias = -middle @ kernel
    spread = max((features @ kernel + bias).std(), 1e-12)  # calibration finds the rest of the scale
    kernel, bias = 3 * kernel / spread, 3 * bias / spread
    if use_bias:
        return [kernel.astype(np.float32), bias.astype(np.float32)]
    # Without one, a direction along which all features measure about 1 stands for it.
    moment = features.T @ features / len(features)
    ones = np.linalg.solve(moment + 0.01 * np.var(features) * np.eye(len(moment)) + 1e-12 * np.eye(len(moment)), middle)
    return [(kernel + np.outer(ones, bias)).astype(np.float32)]


def moments(features: np.ndarray, classes: np.ndarray, shrinkage: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the means of the classes [C, D], the mean of all features [D], and the covariance within the classes [D, D].

    Args:
      features, classes, shrinkage: as in `discriminants`.
    """
    means = np.stack([features[classes == index].mean(axis=0) for index in range(classes.max() + 1)])
    within = features - means[classes]
    covariance = within.T @ within / len(within)
    variance = max(np.trace(covariance) / len(covariance), 1e-12)
    return means, features.mean(axis=0), (1 - shrinkage) * covariance + shrinkage * variance * np.eye(len(covariance))
