"""Exports a trained network for phones: the fastest TFLite files that compute the same, and the proof that they do.

The model of a training run, with ranges from the images that it was trained on and proof on its test images:
  python -m export.tflite --model=runs/v2

Published weights, and your own photos to take the ranges from (any folder; 200 are enough):
  python -m export.tflite --model=shufflenetv1_0.5x_Group3.pth.tar --calibration=PHOTOS --output=export_v1

--output gets model_float32.tflite, model_float16.tflite, model_int8.tflite (each takes uint8 RGB pixels, returns
probabilities, and has labels and metadata inside), labels.txt, report.md and report.json: size, accuracy, agreement and
latency of each step; and verify.png and verify.json: the images on which they differ most, and where int8 adds its noise.
Nothing is written before all of it is done.
"""

import concurrent.futures
import dataclasses
import json
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its threads wait for each other longer than they work here

import numpy as np
from absl import flags

import shufflenet_tf as st
from export import cli, ptq, verify
from export.benchmark import benchmark
from export.convert.from_keras import convert, trace
from export.convert.precision import CALIBRATED, KINDS, Quantization, calibration_images
from export.flatbuffer import metadata
from export.flatbuffer.model import Step
from export.optimize import Optimized, optimize, resolve
from export.optimize.targets import PHONE, Target
from export.ptq import mixed_precision
from export.qat.comparison import trained as trained_int8
from export.report import layer_table as layer_report
from export.report import tables
from shufflenet_tf.data import open_source
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import atomic_path, check_writable

