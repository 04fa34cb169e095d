"""What is on photos: file names in, named classes out."""

import dataclasses
import multiprocessing.pool
import os
from collections.abc import Iterator, Sequence

import numpy as np

from shufflenet_tf import imagenet
from shufflenet_tf.data import photos as photo_files
from shufflenet_tf.data.decode import UndecodableError
from shufflenet_tf.errors import UserError
from shufflenet_tf.loading import Bundle, load
from shufflenet_tf.tflite_classifier import LiteClassifier

BATCH = 16  # photos that are decoded at a time


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A class that a photo may show.

    Attributes:
      label: its name.
      probability: 0 to 1.
      index: its place among the model's outputs.
      sure: whether the probability reaches the model's threshold; if a photo's first class doesn't, the answer is "not sure".
    """

    label: str
    probability: float
    index: int
    sure: bool = True


@dataclasses.dataclass(frozen=True)
class ClassNames:
    """Names of a model's classes in order; `synsets`: WordNet's ids where they are ImageNet's, else None."""

    labels: tuple[str, ...]
    synsets: tuple[str, ...] | None = None


def classify_photos(
    model: Bundle | str | os.PathLike, photos: Sequence[str | os.PathLike], top: int = 5
) -> list[list[Prediction]]:
    """Classifies photos.

    Args:
      model: what `load` or `train` returned, or the path that `load` takes: a run's folder, a .keras, .tflite, .npz or .pth.
      photos: paths of JPEG, PNG, WebP, BMP or GIF files of any size; rotated photos are handled.
      top: number of classes for each photo, at least 1.

    Returns:
      For each photo its `top` likeliest classes, the likeliest first.

    Raises:
      UserError: a photo or the model can't be read, or the model returns no probabilities.
    """
    if isinstance(photos, str | os.PathLike):
        raise UserError(f"One path was given as the photos ({os.fspath(photos)}): give a list, such as [path].")
    if top < 1:
        raise UserError(f"top={top} asks for no class: give 1 or more.")
    bundle = model if isinstance(model, Bundle) else load(model)
    name = "The model" if model is bundle else os.fspath(model)
    labels, threshold = class_names(bundle, name).labels, bundle.threshold or 0.0
    results = []
    for batch in read_batches(bundle, photos):
        for path, image in batch:
            if isinstance(image, str):
                raise UserError(f"{os.fspath(path)} can't be read ({image}): give JPEG, PNG, WebP, BMP or GIF files.")
        for row in probabilities(bundle, np.stack([image for _, image in batch]), name):
            indices = imagenet.likeliest(row, top).tolist()
            likeliest = [(labels[index], float(row[index]), index) for index in indices]
            results.append([Prediction(*one, sure=one[1] >= threshold) for one in likeliest])
    return results


def class_names(bundle: Bundle, model: str, given: tuple[str, ...] | None = None, source: str | None = None) -> ClassNames:
    """Returns the names of a model's classes: those given, the model's, ImageNet's for a thousand, or numbers.

    Args:
      bundle: the model.
      model: its name in messages.
      given: names to use in place of the model's.
      source: where these come from, in messages.

    Raises:
      UserError: the model has no classifier, or the numbers of names and classes differ.
    """
    shape = bundle.model.output_shape
    if len(shape) != 2:
        raise UserError(f"{model} has no classifier, only features: give a whole model.")
    classes = shape[1]
    # Foreign .tflite files of as many classes are common, and name their own if they are ImageNet's.
    is_imagenet = classes == imagenet.CLASSES and not isinstance(bundle.model, LiteClassifier)
    labels = given or bundle.labels or (imagenet.labels() if is_imagenet else None)
    labels = labels or tuple(f"class {index}" for index in range(classes))
    if len(labels) != classes:
        named = f"{source if given else model} has {len(labels)} labels"
        raise UserError(f"{named}, but the model has {classes} classes: the numbers must agree.")
    if labels in (imagenet.labels(), imagenet.synsets()):
        return ClassNames(imagenet.labels(), imagenet.synsets())
    return ClassNames(labels)


def read_batches(
    bundle: Bundle, paths: Sequence[str | os.PathLike]
) -> Iterator[list[tuple[str | os.PathLike, np.ndarray | str]]]:
    """Yields batches of (path, pixels): uint8 [height, width, 3] as the network sees them, or why the photo can't be read."""

    def read(path: str | os.PathLike) -> np.ndarray | str:
        try:
            return photo_files.read(path, bundle.preprocessing, bundle.size)
        except UndecodableError as reason:
            return str(reason)

    with multiprocessing.pool.ThreadPool(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(paths), BATCH):
            batch = paths[start : start + BATCH]
            yield list(zip(batch, pool.map(read, batch, 1), strict=True))


def probabilities(bundle: Bundle, images: np.ndarray, model: str) -> np.ndarray:
    """Returns the probabilities, float32 [N, classes], of images uint8 [N, height, width, 3].

    Raises:
      UserError: the model, which the message calls `model`, returns something else.
    """
    result = bundle.classify(images)
    if not np.isfinite(result).all():
        raise UserError(f"{model} gives no numbers: it is damaged, or its training diverged.")
    if not (result.min() >= 0 and result.max() <= 1 + 1e-3):
        raise UserError(
            f"{model} gives values of {result.min():g} to {result.max():g} where probabilities are expected: "
            "give a model that ends with a softmax."
        )
    return result
