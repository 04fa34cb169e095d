"""Measures "not sure": leaves out each class of a dataset in turn, trains without it, and counts its photos that are refused.

    python benchmarks/unknown.py --dataset=PATH --weights=FILE [--classes=milk,kiwi] [--output=runs/unknown]

PATH has train/<class>/* and test/<class>/*. Each run is that of recipes/finetune_photos.flags, and an interrupted benchmark
goes on. All photos of the class that was left out, of both folders, are unknown. Each score's threshold is chosen on validation
photos for 95 % coverage. As these may resemble the training photos more than test photos do, the share is also stated at the
threshold that 95 % of the test photos reach.
"""

import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
import tensorflow as tf
from absl import flags

import shufflenet_tf as st
from shufflenet_tf import cli
from shufflenet_tf.data import open_source, photos
from shufflenet_tf.errors import UserError
from shufflenet_tf.evaluation.calibration import at_temperature, fit_temperature, softmax
from shufflenet_tf.models.image_classifier import CLASSIFIER
from shufflenet_tf.training.callbacks import BEST
from shufflenet_tf.training.discriminant import features_of
from shufflenet_tf.weights import canonical

ROOT = pathlib.Path(__file__).resolve().parents[1]
COVERAGE, VALIDATION = 0.95, 0.15

FLAGS = cli.flag_values()
cli.define_dataset(FLAGS)
flags.DEFINE_string("weights", None, "Trained weights to start with.", flag_values=FLAGS)
flags.DEFINE_list("classes", [], "Classes to leave out; none: each one.", flag_values=FLAGS)
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


def scores(run: pathlib.Path, dataset: pathlib.Path, unknown: Sequence[pathlib.Path]) -> dict[str, list[np.ndarray]]:
    """Returns the scores of validation, test and unknown photos by each way to compute one: higher is surer."""
    bundle = st.load(run)
    network, source = bundle.model, open_source(f"folder:{dataset}", validation=VALIDATION)
    training, classes = features_of(network, source.train)
    validation, targets = features_of(network, source.validation)
    body = tf.keras.Model(network.input, network.get_layer(CLASSIFIER).input)
    pixels = np.stack([photos.read(path, bundle.preprocessing, bundle.size) for path in unknown])
    parts = [body.predict(bundle.preprocessing.normalize(pixels), verbose=0)]
    sides = [validation, features_of(network, source.test)[0], *parts]

    def logits(features: np.ndarray) -> np.ndarray:
        kernel, *bias = network.get_layer(CLASSIFIER).get_weights()
        return features @ kernel + (bias[0] if bias else 0)

    found = {"maximum probability": [softmax(logits(side)).max(axis=1) for side in sides]}  # as the model is used
    canonical.load(network, run / BEST)  # which has the classifier as it was trained
    trained = [softmax(logits(side)) for side in sides]
    temperature = fit_temperature(trained[0], targets)
    found["... of the trained classifier, calibrated"] = [at_temperature(side, temperature).max(axis=1) for side in trained]
    found["... and not calibrated"] = [side.max(axis=1) for side in trained]
    found["energy"] = [np.log(np.exp(logits(side)).sum(axis=1)) for side in sides]
    means = np.stack([_unit(training)[classes == index].mean(axis=0) for index in range(classes.max() + 1)])
    found["cosine to the nearest class"] = [(_unit(side) @ _unit(means).T).max(axis=1) for side in sides]
    return found


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def measure(validation: np.ndarray, test: np.ndarray, unknown: np.ndarray) -> tuple[float, float, float]:
    """Returns the share refused and the test photos answered with validation's threshold, and the share refused with test's."""
    chosen = np.quantile(validation, 1 - COVERAGE, method="lower")
    fair = np.quantile(test, 1 - COVERAGE)
    return float(np.mean(unknown < chosen)), float(np.mean(test >= chosen)), float(np.mean(unknown < fair))


def main(arguments: list[str]) -> None:
    cli.refuse_arguments(arguments)
    if not FLAGS.dataset or not FLAGS.weights:
        raise UserError("--dataset and --weights are needed: --help shows an example.")
    dataset, output = pathlib.Path(FLAGS.dataset.removeprefix("folder:")), pathlib.Path(FLAGS.output)
    labels = FLAGS.classes or sorted(folder.name for folder in (dataset / "train").iterdir())
    results: dict[str, list[tuple[float, float, float]]] = {}
    for label in labels:
        others, run = leave_out(dataset, label, output / "photos" / label), output / label
        given = (f"--dataset=folder:{others}", f"--weights={FLAGS.weights}", f"--output={run}", f"--validation={VALIDATION}")
        recipe = f"--flagfile={ROOT / 'recipes/finetune_photos.flags'}"
        program = [sys.executable, str(ROOT / "train_main.py"), recipe, *given, "--nosaved_model", "--notensorboard"]
        if subprocess.run(program).returncode:
            raise UserError(f"The training without {label} failed: see above.")
        unknown = [path for side in ("train", "test") for path in photos.find(dataset / side / label)]
        for name, sides in scores(run, others, unknown).items():
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