FLAGS = cli.flag_values()
flags.DEFINE_string(
    "model", None, "The folder of a run, a .keras file, or a checkpoint (.npz, .pth, .pth.tar).", flag_values=FLAGS
)
flags.DEFINE_string(
    "output", None, "Folder for the files; default: export/ within the run, or beside the file.", flag_values=FLAGS
)
flags.DEFINE_string(
    "calibration",
    None,
    "Photos to take int8's ranges from: a folder, or a dataset (folder:PATH, tfds:NAME, shapes); default: the run's.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("calibration_images", 200, "How many of them.", 1, flag_values=FLAGS)
flags.DEFINE_string("test", None, "Dataset to prove the files on; default: the run's, else --calibration's.", flag_values=FLAGS)
flags.DEFINE_integer("test_images", 200, "How many of its test images, at most.", 1, flag_values=FLAGS)
flags.DEFINE_string("data_dir", None, "Where TensorFlow Datasets are prepared.", flag_values=FLAGS)
flags.DEFINE_list("kinds", ["float32", "float16", "int8"], f"Which files to make, of {','.join(KINDS)}.", flag_values=FLAGS)
flags.DEFINE_enum("int8_output", "uint8", ["uint8", "float32"], "Type of the int8 file's probabilities.", flag_values=FLAGS)
flags.DEFINE_enum(
    "ptq",
    "best",
    ["best", "minmax"],
    "How int8's numbers are chosen: best corrects weights and biases on the photos, in minutes; minmax is TensorFlow's own.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "max_drop",
    None,
    "Points of accuracy that int8 may be expected to lose, such as 0.5: as few layers as that takes stay in floating point. "
    "A third of --calibration's images is set aside to measure it on.",
    0.0,
    100.0,
    flag_values=FLAGS,
)
flags.DEFINE_integer("threads", 1, "Threads of the interpreter that the files are made for.", 1, flag_values=FLAGS)
cli.define_target(FLAGS)
flags.DEFINE_integer("runs", 30, "Timed runs of each file.", 1, flag_values=FLAGS)


_LOOKED_AT = 12  # images for the noise of layers
_UNSEEN = 3  # one in so many images is kept for measuring the drop on
_RECIPES = {"int8": ptq.BEST, "int16": ptq.BEST_INT16}


@dataclasses.dataclass(frozen=True)
class File:
    """One step of the export.

    Attributes:
      name: of the file, or of the step.
      content: of the .tflite file.
      steps: what was done to it, in order; empty: it's as TensorFlow converts it.
      optimized: what the optimizer did and gained; None: it's as TensorFlow converts it.
      layers: the noise of each layer before and after those steps that chose int8's numbers, as a table in Markdown.
    """

    name: str
    content: bytes
    steps: tuple[Step, ...] = ()
    layers: str = ""
    optimized: Optimized | None = None


def export(
    bundle: st.Bundle,
    quantizations: list[Quantization],
    threads: int = 1,
    best: bool = False,
    max_drop: float | None = None,
    unseen: Sequence[np.ndarray] = (),
    trained: bytes | None = None,
    target: str | Target = PHONE,
) -> Iterator[File]:
    """Converts and optimizes a network.

    Args:
      bundle: the network, its labels and its preprocessing.
      quantizations: one a file.
      threads: of the interpreter that the files are made for.
      best: whether int8's and int16's numbers are chosen anew, by `ptq.quantize`.
      max_drop: how much accuracy int8 may lose, 0-1; see `mixed_precision.mix`. None: all of it stays in int8.
      unseen: uint8 images [H, W, 3] to measure that on; none: those that int8 was calibrated with.
      trained: the int8 graph that the network has learnt to be, as converted; None: it has not.
      target: the processor to make the files fast on; see `optimize`.

    Yields:
      Of each quantization, and of the trained graph, the graph as converted and the optimized one, with metadata.

    Raises:
      UserError: see `convert` and `metadata.attach`.
    """
    model = bundle.model
    labels = bundle.labels or [f"class {i}" for i in range(model.output_shape[-1])]
    about = f"{model.name}, {st.complexity.parameters(model):,} parameters"

    def finished(content: bytes, kind: str) -> bytes:
        return metadata.attach(content, model.name, f"{about}, {kind}", labels, bundle.preprocessing)

    target = target if isinstance(target, Target) else resolve(target)
    with concurrent.futures.ThreadPoolExecutor() as pool:  # the optimizer works in processes of its own
        traced = trace(model)
        floats = convert(traced)
        converted = []
        for quantization in quantizations:
            kind, steps, noise = quantization.kind, (), ""
            content = corrected = floats if kind == "float32" else convert(traced, quantization)
            mixed_too = kind == "int8" and max_drop is not None
            if kind in CALIBRATED and (best or mixed_too):
                chosen = ptq.quantize(floats, content, quantization.calibration, _RECIPES[kind] if best else ptq.MINMAX)
                corrected, steps = chosen.model, chosen.steps
                if kind == "int8" and best:
                    compared = {"min-max": ptq.QuantizedPair(content, floats), "best": chosen}
                    noise = layer_report.markdown(layer_report.layer_rows(compared, quantization.calibration[:_LOOKED_AT]))
                if mixed_too:
                    mixture = mixed_precision.mix(chosen, unseen if len(unseen) else quantization.calibration, max_drop)
                    corrected, steps = mixture.model, (*steps, mixture.step)
            converted.append((kind, content, steps, noise, pool.submit(optimize, corrected, threads, target)))
        if trained is not None:
            converted.append(("int8_trained", trained, (), "", pool.submit(optimize, trained, threads, target)))
        for kind, content, steps, noise, optimized in converted:
            result = optimized.result()
            yield File(f"{kind} as converted", finished(content, kind))
            yield File(f"model_{kind}.tflite", finished(result.model, kind), (*steps, *result.steps), noise, result)


def main(arguments: list[str]) -> None:
    if arguments:
        raise UserError(f"Unexpected argument {arguments[0]!r}: all settings are flags, --name=value.")
    if FLAGS.model is None:
        raise UserError("There is no model: give --model=PATH; --help shows examples.")
    if unknown := [kind for kind in FLAGS.kinds if kind not in KINDS]:
        raise UserError(f"--kinds has {unknown[0]!r}, which is none of {', '.join(KINDS)}.")
    target = resolve(FLAGS.target)
    began = time.monotonic()
    path = pathlib.Path(FLAGS.model)
    folder = pathlib.Path(FLAGS.output or (path if path.is_dir() else path.parent) / "export")
    bundle = st.load(path)
    if not isinstance(bundle.model, st.ImageClassifier):
        raise UserError(f"{path} is a .tflite file already: give what it was made of, or run export.optimize on it.")
    if FLAGS.max_drop is not None and "int8" not in FLAGS.kinds:
        raise UserError(f"--max_drop is about int8, and --kinds={','.join(FLAGS.kinds)} has none: add int8 to --kinds.")
    trained_on = _dataset(path)
    calibration, images, unseen = FLAGS.calibration or trained_on, [], []
    if needy := [kind for kind in FLAGS.kinds if kind in CALIBRATED]:
        if calibration is None:
            raise UserError(f"{needy[0]} needs images to take the ranges of activations from: give --calibration=FOLDER.")
        _say(f"Reading {FLAGS.calibration_images} images of {calibration}")
        images = calibration_images(calibration, bundle, FLAGS.calibration_images, FLAGS.data_dir)
    if FLAGS.max_drop is not None:
        unseen, images = np.split(np.stack(images), [len(images) // _UNSEEN])
    proof = list(_proof(bundle, FLAGS.test or trained_on, images))
    check_writable(folder)
    _say(f"Converting {bundle.model.name} to {', '.join(FLAGS.kinds)}, and optimizing")
    kinds = [Quantization(kind, FLAGS.int8_output, images if kind in CALIBRATED else ()) for kind in FLAGS.kinds]
    drop = None if FLAGS.max_drop is None else FLAGS.max_drop / 100
    trained = trained_int8(path) if "int8" in FLAGS.kinds and path.is_dir() else None
    files = list(export(bundle, kinds, FLAGS.threads, FLAGS.ptq == "best", drop, unseen, trained, target))
    with tempfile.TemporaryDirectory() as scratch:
        paths = []
        for file in files:
            paths.append(pathlib.Path(scratch) / f"{file.name.removesuffix('.tflite')}.tflite")
            paths[-1].write_bytes(file.content)
        _say(f"Proving them on {sum(len(pixels) for pixels, _ in proof)} images")
        proven = verify.verify(bundle, paths, proof, FLAGS.threads)
        _say("Timing them")
        timed = benchmark(paths, FLAGS.threads, FLAGS.runs, cpu_time=FLAGS.threads == 1)
    rows = [tables.row(file, c, t) for file, c, t in zip(files, proven.comparisons, timed, strict=True)]
    about = tables.About(bundle, target, FLAGS.threads, FLAGS.runs, proven)
    report = tables.text(about, rows, {file.name: file.layers for file in files})
    for file in files:
        if file.steps:
            _write(folder / file.name, file.content)
    _write(folder / "labels.txt", "".join(f"{label}\n" for label in proven.labels).encode())
    _write(folder / "report.md", report.encode())
    verify.write(proven, folder)
    _write(folder / "report.json", (json.dumps({**about.to_json(), "files": rows}, indent=1) + "\n").encode())
    print(f"\n{report}\nEverything is in {folder}, after {time.monotonic() - began:.0f} s.")


def _dataset(path: pathlib.Path) -> str | None:
    """Returns the dataset that a run was trained on, if the run says so."""
    try:
        metrics = json.loads(((path if path.is_dir() else path.parent) / "metrics.json").read_text(encoding="utf-8"))
        return metrics.get("dataset_spec") or None
    except (OSError, ValueError, AttributeError):
        return None


def _proof(bundle: st.Bundle, spec: str | None, calibration: Sequence[np.ndarray]) -> Iterator[verify.Batch]:
    """Yields batches of test images, or of those that int8 was calibrated with where there are no others."""
    if spec is not None:
        source = open_source(spec, data_dir=FLAGS.data_dir)
        yield from verify.batches(source, bundle, min(FLAGS.test_images, source.test.size))
    elif len(calibration):
        yield np.stack(calibration[: FLAGS.test_images]), None
    else:
        yield np.random.default_rng(0).integers(0, 256, (16, *bundle.size, 3), np.uint8), None


def _write(path: pathlib.Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _say(sentence: str) -> None:
    print(f"{sentence} …", file=sys.stderr, flush=True)


def run(argv: list[str]) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("export.tflite", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run(sys.argv))
