"""How far .tflite files are from the model that they were made of, on the same pixels.

  python -m export.verify --model=runs/v2 a.tflite b.tflite --dataset=folder:PATH [--images=N] [--output=FOLDER]

Accuracy of each, agreement with the original, differences of the probabilities, and the images on which they are largest.
If one of the files is a float model and another its int8 version, as they come out of the converter, the noise that
quantization adds is measured layer by layer. --output gets verify.json and verify.png.
"""

import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Iterable, Iterator, Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from absl import flags

import shufflenet_tf as st
from export import cli
from export.flatbuffer import inspection
from export.measure.agreement import Comparison, Report, Tally, markdown
from export.measure.layer_noise import Layer, layer_noise, matching_layers
from export.report import pictures
from shufflenet_tf import imagenet
from shufflenet_tf.data import Source, Split, open_source
from shufflenet_tf.data.pipeline import evaluation_images
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import atomic_path, check_writable
from shufflenet_tf.tflite_classifier import LiteClassifier

FLAGS = cli.flag_values()
flags.DEFINE_string("model", None, "The original: a .keras file, the folder of a run, or a checkpoint.", flag_values=FLAGS)
flags.DEFINE_string("dataset", None, "Images: folder:PATH, tfds:NAME or shapes; its test part is used.", flag_values=FLAGS)
flags.DEFINE_string("data_dir", None, "Where TensorFlow Datasets are prepared.", flag_values=FLAGS)
flags.DEFINE_integer("images", 0, "How many images, drawn at random; 0: all.", 0, flag_values=FLAGS)
flags.DEFINE_integer("threads", 1, "Threads of each interpreter.", 1, flag_values=FLAGS)
flags.DEFINE_string("output", None, "Folder for verify.json and verify.png.", flag_values=FLAGS)

BATCH = 32
LAYER_IMAGES = 16  # that the noise of layers is measured on

Batch = tuple[np.ndarray, np.ndarray | None]


def verify(
    reference: st.Bundle | str | os.PathLike,
    candidates: Sequence[str | os.PathLike],
    images: Iterable[Batch],
    threads: int = 1,
) -> Report:
    """Compares .tflite files with the model that they were made of, on the same pixels.

    Args:
      reference: the original, or where it is.
      candidates: the .tflite files.
      images: batches of (uint8 [N, H, W, 3] cut to the model's size, int class indices [N] or
        None), read once; see `batches`.
      threads: of each interpreter.

    Raises:
      UserError: no image, no file, one that is missing or damaged, or other classes or sizes than the reference has.
    """
    bundle = reference if isinstance(reference, st.Bundle) else st.load(reference)
    name = getattr(reference.model, "name", "the original") if bundle is reference else os.fspath(reference)
    paths = [os.fspath(path) for path in candidates]
    if not paths:
        raise UserError("There is nothing to verify: give one or more .tflite files.")
    classifiers = [_classifier(path, bundle, threads) for path in paths]
    labels = _labels(bundle, classifiers)
    tallies = [Tally() for _ in paths]
    own, first = Tally(), []
    for pixels, targets in images:
        expected = _checked(bundle.classify(pixels), name)
        own.add(pixels, targets, expected, expected, labels)
        for tally, classifier, path in zip(tallies, classifiers, paths, strict=True):
            tally.add(pixels, targets, expected, _checked(classifier(pixels), path), labels)
        first += list(pixels[: LAYER_IMAGES - len(first)])
    if not own.images:
        raise UserError("There are no images to verify on: give a dataset that has some.")
    names = pictures.short_names(paths)
    noise = _noise(dict(zip(paths, names, strict=True)), np.stack(first))
    comparisons = tuple(
        Comparison(short, path, *noise[path], worst=tuple(tally.worst), **tally.figures())
        for short, path, tally in zip(names, paths, tallies, strict=True)
    )
    figures = own.figures()
    return Report(name, own.images, labels, figures["top1"], figures["top5"], comparisons)


def batches(source: Source | Split, bundle: st.Bundle, images: int = 0) -> Iterator[Batch]:
    """Yields images of a dataset's test part as `verify` takes them.

    Args:
      source: a dataset; its labels are looked up among the model's, and images go without where one is not found. Labels of a
        bare Split are the model's class indices.
      bundle: the model, for its size and preprocessing.
      images: how many, drawn at random but always the same; 0: all, in order.

    Raises:
      UserError: there are fewer than asked for, or none.
    """
    split = source.test if isinstance(source, Source) else source
    name = source.name if isinstance(source, Source) else "The dataset"
    if images > split.size or not split.size:
        raise UserError(
            f"{name} has {split.size:,} images to test on, and {images or 'some'} are asked for: give fewer, or more images."
        )
    classes = _class_indices(source.labels, bundle) if isinstance(source, Source) else None
    drawn = Split(split.size, lambda _: split.examples(0)) if images else split
    dataset = evaluation_images(drawn, bundle.preprocessing, bundle.size).take(images or split.size).batch(BATCH)
    for pixels, targets in dataset.as_numpy_iterator():
        if isinstance(source, Source):
            targets = None if classes is None else classes[targets]
        yield pixels, targets


