"""Measures "not sure": leaves out each class of a dataset in turn, and counts its photos that are refused.

    python benchmarks/unknown.py --dataset=PATH --weights=FILE [--classes=milk,kiwi] [--train] [--output=runs/unknown]

PATH has train/<class>/* and test/<class>/*. All photos of the class that is left out, of both folders, are unknown. The layers
keep the weights of FILE, as a run of recipes/photos.flags mostly leaves them on few photos, and the classifier is recomputed
without the class; this takes seconds once the features are there. With --train, there is a run of that recipe for each class,
and an interrupted benchmark goes on. Each score's threshold is chosen on validation photos for 95 % coverage. As these may
resemble the training photos more than test photos do, the share is also stated at the threshold that 95 % of the test photos
reach.
"""

import dataclasses
import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
from absl import flags

import shufflenet_tf as st
from shufflenet_tf import cli, loading
from shufflenet_tf.data import Source, open_source
from shufflenet_tf.errors import UserError
from shufflenet_tf.evaluation.calibration import at_temperature, fit_temperature, softmax
from shufflenet_tf.models import registry
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.training import choices, none_logit
from shufflenet_tf.training.discriminant import SHRINKAGE, discriminants, features_of

ROOT = pathlib.Path(__file__).resolve().parents[1]
COVERAGE, VALIDATION = 0.95, 0.15
Labelled = tuple[np.ndarray, np.ndarray]  # features [N, D], and class indices [N]

FLAGS = cli.flag_values()
cli.define_dataset(FLAGS)
flags.DEFINE_string("weights", None, "Trained weights to start with.", flag_values=FLAGS)
flags.DEFINE_list("classes", [], "Classes to leave out; none: each one.", flag_values=FLAGS)
flags.DEFINE_bool("train", False, "Train for each class that is left out.", flag_values=FLAGS)
cli.define_output(FLAGS, "Folder of the runs.", "runs/unknown")


def leave_out(dataset: pathlib.Path, label: str, folder: pathlib.Path) -> pathlib.Path:
    """Returns a folder of links to all other classes of `dataset`."""
    for side in ("train", "test"):
        (folder / side).mkdir(parents=True, exist_ok=True)
        for source in sorted((dataset / side).iterdir()):
            link = folder / side / source.name
            if source.name != label and not link.exists():
                link.symlink_to(source.resolve(), target_is_directory=True)
    return folder


@dataclasses.dataclass(frozen=True)
class Features:
    """Features of all photos and their classes, by side; `mirrored` are those of the training photos' mirror images too."""

    train: Labelled
    mirrored: Labelled
    validation: Labelled
    test: Labelled

    @classmethod
    def of(cls, network: ImageClassifier, source: Source) -> "Features":
        """Computes the features of a dataset."""
        train, validation, test = (features_of(network, split) for split in (source.train, source.validation, source.test))
        return cls(train, features_of(network, source.train, mirrored=True), validation, test)

    def without(self, index: int) -> tuple[Labelled, Labelled, Labelled, np.ndarray, np.ndarray]:
        """Returns training (two), validation and test photos of other classes, the latter without classes, and the unknown."""

        def known(side: Labelled) -> Labelled:
            kept = side[1] != index
            return side[0][kept], side[1][kept] - (side[1][kept] > index)

        # Mirror images of unknown photos are none that anybody takes, but they are as unknown.
        unknown = np.concatenate([side[0][side[1] == index] for side in (self.mirrored, self.validation, self.test)])
        return known(self.train), known(self.mirrored), known(self.validation), known(self.test)[0], unknown


def scores(
    plain: Labelled, train: Labelled, validation: Labelled, test: np.ndarray, unknown: np.ndarray
) -> dict[str, list[np.ndarray]]:
    """Returns the scores of validation, test and unknown photos by each way to compute one: higher is surer."""
    sides = [validation[0], test, unknown]
    kernel, bias = discriminants(*train, SHRINKAGE, use_bias=True)
    logits = [side @ kernel + bias for side in sides]
    none = none_logit.layers(*plain, [kernel, bias])
    with_none = [
        np.concatenate([side, np.maximum(x @ none[0] + none[1], 0) @ none[2]], 1) for side, x in zip(logits, sides, strict=True)
    ]
    means = np.stack([train[0][train[1] == index].mean(axis=0) for index in range(train[1].max() + 1)])
    middle = train[0].mean(axis=0)
    within, whole = (_precision(train[0] - centre) for centre in (means[train[1]], middle))
    near = [np.stack([_squared(side - mean, within) for mean in means], 1) for side in sides]
    found = {
        "largest probability, as the model is used": _largest(with_none, validation[1], len(bias)),
        "largest probability without a logit of none": _largest(logits, validation[1], len(bias)),
    }
    found["largest logit"] = [side.max(axis=1) for side in logits]
    found["energy"] = [np.log(np.exp(side).sum(axis=1)) for side in logits]
    found["Mahalanobis distance"] = [-side.min(axis=1) for side in near]
    found["relative Mahalanobis distance"] = [
        _squared(side - middle, whole) - distance.min(axis=1) for side, distance in zip(sides, near, strict=True)
    ]
    found["cosine to the nearest mean, whitened"] = [
        side.max(axis=1) / np.sqrt(_squared(features - middle, within)) for side, features in zip(logits, sides, strict=True)
    ]
    units = _unit(np.stack([_unit(train[0])[train[1] == index].mean(axis=0) for index in range(len(means))]))
    found["cosine to the nearest mean"] = [(_unit(side) @ units.T).max(axis=1) for side in sides]
    neighbours = _unit(train[0] - middle)
    found["cosine to the fifth neighbour"] = [np.sort(_unit(side - middle) @ neighbours.T, 1)[:, -5] for side in sides]
    return found


