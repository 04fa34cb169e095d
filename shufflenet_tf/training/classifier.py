"""Classifier first: a new classifier is fitted to what the trained layers say, before these learn too.

Features are computed once, of each image and of its mirror image; what is left is a convex problem, solved in seconds. The
training of all layers then starts from a classifier that fits them, and its first steps do not tear them apart.
"""

import numpy as np

from shufflenet_tf.data.source import Split
from shufflenet_tf.models.image_classifier import CLASSIFIER, ImageClassifier
from shufflenet_tf.training.discriminant import features_of

PENALTY = 0.01  # on half the squared norm of the weights for standardized features
ITERATIONS = 200


def fit_classifier(network: ImageClassifier, split: Split, batch_size: int, prior: np.ndarray | None = None) -> float:
    """Replaces the classifier of `network` by one that is fitted to the features of the images of `split`.

    Args:
      network: its other layers stay as they are.
      split: labelled images.
      batch_size: of computing the features.
      prior: share of each class, which the loss adds to the logits as in `Trainer`; None: the loss is plain.

    Returns:
      The share of these images, mirrored ones included, that it classifies rightly.
    """
    layer = network.get_layer(CLASSIFIER)
    features, classes = features_of(network, split, batch_size, mirrored=True)
    features, targets = features.astype(np.float32), np.eye(network.output_shape[-1], dtype=np.float32)[classes]
    mean = features.mean(0) if layer.use_bias else np.zeros(features.shape[1], np.float32)
    scale = features.std(0) + 1e-3 * features.std() + 1e-6
    weights, bias = solve((features - mean) / scale, targets, layer.use_bias, prior)
    kernel = weights / scale[:, None]
    layer.set_weights([kernel, bias - mean @ kernel] if layer.use_bias else [kernel])
    logits = features @ kernel + (bias - mean @ kernel)
    return float(np.mean(logits.argmax(-1) == classes))


def solve(x: np.ndarray, y: np.ndarray, with_bias: bool, prior: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Solves multinomial logistic regression with an L2 penalty by Nesterov's accelerated gradient.

    Args:
      x: features [N, D], of a scale near 1.
      y: one-hot classes [N, C].
      with_bias: whether there is a bias.
      prior: see `fit_classifier`.

    Returns:
      Weights [D, C] and bias [C], which is zero without one.
    """
    n, classes = y.shape
    shift = 0.0 if prior is None else np.log(prior)
    x = np.concatenate([x, np.full((n, 1), float(with_bias))], 1).astype(np.float32)
    penalty = np.full((x.shape[1], 1), PENALTY, np.float32)
    penalty[-1] = 0 if with_bias else PENALTY
    rate = 1 / (0.5 * np.linalg.norm(x.T @ x / n, 2) + PENALTY)  # softmax curves by a half at most
    weights = previous = np.zeros((x.shape[1], classes), np.float32)
    for k in range(ITERATIONS):
        ahead = weights + k / (k + 3) * (weights - previous)
        logits = x @ ahead + shift
        p = np.exp(logits - logits.max(-1, keepdims=True))
        gradient = x.T @ (p / p.sum(-1, keepdims=True) - y) / n + penalty * ahead
        previous, weights = weights, ahead - rate * gradient.astype(np.float32)
    return weights[:-1], weights[-1] * float(with_bias)
