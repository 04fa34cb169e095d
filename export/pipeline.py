"""The complete export of a network: convert, quantize, optimize, attach metadata, verify, time.

    from export.pipeline import export_files
    export_files("runs/v2", kinds=["int8"], max_drop=0.5)

`export_files` runs all steps with `convert_all`, `finish` and `measure`, and writes the files; `export` runs the first two.
"""

import dataclasses
import functools
import itertools
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

import shufflenet_tf as st
from export import ptq
from export.convert.calibration_images import read_calibration_images
from export.convert.from_keras import convert, trace
from export.convert.precision import CALIBRATED, KINDS, Precision
from export.flatbuffer import metadata
from export.flatbuffer.model import TfliteModel
from export.measure.agreement import Verification
from export.measure.benchmarking import benchmark
from export.measure.verification import Batch, batches, verify
from export.optimize import in_background, resolve
from export.optimize.targets import PHONE, Target
from export.ptq import mixed_precision
from export.report import export_report
from export.report.layer_table import NoiseRow, layer_rows
from export.report.records import ExportedModel, ExportResults, Figures
from shufflenet_tf.data import Source, open_source
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import check_writable
from shufflenet_tf.loading import training_dataset, training_division
from shufflenet_tf.options import check, option, split
from shufflenet_tf.weights import hub

FOLDER = "export"  # in a run's folder, or beside a file
# Int8 graph, as converted, that quantization-aware training leaves in a run's folder.
QAT_FOLDER, QAT_GRAPH = "qat", "int8_as_converted.tflite"
TRAINED = "int8_trained"  # kind of the file exported from it

_NOISE_IMAGES = 12  # for measuring the noise of layers
_HELD_OUT = 3  # holds out one in three calibration images to measure the drop
_RECIPES = {"int8": ptq.BEST, "int16": ptq.BEST_INT16}


@dataclasses.dataclass(frozen=True)
class ExportSettings:
    """Settings of an export; each field is also a flag of `python -m export.tflite`.

    Raises:
      UserError: a value is out of range, a kind is unknown, or `max_drop` is given without int8.
    """

    kinds: Sequence[str] = ("float32", "float16", "int8")  # of `export.convert.precision.KINDS`
    calibration: str | None = option(
        None, "Photos that calibrate int8's ranges: a folder or a dataset; default: the run's training images."
    )
    calibration_images: int = option(200, "Number of calibration images.", 1)
    test: str | None = option(None, "Dataset to verify on; default: the run's test images, or else the calibration images.")
    test_images: int = option(200, "Maximum number of test images.", 1)
    data_dir: str | None = option(None, "Folder of prepared TensorFlow Datasets; default: a folder in your home.")
    int8_output: str = option("uint8", "Type of the int8 file's probabilities.", choices=("uint8", "float32"))
    ptq: str = option(
        "best",
        "How to choose int8's weights and scales: best corrects them on the photos (minutes); minmax is TensorFlow's method.",
        choices=("best", "minmax"),
    )
    max_drop: float | None = None  # accepted loss of accuracy by int8, in points; None: all layers stay in int8
    threads: int = option(1, "Interpreter threads to optimize the files for.", 1)
    target: str | Target = PHONE
    runs: int = option(30, "Timed runs of each file.", 1)

    def __post_init__(self):
        check(self)
        if unknown := [kind for kind in self.kinds if kind not in KINDS]:
            raise UserError(f"--kinds has an unknown kind {unknown[0]!r}: use {', '.join(KINDS)}.")
        if self.max_drop is not None and "int8" not in self.kinds:
            raise UserError(f"--max_drop applies to int8, but --kinds={','.join(self.kinds)} lacks it: add int8 to --kinds.")


@dataclasses.dataclass(frozen=True)
class Conversion:
    """A converted network, before the optimizer.

    Attributes:
      converted: result of TensorFlow's converter.
      quantized: result of post-training quantization; else the same as `converted`.
      noise: quantization noise of each layer in both; empty: not measured.
    """

    converted: TfliteModel
    quantized: TfliteModel
    noise: tuple[NoiseRow, ...] = ()

    @classmethod
    def unchanged(cls, content: bytes, kind: str) -> "Conversion":
        """Returns a conversion without post-training quantization."""
        model = TfliteModel(content, kind)
        return cls(model, model)


