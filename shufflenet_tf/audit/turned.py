"""Photos that lie on their side or stand on their head, found by a network that is told what "upright" means by the others.

Photos are turned by 90, 180 and 270 degrees, and discriminant analysis learns to tell the four apart, out of fold.
Photos of flowers from above have no upright; then nothing is found.
"""

from collections.abc import Callable, Sequence

import numpy as np

from shufflenet_tf.audit import labels

SAMPLE = 600  # photos to learn from, and most photos that get a closer look
_LEAST = 60
_DOUBTFUL = 0.3  # probability of being upright, below which a photo gets the closer look
_SURE = 0.9
_ACCURACY = 0.5  # of telling single views apart, below which this set has no upright
_FOLDS = 4


def find(
    features: np.ndarray,
    turned: dict[int, np.ndarray],
    groups: Sequence[int],
    closer: Callable[[list[int]], dict[int, np.ndarray]],
) -> list[tuple[int, int, float]]:
    """Returns photos that look turned: (index, degrees to turn it clockwise, probability), the surest first.

    Args:
      features: of all photos, float32 [N, D].
      turned: features of some of them, turned by 90, 180 and 270 degrees anticlockwise, float32 [3, D].
      groups: of all photos: those of one group are copies.
      closer: indices -> their turned features.
    """
    if len(turned) < _LEAST:
        return []
    fold = labels.folds(groups, count=_FOLDS)
    learners = {}
    for number in range(_FOLDS):
        chosen = [index for index in turned if fold[index] != number]
        views = np.concatenate([np.concatenate([features[index][None], turned[index]]) for index in chosen])
        learners[number] = labels.discriminant(views, np.tile(np.arange(4), len(chosen)), 4)

    def scores(indices: np.ndarray, views: np.ndarray) -> np.ndarray:
        result = np.zeros((len(indices), 4))
        for number, learner in learners.items():
            inside = fold[indices] == number
            if inside.any():
                result[inside] = learner(views[inside])
        return result

    sample = np.array(list(turned))
    views = [features[sample], *np.stack([turned[index] for index in sample], 1)]
    seen = np.concatenate([scores(sample, view) for view in views])
    truth = np.repeat(np.arange(4), len(sample))
    if (seen.argmax(1) == truth).mean() < _ACCURACY:
        return []
    factor = labels.temperature(seen, truth)
    everyone = np.arange(len(features))
    upright = labels.softmax(scores(everyone, features) * factor)[:, 0]
    doubtful = np.argsort(upright)[:SAMPLE]
    doubtful = doubtful[upright[doubtful] < _DOUBTFUL]
    known = turned | closer([int(index) for index in doubtful if int(index) not in turned])
    doubtful = np.array([index for index in doubtful if int(index) in known], np.int64)
    if not len(doubtful):
        return []
    views = [features[doubtful], *np.stack([known[int(index)] for index in doubtful], 1)]
    each = [np.log(labels.softmax(scores(doubtful, view) * factor) + 1e-9) for view in views]
    # If a photo is turned by `by`, its view that is turned by `view` more shows `view + by`. The views aren't independent.
    joint = np.stack([sum(each[view][:, (view + by) % 4] for view in range(4)) for by in range(4)], 1) / 2
    probabilities = labels.softmax(joint)
    by = probabilities.argmax(1)
    sure = np.flatnonzero((by > 0) & (probabilities.max(1) > _SURE))
    found = [(int(doubtful[place]), int(by[place]) * 90, float(probabilities[place].max())) for place in sure]
    return sorted(found, key=lambda item: -item[2])