def _largest(logits: list[np.ndarray], targets: np.ndarray, classes: int) -> list[np.ndarray]:
    """Returns the largest probabilities, calibrated on the first of some logits, whose true classes are given."""
    probabilities = [softmax(side) for side in logits]
    temperature = fit_temperature(probabilities[0], targets)
    return [at_temperature(side, temperature)[:, :classes].max(axis=1) for side in probabilities]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _precision(deviations: np.ndarray) -> np.ndarray:
    """Returns the inverse of a covariance that is shrunk like that of the discriminants."""
    covariance = deviations.T @ deviations / len(deviations)
    variance = np.trace(covariance) / len(covariance)
    return np.linalg.inv((1 - SHRINKAGE) * covariance + SHRINKAGE * variance * np.eye(len(covariance)))


def _squared(deviations: np.ndarray, precision: np.ndarray) -> np.ndarray:
    return np.einsum("nd,nd->n", deviations @ precision, deviations)


def measure(validation: np.ndarray, test: np.ndarray, unknown: np.ndarray) -> tuple[float, float, float]:
    """Returns the share refused and the test photos answered with validation's threshold, and the share refused with test's."""
    chosen = np.quantile(validation, 1 - COVERAGE, method="lower")
    fair = np.quantile(test, 1 - COVERAGE)
    return float(np.mean(unknown < chosen)), float(np.mean(test >= chosen)), float(np.mean(unknown < fair))


def trained(dataset: pathlib.Path, label: str, output: pathlib.Path) -> ImageClassifier:
    """Returns the network of a run without a class."""
    others, run = leave_out(dataset, label, output / "photos" / label), output / label
    given = (f"--dataset=folder:{others}", f"--weights={FLAGS.weights}", f"--output={run}", f"--validation={VALIDATION}")
    recipe = (f"--flagfile={ROOT / 'recipes/photos.flags'}", "--noexport", "--nosaved_model", "--notensorboard")
    if subprocess.run([sys.executable, str(ROOT / "train_main.py"), *recipe, *given]).returncode:
        raise UserError(f"The training without {label} failed: see above.")
    return st.load(run).model


def main(arguments: list[str]) -> None:
    cli.refuse_arguments(arguments)
    if not FLAGS.dataset or not FLAGS.weights:
        raise UserError("--dataset and --weights are needed: --help shows an example.")
    dataset, output = pathlib.Path(FLAGS.dataset.removeprefix("folder:")), pathlib.Path(FLAGS.output)
    source = open_source(f"folder:{dataset}", validation=VALIDATION)
    if unknown := sorted(set(FLAGS.classes) - set(source.labels)):
        raise UserError(f"{dataset} has no class {unknown[0]}: give some of {', '.join(source.labels)}.")
    if not FLAGS.train:
        side = choices.choose(choices.Photos([100], trained=True))[0]["image_size"]
        name, shape = registry.identify(loading.checkpoint(FLAGS.weights)), (side, side, 3)
        network = st.create_model(name, weights=FLAGS.weights, input_shape=shape, classes=len(source.labels))
        features = Features.of(network, source)
    results: dict[str, list[tuple[float, float, float]]] = {}
    labels = FLAGS.classes or source.labels
    for label in labels:
        if FLAGS.train:
            features = Features.of(trained(dataset, label, output), source)
        for name, sides in scores(*features.without(source.labels.index(label))).items():
            results.setdefault(name, []).append(measure(*sides))
    print("\n| score | refused | test photos answered | refused where 95 % are | of each class |\n|---|---|---|---|---|")
    for name, rows in results.items():
        refused, answered, fair = np.mean(rows, axis=0)
        each = ", ".join(f"{label} {row[2]:.0%}" for label, row in zip(labels, rows, strict=True))
        print(f"| {name} | {refused:.1%} | {answered:.1%} | {fair:.1%} | {each} |")


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("benchmarks/unknown.py", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