def convert_all(
    bundle: st.Bundle,
    precisions: Iterable[Precision],
    best: bool = False,
    max_drop: float | None = None,
    held_out: Sequence[np.ndarray] = (),
) -> Iterator[Conversion]:
    """Converts a network to several precisions.

    Args:
      bundle: the network.
      precisions: one per conversion.
      best: whether `ptq.quantize` tunes the weights, biases and scales of int8 and int16.
      max_drop: accuracy that int8 may lose, 0-1; see `mixed_precision.mix`. None: all layers stay in int8.
      held_out: uint8 images [H, W, 3] on which to measure the drop; empty: int8's calibration images.

    Raises:
      UserError: see `convert` and `ptq.quantize`.
    """
    traced = trace(bundle.model)
    floats = convert(traced)
    for precision in precisions:
        kind = precision.kind
        content = floats if kind == "float32" else convert(traced, precision)
        mixed = kind == "int8" and max_drop is not None
        if kind not in CALIBRATED or not (best or mixed):
            yield Conversion.unchanged(content, kind)
            continue
        images = precision.calibration
        pair = ptq.quantize(floats, content, images, _RECIPES[kind] if best else ptq.MINMAX)
        result, steps, noise = pair.model, list(pair.steps), ()
        if kind == "int8" and best:
            noise = layer_rows({"min-max": ptq.QuantizedPair(content, floats), "best": pair}, images[:_NOISE_IMAGES])
        if mixed:
            mixture = mixed_precision.mix(pair, held_out if len(held_out) else images, max_drop)
            result, steps = mixture.model, [*steps, mixture.step]
        yield Conversion(TfliteModel(content, kind), TfliteModel(result, kind, tuple(steps)), tuple(noise))


def finish(
    bundle: st.Bundle, conversions: Iterable[Conversion], threads: int = 1, target: str | Target = PHONE
) -> Iterator[ExportedModel]:
    """Optimizes conversions of a network and attaches metadata.

    Args:
      bundle: the network, its labels and its preprocessing.
      conversions: may be a generator: one is optimized while the next is still being converted.
      threads: interpreter threads to optimize the files for.
      target: the processor to optimize the files for; see `optimize`.

    Raises:
      UserError: a file can't be optimized; see also `metadata.attach`.
    """
    model = bundle.model
    labels = bundle.labels or [f"class {i}" for i in range(model.output_shape[-1])]
    about = f"{model.name}, {st.complexity.parameters(model):,} parameters"

    def with_metadata(content: bytes, kind: str) -> bytes:
        description = f"{about}, {kind}"
        return metadata.attach(content, model.name, description, labels, bundle.preprocessing, threshold=bundle.threshold)

    with in_background(threads, resolve(target), timed=False) as begin:
        jobs = [(conversion, begin(conversion.quantized.content)) for conversion in conversions]
        for conversion, job in jobs:
            optimization, kind = job.result(), conversion.converted.kind
            yield ExportedModel(
                conversion.converted.then(with_metadata(conversion.converted.content, kind)),
                conversion.quantized.then(with_metadata(optimization.model, kind), optimization.steps, optimized=True),
                optimization,
                conversion.noise,
            )


def export(
    bundle: st.Bundle, precisions: Iterable[Precision], threads: int = 1, target: str | Target = PHONE
) -> Iterator[ExportedModel]:
    """Converts and optimizes a network with TensorFlow's quantization; see `convert_all` and `finish`."""
    return finish(bundle, convert_all(bundle, precisions), threads, target)


def measure(
    bundle: st.Bundle, models: Mapping[str, TfliteModel], images: Iterable[Batch], threads: int = 1, runs: int = 30
) -> tuple[Verification, dict[str, Figures]]:
    """Compares models with the original network, and times them in turns.

    Args:
      bundle: the network.
      models: models by name.
      images: see `verify`.
      threads: interpreter threads; with one thread, CPU time is measured.
      runs: timed runs of each model.

    Returns:
      The full comparison, and the measurements of each model by name.
    """
    with tempfile.TemporaryDirectory() as scratch:
        paths = [pathlib.Path(scratch) / f"{name.removesuffix('.tflite')}.tflite" for name in models]
        for path, model in zip(paths, models.values(), strict=True):
            model.write(path)
        verification = verify(bundle, paths, images, threads)
        timings = benchmark(paths, threads, runs, cpu_time=threads == 1)
    pairs = zip(models, verification.comparisons, timings, strict=True)
    return verification, {name: Figures(comparison, timing) for name, comparison, timing in pairs}


