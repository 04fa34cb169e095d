"""What a finished run leaves behind: the model in every form that is loaded later, its figures and its pictures."""

import json
import pathlib

import numpy as np

from shufflenet_tf import complexity
from shufflenet_tf.data import Source
from shufflenet_tf.data.pipeline import evaluation_images
from shufflenet_tf.evaluation import pictures
from shufflenet_tf.evaluation.metrics import evaluate, worst_mistakes
from shufflenet_tf.files import atomic_path
from shufflenet_tf.loading import MODEL, save_saved_model
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.training.certainty import CertaintyReport, calibrate, none_text, predict
from shufflenet_tf.training.checkpoint import Progress
from shufflenet_tf.training.settings import RunOptions


def write_report(
    network: ImageClassifier,
    source: Source,
    progress: Progress,
    folder: pathlib.Path,
    batch_size: int = 64,
    saved_model: bool = True,
    coverage: float = RunOptions.coverage,
) -> str:
    """Calibrates `network`, evaluates it on the test images, and writes everything that a finished run leaves in `folder`.

    Files: model.keras, labels.txt, saved_model/, metrics.json, training.png, confusion.png, mistakes.png, and reliability.png
    of a calibrated network.

    Args:
      network: with its best weights; gets the labels of `source`.
      source: whose test images are used.
      progress: the history of the run.
      folder: of the run.
      batch_size: of the evaluation.
      saved_model: whether to write the SavedModel too.
      coverage: see `certainty.calibrate`.

    Returns:
      The figures on the test images, for a terminal.
    """
    network.labels = list(source.labels)
    calibrate(network, source, coverage, batch_size)
    with atomic_path(folder / MODEL) as temporary:
        network.save(temporary)
    _write_text(folder / "labels.txt", "\n".join(source.labels) + "\n")
    if saved_model:
        save_saved_model(network, folder / "saved_model")

    probabilities, targets = predict(network, source.test, batch_size)
    evaluation = evaluate(probabilities, targets, source.labels)
    certainty = CertaintyReport.of(network, source, probabilities, targets, batch_size)
    metrics = {
        "model": network.name,
        "dataset": source.name,
        "dataset_spec": source.spec,
        "input_shape": list(network.input_shape[1:]),
        "parameters": complexity.parameters(network),
        "multiply_adds": complexity.multiply_adds(network),
        "steps": progress.step,
        "weights": kept(progress),
        "epoch": progress.best_epoch,
        "training_images": source.train.size,
        "validation_images": source.validation.size if source.validation else 0,
        "test": evaluation.to_json(),
        "certainty": certainty and certainty.to_json(),
    }
    _write_text(folder / "metrics.json", json.dumps(metrics, indent=2, ensure_ascii=False) + "\n")
    pictures.training_curves(progress.history, folder / "training.png")
    pictures.confusion(evaluation.confusion, source.labels, folder / "confusion.png")
    _draw_mistakes(network, source, probabilities, targets, folder / "mistakes.png")
    if certainty:
        certainty.draw(folder / "reliability.png")
    return f"{evaluation.text_table()}\n{certainty.text() if certainty else none_text(source)}"


def kept(progress: Progress) -> str:
    """Returns which epoch's weights a run has kept, and why."""
    why = "the last one" if progress.best < 0 else "the best one on the validation images"
    return f"those of epoch {progress.best_epoch}, {why}"


def _draw_mistakes(
    network: ImageClassifier, source: Source, probabilities: np.ndarray, targets: np.ndarray, path: pathlib.Path
) -> None:
    wrong = worst_mistakes(probabilities, targets)
    predicted = probabilities[wrong].argmax(-1)
    images = _images(source, network, wrong)
    pictures.mistakes(images, targets[wrong], predicted, probabilities[wrong, predicted], source.labels, path)


def _images(source: Source, network: ImageClassifier, indices: np.ndarray) -> np.ndarray:
    """Returns the test images of these indices as the network sees them, uint8 [K, H, W, 3], in the order of `indices`."""
    size = network.input_shape[1:3]
    wanted = set(indices.tolist())
    images = evaluation_images(source.test, network.preprocessing, size).enumerate()
    by_index = {int(i): image.numpy() for i, (image, _) in images if int(i) in wanted} if wanted else {}
    return np.stack([by_index[i] for i in indices.tolist()]) if wanted else np.zeros((0, *size, 3), np.uint8)


def _write_text(path: pathlib.Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
