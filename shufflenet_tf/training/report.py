"""What a finished run leaves behind: the model in every form that is loaded later, its figures and its pictures."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from shufflenet_tf import complexity, origin
from shufflenet_tf.data import Source
from shufflenet_tf.evaluation.metrics import evaluate
from shufflenet_tf.files import atomic_path, write_text
from shufflenet_tf.loading import MODEL, save_saved_model
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.training import run_pictures
from shufflenet_tf.training.certainty import CertaintyReport, none_text, predict_numbered
from shufflenet_tf.training.checkpoint import Progress


def write_report(
    network: ImageClassifier,
    source: Source,
    progress: Progress,
    folder: pathlib.Path,
    batch_size: int = 64,
    saved_model: bool = True,
    started_from: Mapping[str, str] | None = None,
    part: float = 1.0,
) -> str:
    """Evaluates `network` on the test images, and writes everything that a finished run leaves in `folder`.

    Files: model.keras, labels.txt, saved_model/, metrics.json, the pictures of `run_pictures`, and reliability.png of a
    calibrated network.

    Args:
      network: with its best weights, calibrated if it can be; gets the labels of `source`.
      source: whose test images are used.
      progress: the history of the run.
      folder: of the run.
      batch_size: of the evaluation.
      saved_model: whether to write the SavedModel too.
      started_from: see `origin.origin`.
      part: of the way from these weights to the trained ones; see `interpolation`.

    Returns:
      The figures on the test images, for a terminal.
    """
    network.labels = list(source.labels)
    with atomic_path(folder / MODEL) as temporary:
        network.save(temporary)
    write_text(folder / "labels.txt", "\n".join(source.labels) + "\n")
    if saved_model:
        save_saved_model(network, folder / "saved_model")

    probabilities, targets, positions = predict_numbered(network, source.test, batch_size)
    evaluation = evaluate(probabilities, targets, source.labels)
    certainty = CertaintyReport.of(network, source, probabilities, targets, batch_size)
    metrics = _facts(network, source, progress, part) | {
        "interpolation": part,
        origin.KEY: started_from,
        "test": evaluation.to_json(),
        "certainty": certainty and certainty.to_json(),
    }
    write_text(folder / "metrics.json", json.dumps(metrics, indent=2, ensure_ascii=False) + "\n")
    run_pictures.draw(network, source, progress, evaluation, probabilities, targets, positions, folder, part)
    if certainty:
        certainty.draw(folder / "reliability.png")
    return f"{evaluation.text_table()}\n{certainty.text() if certainty else none_text(source)}"


def _facts(network: ImageClassifier, source: Source, progress: Progress, part: float) -> dict[str, Any]:
    """Returns what metrics.json has of a run besides its figures on the test images."""
    return {
        "model": network.name,
        "dataset": source.name,
        "dataset_spec": source.spec,
        "keep_copies": source.keep_copies,
        "input_shape": list(network.input_shape[1:]),
        "parameters": complexity.parameters(network),
        "multiply_adds": complexity.multiply_adds(network),
        "steps": progress.step,
        "weights": kept(progress, part),
        "epoch": progress.best_epoch,
        "training_images": source.train.size,
        "validation_images": source.validation.size if source.validation else 0,
    }


def kept(progress: Progress, part: float = 1.0) -> str:
    """Returns which weights a run has kept, and why; `part` as in `write_report`."""
    why = "the last one" if progress.best < 0 else "the best one on the validation images"
    epoch = f"those of epoch {progress.best_epoch}, {why}"
    if part == 1:
        return epoch
    layers = "the layers' first ones" if part == 0 else f"the layers' at {part:.0%} of the way from their first ones to {epoch}"
    return f"{layers}, with a recomputed classifier"