def write(report: Report, folder: str | os.PathLike) -> None:
    """Writes verify.json and verify.png."""
    folder = pathlib.Path(folder)
    with atomic_path(folder / "verify.json") as temporary:
        temporary.write_text(
            json.dumps(report.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )
    pictures.verification(report, folder / "verify.png")


def _classifier(path: str, bundle: st.Bundle, threads: int) -> LiteClassifier:
    inspection.read(path)  # refuses what LiteRT would crash on
    classifier = LiteClassifier(path, threads)
    classes, size = int(bundle.model.output_shape[-1]), tuple(bundle.size)
    if classifier.output_shape[1] != classes:
        raise UserError(f"{path} has {classifier.output_shape[1]} classes, and the original {classes}: give files made of it.")
    if classifier.input_shape[1:3] != size:
        sizes = ("x".join(map(str, side)) for side in (classifier.input_shape[1:3], size))
        raise UserError("{} takes images of {}, and the original of {}: give files made of it.".format(path, *sizes))
    if classifier.labels and bundle.labels and tuple(classifier.labels) != tuple(bundle.labels):
        raise UserError(f"{path} has other labels than the original: give files made of it.")
    return classifier


def _labels(bundle: st.Bundle, classifiers: Sequence[LiteClassifier]) -> tuple[str, ...]:
    known = bundle.labels or next((c.labels for c in classifiers if c.labels), None)
    classes = int(bundle.model.output_shape[-1])
    return tuple(known or (imagenet.labels() if classes == imagenet.CLASSES else (f"class {i}" for i in range(classes))))


def _class_indices(names: Sequence[str], bundle: st.Bundle) -> np.ndarray | None:
    """The model's class of each of a dataset's, int64; None: it doesn't know one of them."""
    classes = int(bundle.model.output_shape[-1])
    labels = bundle.labels or (imagenet.labels() if classes == imagenet.CLASSES else None)
    if labels is None:
        return np.arange(classes) if len(names) == classes else None
    places = {label.casefold(): i for i, label in enumerate(labels)}
    if tuple(labels) == imagenet.labels():
        places |= {synset: i for i, synset in enumerate(imagenet.synsets())}
    found = [places.get(name.casefold()) for name in names]
    return None if None in found else np.array(found, np.int64)


def _checked(probabilities: np.ndarray, name: str) -> np.ndarray:
    if not np.isfinite(probabilities).all():
        raise UserError(f"{name} gives no numbers: it is damaged, or its training diverged.")
    return probabilities


def _noise(names: dict[str, str], pixels: np.ndarray) -> dict[str, tuple[tuple[Layer, ...], str]]:
    """The layers' noise of each file against the float file that shares most layers, or a sentence why there is none.

    Args:
      names: of the files, by path.
      pixels: uint8 [N, H, W, 3].
    """
    graphs = {path: inspection.read(path) for path in names}
    floats = [path for path in names if not inspection.is_quantized(graphs[path])]
    results = {path: ((), "") for path in floats}
    for path in names.keys() - results.keys():
        shared = {other: len(matching_layers(graphs[other], graphs[path])) for other in floats}
        best = max(floats, key=shared.__getitem__, default=None)
        if best is None:
            results[path] = (), "The noise of layers is not measured: it takes the float .tflite of the same conversion too."
        elif not shared[best]:
            results[path] = (), "The noise of layers is not measured: none has the same name and channels in a float file."
        else:
            results[path] = tuple(layer_noise(best, path, pixels)), names[best]
    return results


def main(paths: list[str]) -> None:
    """Verifies the files, prints the table and writes the report."""
    for flag in ("model", "dataset"):
        if not FLAGS[flag].value:
            raise UserError(f"--{flag}= is missing: --help shows how to use this.")
    if FLAGS.output:
        check_writable(FLAGS.output)
    bundle = st.load(FLAGS.model)
    source = open_source(FLAGS.dataset, data_dir=FLAGS.data_dir)
    report = verify(bundle, paths, batches(source, bundle, FLAGS.images), FLAGS.threads)
    report = dataclasses.replace(report, name=FLAGS.model)
    print(markdown(report))
    if FLAGS.output:
        write(report, FLAGS.output)
        print(f"\nwritten: {', '.join(str(pathlib.Path(FLAGS.output) / f'verify.{kind}') for kind in ('json', 'png'))}")


if __name__ == "__main__":
    sys.exit(cli.run("export.verify", __doc__, FLAGS, main, sys.argv))
