"""How far fine-tuning may take the layers from the weights that it started with: as far as validation photos say.

Fine-tuned on a few photos, layers forget what they knew of other photos, such as those of other places. Between both weights,
networks are often as good on photos like the training photos, and better on others (Wortsman et al. 2022, "Robust fine-tuning
of zero-shot models"). Validation photos are like the training photos and favour what was trained on these. So the smallest
change is taken that is not clearly worse on them than the best one.
"""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from shufflenet_tf.data import Source
from shufflenet_tf.models.image_classifier import CLASSIFIER, ImageClassifier
from shufflenet_tf.training import discriminant
from shufflenet_tf.weights import canonical

PARTS = (0.0, 0.5, 1.0)  # of the way from the first weights to the trained ones
_MOST = 4_000  # training photos, which tell enough to compare by


def settle(
    network: ImageClassifier, first: Mapping[str, np.ndarray], source: Source, batch_size: int = 64
) -> dict[float, float]:
    """Moves all layers but the classifier back towards their first weights, unless validation photos clearly speak against it.

    The classifier is recomputed for that, see `discriminant`; where the trained weights are kept, it is kept too.

    Args:
      network: fine-tuned; its classifier is a dense layer, else nothing is done.
      first: the weights that the training started with, by canonical name.
      source: has validation photos; every class needs two training photos, else nothing is done.
      batch_size: of the evaluation.

    Returns:
      The mean calibrated loss of the validation photos, nats, by part of the way, in the order of preference: the first is the
      one that was taken. Empty: nothing was done.
    """
    if not isinstance(network.get_layer(CLASSIFIER), tf.keras.layers.Dense):
        return {}
    trained = canonical.arrays(network)
    body = discriminant.body_of(network)
    as_trained = discriminant.validation_losses(network, source.validation, batch_size, body)
    drawn = source.train.drawn(_MOST)
    losses: dict[float, np.ndarray] = {}
    for part in PARTS:
        interpolate(network, first, trained, part)
        if not discriminant.recompute(network, drawn, batch_size, mirrored=False, body=body):
            canonical.assign(network, trained)
            return {}
        losses[part] = discriminant.validation_losses(network, source.validation, batch_size, body)
    losses[1.0] = min(losses[1.0], as_trained, key=np.mean)  # `refit` decides between these classifiers
    taken = chosen(losses)
    interpolate(network, first, trained, taken)
    if taken < 1:
        discriminant.recompute(network, source.train, batch_size, body=body)
    else:
        canonical.assign(network, trained)
        network.certainty = None
    order = [taken, *(part for part in PARTS if part != taken)]
    return {part: float(losses[part].mean()) for part in order}


def chosen(losses: Mapping[float, np.ndarray]) -> float:
    """Returns the smallest part whose losses, of the same photos [N], are not clearly above those of the best one."""
    best = losses[min(losses, key=lambda part: losses[part].mean())]

    def clearly_worse(part: float) -> bool:
        worse = losses[part] - best
        return worse.mean() > discriminant.CLEARLY * worse.std() / np.sqrt(len(worse))

    return min(part for part in losses if not clearly_worse(part))


def interpolate(
    network: ImageClassifier, first: Mapping[str, np.ndarray], trained: Mapping[str, np.ndarray], part: float
) -> None:
    """Sets all layers but the classifier to a part, 0 to 1, of the way between two sets of weights by canonical name."""
    for name, variable in canonical.named_variables(network).items():
        if not name.startswith(f"{CLASSIFIER}/"):
            variable.assign(first[name] + part * (trained[name] - first[name]))


def sentence(losses: Mapping[float, float]) -> str:
    """Returns what `settle` did, for a terminal."""
    taken = next(iter(losses))
    each = ", ".join(f"{loss:.3f} at {part:.0%}" for part, loss in sorted(losses.items()))
    where = {0.0: "their first weights", 1.0: "their trained weights"}.get(taken, f"{taken:.0%} of the way")
    return f"Layers from their first (0%) to their trained (100%) weights: loss on the validation photos {each}; taken: {where}"
