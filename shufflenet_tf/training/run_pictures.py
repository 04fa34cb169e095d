"""The pictures of a finished run, and the table of its mistakes."""

import os
import pathlib

import numpy as np

from shufflenet_tf.attention import heat_maps
from shufflenet_tf.data import Source
from shufflenet_tf.data.pipeline import numbered_evaluation_images
from shufflenet_tf.evaluation.heat import Look, attention
from shufflenet_tf.evaluation.metrics import Evaluation, worst_mistakes
from shufflenet_tf.evaluation.mistakes import mistakes, mistakes_table
from shufflenet_tf.evaluation.pictures import confusion, training_curves
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.training.checkpoint import Progress

FILES = ("training.png", "confusion.png", "mistakes.png", "mistakes.csv", "attention.png")
_LOOKS = 6  # right answers, and wrong ones, in attention.png


def draw(
    network: ImageClassifier,
    source: Source,
    progress: Progress,
    evaluation: Evaluation,
    probabilities: np.ndarray,
    targets: np.ndarray,
    positions: np.ndarray,
    folder: pathlib.Path,
    part: float = 1.0,
) -> None:
    """Writes training.png, confusion.png, mistakes.png, mistakes.csv and attention.png into `folder`.

    Args:
      network: as trained.
      source: whose test images are shown.
      progress: the history of the run.
      evaluation: the figures on the test images.
      probabilities: float [N, C], what the network says of the test images.
      targets: int [N], their true classes.
      positions: int [N], their places among the test images; some can be missing, as photos can vanish.
      folder: of the run.
      part: see `report.write_report`.

    Raises:
      UserError: matplotlib is not installed.
      OSError: a file cannot be written.
    """
    labels = source.labels
    training_curves(progress.history, folder / "training.png", progress.best_epoch, len(labels), part)
    confusion(evaluation.confusion, labels, folder / "confusion.png")
    files = [source.test.files[position] for position in positions] if source.test.files else ()
    mistakes_table(probabilities, targets, labels, folder / "mistakes.csv", files)

    wrong, right = worst_mistakes(probabilities, targets), _right(probabilities, targets)
    looked_at = np.concatenate([wrong[:_LOOKS], right])
    images = _images(source, network, positions[np.concatenate([wrong, right])])
    predicted = probabilities.argmax(axis=1)
    names = [os.path.basename(files[i]) for i in wrong] if files else ()
    surest = (probabilities[wrong, predicted[wrong]], labels, folder / "mistakes.png")
    total = int((predicted != targets).sum())
    mistakes(images[: len(wrong)], targets[wrong], predicted[wrong], *surest, names, total)

    shown = np.concatenate([images[: len(wrong[:_LOOKS])], images[len(wrong) :]])
    heat = heat_maps(network, shown, predicted[looked_at])
    looks = [
        Look(
            image,
            lit,
            labels[predicted[i]],
            float(probabilities[i, predicted[i]]),
            labels[targets[i]],
            os.path.basename(files[i]) if files else "",
        )
        for i, image, lit in zip(looked_at.tolist(), shown, heat, strict=True)
    ]
    attention(looks, folder / "attention.png", len(targets))


def _right(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Indices of a handful of right answers, of as many classes as there can be, evenly spread over all of these."""
    answered = np.flatnonzero(probabilities.argmax(axis=1) == targets)
    _, first = np.unique(targets[answered], return_index=True)
    first = answered[first]
    return (
        first[np.unique(np.linspace(0, len(first) - 1, min(_LOOKS, len(first))).round().astype(int))] if len(first) else first
    )


def _images(source: Source, network: ImageClassifier, positions: np.ndarray) -> np.ndarray:
    """Returns the test images at these positions as the network sees them, uint8 [K, H, W, 3]; a vanished one is grey."""
    size = network.input_shape[1:3]
    result = np.full((len(positions), *size, 3), 128, np.uint8)
    places = {position: place for place, position in enumerate(positions.tolist())}
    if places:
        for position, image, _ in numbered_evaluation_images(source.test, network.preprocessing, size):
            if int(position) in places:
                result[places[int(position)]] = image.numpy()
    return result