def export_files(
    path: str | pathlib.Path,
    output: str | pathlib.Path | None = None,
    say: Callable[[str], None] = lambda sentence: None,
    **options: Any,
) -> ExportResults:
    """Exports a trained network; writes files, measurements and charts only after every step has succeeded.

    Args:
      path: a run's folder, .keras file or checkpoint.
      output: folder for the files; None: export/ in the run's folder, or beside the file.
      say: called with a sentence before each long step.
      **options: fields of `ExportSettings`.

    Raises:
      UserError: the model, the images or the folder can't be used, or calibration images are missing.
    """
    settings = ExportSettings(**split(options, ExportSettings)[0])
    path, target = pathlib.Path(path), resolve(settings.target)
    folder = pathlib.Path(output) if output else beside(path, FOLDER)
    bundle = st.load(path)
    if not isinstance(bundle.model, st.ImageClassifier):
        raise UserError(f"{path} is already a .tflite file: give the original model, or run export.optimize on the file.")
    # Once for calibration and test: photos are checked whenever they are opened.
    opened = functools.cache(lambda spec: open_source(spec, data_dir=settings.data_dir, **training_division(path, spec)))
    calibration, held_out = _calibration(bundle, path, settings, opened, say)
    tested = settings.test or training_dataset(path)
    images = list(_test_batches(bundle, opened(tested) if tested else None, calibration, settings.test_images))
    check_writable(folder)
    say(f"Converting {bundle.model.name} to {', '.join(settings.kinds)}, and optimizing")
    precisions = [Precision(k, settings.int8_output, calibration if k in CALIBRATED else ()) for k in settings.kinds]
    max_drop = None if settings.max_drop is None else settings.max_drop / 100
    conversions = convert_all(bundle, precisions, settings.ptq == "best", max_drop, held_out)
    conversions = itertools.chain(conversions, trained_conversion(path, settings.kinds))
    exported = tuple(finish(bundle, conversions, settings.threads, target))
    models = {name: model for one in exported for name, model in one.versions.items()}
    say(f"Verifying the files on {sum(len(pixels) for pixels, _ in images)} images, and timing them")
    verification, figures = measure(bundle, models, images, settings.threads, settings.runs)
    about = (bundle.model.name, bundle.size, target, settings.threads, settings.runs)
    results = ExportResults(*about, exported, verification, figures)
    export_report.write(results, folder)
    return results


def beside(path: pathlib.Path, name: str) -> pathlib.Path:
    """Returns the folder `name` in a run's folder, or beside a file; for a shared model, in a folder of its name here."""
    if hub.is_address(path):
        return pathlib.Path(hub.name_of(path)) / name
    return (path if path.is_dir() else path.parent) / name


def _calibration(
    bundle: st.Bundle, path: pathlib.Path, settings: ExportSettings, opened: Callable[[str], Source], say: Callable[[str], None]
) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray]]:
    """Returns calibration images and held-out images for measuring the drop; both are empty if no kind needs any."""
    needing = [kind for kind in settings.kinds if kind in CALIBRATED]
    if not needing:
        return [], []
    spec = settings.calibration or training_dataset(path)
    if spec is None:
        raise UserError(f"{needing[0]} needs images to calibrate the ranges of activations: give --calibration=FOLDER.")
    say(f"Reading {settings.calibration_images} images from {spec}")
    images = read_calibration_images(spec, bundle, settings.calibration_images, opened)
    if settings.max_drop is None:
        return images, []
    held_out, images = np.split(np.stack(images), [len(images) // _HELD_OUT])
    return images, held_out


def _test_batches(bundle: st.Bundle, source: Source | None, calibration: Sequence[np.ndarray], count: int) -> Iterator[Batch]:
    """Yields test images: from the dataset, else the calibration images, else noise."""
    if source is not None:
        yield from batches(source, bundle, min(count, source.test.size))
    elif len(calibration):
        yield np.stack(calibration[:count]), None
    else:
        yield np.random.default_rng(0).integers(0, 256, (16, *bundle.size, 3), np.uint8), None


def trained_conversion(path: pathlib.Path, kinds: Sequence[str]) -> Iterator[Conversion]:
    """Yields the int8 graph that quantization-aware training left in a run's folder, if int8 is requested."""
    graph = path / QAT_FOLDER / QAT_GRAPH
    if "int8" in kinds and graph.is_file():
        yield Conversion.unchanged(graph.read_bytes(), TRAINED)
