"""Compares .tflite files with the network that they were converted from, on the same pixels."""

import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

import shufflenet_tf as st
from export.flatbuffer import inspection
from export.measure.agreement import Comparison, Tally, Verification
from export.measure.file_names import short_names
from export.measure.layer_noise import LayerNoise, layer_noise, matching_layers
from shufflenet_tf import imagenet
from shufflenet_tf.data import Source, Split
from shufflenet_tf.data.pipeline import evaluation_images
from shufflenet_tf.errors import UserError, printable
from shufflenet_tf.tflite_classifier import LiteClassifier

BATCH = 32
LAYER_IMAGES = 16  # for measuring the noise of layers

Batch = tuple[np.ndarray, np.ndarray | None]


def verify(
    reference: st.Bundle | str | os.PathLike,
    candidates: Sequence[str | os.PathLike],
    images: Iterable[Batch],
    threads: int = 1,
) -> Verification:
    """Compares .tflite files with the model that they were converted from, on the same pixels.

    Args:
      reference: the original model, or its path.
      candidates: the .tflite files.
      images: batches of (uint8 [N, H, W, 3] cropped to the model's size, int class indices [N] or None), read once; see
        `batches`.
      threads: threads of each interpreter.

    Raises:
      UserError: there is no image or no file, a file is missing or damaged, or its classes or size differ from the reference.
    """
    bundle = reference if isinstance(reference, st.Bundle) else st.load(reference)
    name = getattr(reference.model, "name", "the original") if bundle is reference else printable(os.fspath(reference))
    paths = [os.fspath(path) for path in candidates]
    if not paths:
        raise UserError("There is nothing to verify: give one or more .tflite files.")
    classifiers = [_classifier(path, bundle, threads) for path in paths]
    labels = _labels(bundle, classifiers)
    tallies = [Tally() for _ in paths]
    reference_tally, first = Tally(), []
    for pixels, targets in images:
        expected = _checked(bundle.classify(pixels), name)
        reference_tally.add(pixels, targets, expected, expected, labels)
        for tally, classifier, path in zip(tallies, classifiers, paths, strict=True):
            tally.add(pixels, targets, expected, _checked(classifier(pixels), path), labels)
        first += list(pixels[: LAYER_IMAGES - len(first)])
    if not reference_tally.images:
        raise UserError("There are no images to verify on: give a dataset with images.")
    names = short_names(paths)
    noise = _noise(dict(zip(paths, names, strict=True)), np.stack(first))
    comparisons = tuple(
        Comparison(short, path, *noise[path], tuple(tally.worst), **tally.figures(), sureness=tally.sureness(bundle.threshold))
        for short, path, tally in zip(names, paths, tallies, strict=True)
    )
    figures = reference_tally.figures()
    about = (name, reference_tally.images, labels, figures["top1"], figures["top5"])
    return Verification(*about, comparisons, bundle.threshold, reference_tally.sureness(bundle.threshold))


def batches(source: Source | Split, bundle: st.Bundle, images: int = 0) -> Iterator[Batch]:
    """Yields images of a dataset's test part in the form that `verify` takes.

    Args:
      source: a dataset; its labels are mapped to the model's by name, and if one is missing, no image has a label. Labels of a
        bare Split are the model's class indices.
      bundle: the model; gives the size and the preprocessing.
      images: number of images, drawn at random with a fixed seed; 0: all, in order.

    Raises:
      UserError: there are too few images, or none.
    """
    split = source.test if isinstance(source, Source) else source
    name = source.name if isinstance(source, Source) else "The dataset"
    if images > split.size or not split.size:
        raise UserError(
            f"{name} has {split.size:,} test images, but {images or 'some'} were requested: give fewer, or more images."
        )
    classes = _class_indices(source.labels, bundle) if isinstance(source, Source) else None
    drawn = split.drawn() if images else split
    dataset = evaluation_images(drawn, bundle.preprocessing, bundle.size).take(images or split.size).batch(BATCH)
    for pixels, targets in dataset.as_numpy_iterator():
        if isinstance(source, Source):
            targets = None if classes is None else classes[targets]
        yield pixels, targets


def _classifier(path: str, bundle: st.Bundle, threads: int) -> LiteClassifier:
    inspection.read(path)  # refuses files that would crash LiteRT
    classifier = LiteClassifier(path, threads)
    classes, size = int(bundle.model.output_shape[-1]), tuple(bundle.size)
    if classifier.output_shape[1] != classes:
        raise UserError(f"{path} has {classifier.output_shape[1]} classes, the original {classes}: give conversions of it.")
    if classifier.input_shape[1:3] != size:
        sizes = ("x".join(map(str, side)) for side in (classifier.input_shape[1:3], size))
        raise UserError("{} takes images of {}, but the original takes {}: give conversions of it.".format(path, *sizes))
    if classifier.labels and bundle.labels and tuple(classifier.labels) != tuple(bundle.labels):
        raise UserError(f"{path} and the original have different labels: give conversions of the original.")
    return classifier


def _labels(bundle: st.Bundle, classifiers: Sequence[LiteClassifier]) -> tuple[str, ...]:
    known = bundle.labels or next((c.labels for c in classifiers if c.labels), None)
    classes = int(bundle.model.output_shape[-1])
    return tuple(known or (imagenet.labels() if classes == imagenet.CLASSES else (f"class {i}" for i in range(classes))))


def _class_indices(names: Sequence[str], bundle: st.Bundle) -> np.ndarray | None:
    """Maps each class of a dataset to the model's class index, int64; None: the model lacks one of them."""
    classes = int(bundle.model.output_shape[-1])
    labels = bundle.labels or (imagenet.labels() if classes == imagenet.CLASSES else None)
    if labels is None:
        return np.arange(classes) if len(names) == classes else None
    places = {label.casefold(): i for i, label in enumerate(labels)}
    if tuple(labels) == imagenet.labels():
        places |= {synset: i for i, synset in enumerate(imagenet.synsets())}
    indices = [places.get(name.casefold()) for name in names]
    return None if None in indices else np.array(indices, np.int64)


def _checked(probabilities: np.ndarray, name: str) -> np.ndarray:
    if not np.isfinite(probabilities).all():
        raise UserError(f"{name} returns NaN or infinity: it is damaged, or its training diverged.")
    return probabilities


def _noise(names: dict[str, str], pixels: np.ndarray) -> dict[str, tuple[tuple[LayerNoise, ...], str]]:
    """Measures each file's layer noise against the float file that shares most layers; else gives a sentence why not.

    Args:
      names: short names of the files, by path.
      pixels: uint8 [N, H, W, 3].
    """
    graphs = {path: inspection.read(path) for path in names}
    floats = [path for path in names if not inspection.is_quantized(graphs[path])]
    results = {path: ((), "") for path in floats}
    for path in names.keys() - results.keys():
        shared = {other: len(matching_layers(graphs[other], graphs[path])) for other in floats}
        best = max(floats, key=shared.__getitem__, default=None)
        if best is None:
            results[path] = (), "The noise of layers is not measured: this needs the float .tflite file of the same conversion."
            continue
        layers = tuple(layer_noise(best, path, pixels)) if shared[best] else ()
        without = "The noise of layers is not measured: no float file has layers of the same names and channels."
        results[path] = layers, names[best] if layers else without
    return results
