"""What a finished run leaves behind: the model in every form that is loaded later, its figures and its pictures."""

import json
import pathlib

import numpy as np
import tensorflow as tf

from shufflenet_tf import complexity
from shufflenet_tf.data import Source
from shufflenet_tf.data.pipeline import evaluation_images
from shufflenet_tf.evaluation import pictures
from shufflenet_tf.evaluation.metrics import Evaluation, evaluate, worst_mistakes
from shufflenet_tf.files import atomic_path, write_text
from shufflenet_tf.loading import MODEL, save_saved_model
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.training.checkpoint import Progress


def write_report(
    network: ImageClassifier,
    source: Source,
    progress: Progress,
    folder: pathlib.Path,
    batch_size: int = 64,
    saved_model: bool = True,
) -> Evaluation:
    """Evaluates `network` on the test images and writes everything that a finished run leaves in `folder`.

    Files: model.keras, labels.txt, saved_model/, metrics.json, training.png, confusion.png, mistakes.png.

    Args:
      network: with its best weights; gets the labels of `source`.
      source: whose test images are used.
      progress: the history of the run.
      folder: of the run.
      batch_size: of the evaluation.
      saved_model: whether to write the SavedModel too.

    Returns:
      The figures on the test images.
    """
    size = network.input_shape[1:3]
    network.labels = list(source.labels)
    with atomic_path(folder / MODEL) as temporary:
        network.save(temporary)
    write_text(folder / "labels.txt", "\n".join(source.labels) + "\n")
    if saved_model:
        save_saved_model(network, folder / "saved_model")

    probabilities, targets, worst = _predict(network, source, size, batch_size)
    evaluation = evaluate(probabilities, targets, source.labels)
    metrics = {
        "model": network.name,
        "dataset": source.name,
        "dataset_spec": source.spec,
        "input_shape": list(network.input_shape[1:]),
        "parameters": complexity.parameters(network),
        "multiply_adds": complexity.multiply_adds(network),
        "steps": progress.step,
        "weights": "those with the highest top-1 on the test images",
        "training_images": source.train.size,
        "test": evaluation.to_json(),
    }
    write_text(folder / "metrics.json", json.dumps(metrics, indent=2, ensure_ascii=False) + "\n")
    pictures.training_curves(progress.history, folder / "training.png")
    pictures.confusion(evaluation.confusion, source.labels, folder / "confusion.png")
    wrong = np.array(list(worst), np.int64)
    predicted = probabilities[wrong].argmax(-1)
    images = np.stack(list(worst.values())) if worst else np.zeros((0, *size, 3), np.uint8)
    pictures.mistakes(
        images, targets[wrong], predicted, probabilities[wrong, predicted], source.labels, folder / "mistakes.png"
    )
    return evaluation


def _predict(
    network: ImageClassifier, source: Source, size: tuple[int, int], batch_size: int
) -> tuple[np.ndarray, np.ndarray, dict[int, np.ndarray]]:
    """Returns probabilities [N, C], class indices [N] and, by index, the images of the worst mistakes, the worst first.

    One pass for all: a photo that vanished between two of them would shift the indices.
    """
    infer = tf.function(lambda images: network(network.preprocessing.normalize(images), training=False), reduce_retracing=True)
    probabilities = np.zeros((source.test.size, len(source.labels)), np.float32)
    targets, done, kept = np.zeros(len(probabilities), np.int64), 0, {}
    for images, labels in (
        evaluation_images(source.test, network.preprocessing, size).batch(batch_size).prefetch(tf.data.AUTOTUNE)
    ):
        end = done + len(labels)
        probabilities[done:end], targets[done:end] = infer(images), labels
        kept |= zip(range(done, end), images.numpy(), strict=True)
        candidates = np.array(sorted(kept))
        worst = candidates[worst_mistakes(probabilities[candidates], targets[candidates])]
        kept, done = {int(index): kept[index] for index in worst}, end
    return probabilities[:done], targets[:done], kept
