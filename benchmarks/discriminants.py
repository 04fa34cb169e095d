"""Measures what linear discriminants know of photos whose features are those of trained layers that learn nothing more.

    python benchmarks/discriminants.py --dataset=PATH --weights=FILE [--sizes=192,224,256] [--shrinkages=0.1,0.2,0.3]

It ranks sizes and shrinkages without the test photos: in five folds of the training photos that are drawn at random, and in
five folds of unlike photos: the photos of a class are divided into clusters of similar ones, and a fold is one cluster of each
class. What is stated is top-1, and the calibrated loss in nats, which also ranks what top-1 can't tell apart. The test photos
come last.
"""

import os
import pathlib
import sys
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
from absl import flags

import shufflenet_tf as st
from shufflenet_tf import cli, loading
from shufflenet_tf.data import open_source
from shufflenet_tf.errors import UserError
from shufflenet_tf.evaluation.calibration import softmax
from shufflenet_tf.models import registry
from shufflenet_tf.training.discriminant import cross_entropies, discriminants, features_of

FOLDS, BATCH = 5, 64
_DIRECTIONS = 16  # principal ones of a class, in which its clusters are found

FLAGS = cli.flag_values()
cli.define_dataset(FLAGS)
flags.DEFINE_string("weights", None, "Trained weights.", flag_values=FLAGS)
flags.DEFINE_list("sizes", ["192", "224", "256"], "Sides of the images, pixels.", flag_values=FLAGS)
flags.DEFINE_list("shrinkages", ["0.1", "0.2", "0.3"], "Shrinkages of the covariance.", flag_values=FLAGS)


def places(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the place of the photo of each feature, and whether it is not its mirror image: features come batch by batch."""
    batches = [np.arange(start, min(start + BATCH, count)) for start in range(0, count, BATCH)]
    photo = np.concatenate([np.tile(batch, 2) for batch in batches])
    plain = np.concatenate([np.repeat([True, False], len(batch)) for batch in batches])
    return photo, plain


def clusters(features: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Returns the cluster of each photo within its class, 0 to 4."""
    from scipy.cluster.vq import kmeans2

    found = np.zeros(len(classes), int)
    for index in range(classes.max() + 1):
        members = np.flatnonzero(classes == index)
        left, scale, _ = np.linalg.svd(features[members] - features[members].mean(axis=0), full_matrices=False)
        found[members] = kmeans2(left[:, :_DIRECTIONS] * scale[:_DIRECTIONS], FOLDS, minit="++", seed=1)[1]
    return found


def figures(train: Sequence[np.ndarray], test: Sequence[np.ndarray], shrinkage: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns logits and classes of photos that are tested; both sides are features and classes."""
    kernel, bias = discriminants(*train, shrinkage, use_bias=True)
    return test[0] @ kernel + bias, test[1]


def text(logits: np.ndarray, classes: np.ndarray) -> str:
    """Returns top-1 and loss."""
    right = np.mean(softmax(logits).argmax(axis=1) == classes)
    return f"{right:.1%}, {cross_entropies(logits, classes).mean():.3f}"


def main(arguments: list[str]) -> None:
    cli.refuse_arguments(arguments)
    if not FLAGS.dataset or not FLAGS.weights:
        raise UserError("--dataset and --weights are needed: --help shows an example.")
    source, name = open_source(FLAGS.dataset), registry.identify(loading.checkpoint(FLAGS.weights))
    groups: list[np.ndarray] = []
    print("| size, px | shrinkage | folds at random | folds of other photos | test |\n|---|---|---|---|---|")
    for side in map(int, FLAGS.sizes):
        network = st.create_model(name, weights=FLAGS.weights, input_shape=(side, side, 3), classes=len(source.labels))
        features, classes = features_of(network, source.train, BATCH, mirrored=True)
        photo, plain = places(source.train.size)
        test = features_of(network, source.test, BATCH)
        if not groups:
            groups = [
                np.random.default_rng(0).permutation(source.train.size) % FOLDS,
                clusters(features[plain], classes[plain]),
            ]
        for shrinkage in map(float, FLAGS.shrinkages):
            cells = []
            for group in (group[photo] for group in groups):
                folds = [(group != number, plain & (group == number)) for number in range(FOLDS)]
                pairs = [figures((features[a], classes[a]), (features[b], classes[b]), shrinkage) for a, b in folds]
                cells.append(text(*map(np.concatenate, zip(*pairs, strict=True))))
            cells.append(text(*figures((features, classes), test, shrinkage)))
            print(f"| {side} | {shrinkage:g} | {' | '.join(cells)} |", flush=True)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("benchmarks/discriminants.py", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
