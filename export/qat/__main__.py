"""Trains a network for int8, so that it gives the answers of the float network in a phone's fast integers.

The model of a training run, with its float version and the labels of its training images as teachers:
  python -m export.qat --model=runs/v2

Published weights and a few hundred photos without labels: the float network is the only teacher:
  python -m export.qat --model=shufflenetv1_0.5x_Group3.pth.tar --dataset=PHOTOS --output=runs/v1_int8

A run that was interrupted goes on when the same command is given again; --flagfile=FILE reads flags from a file, one a line.
Afterwards --output (default: qat/ within the run, or beside the file) holds model_int8.tflite, which takes uint8 pixels
and has labels and metadata inside; int8_as_converted.tflite; model.npz, the weights before rounding; ranges.json;
labels.txt, history.csv, training.png, verify.json, verify.png, and report.md, which compares float, post-training int8 and
trained int8.
"""

import dataclasses
import os
import pathlib
import shlex
import sys
import time
from collections.abc import Sequence

# tensorflow-model-optimization is written for Keras 2, which must be chosen before TensorFlow is loaded.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import flags

import shufflenet_tf as st
from export import cli
from export.measure.verification import BATCH, Batch, batches
from export.optimize import resolve
from export.pipeline import QAT_FOLDER, beside
from export.qat import keras2_loading, learning, pixel_source, results, training
from shufflenet_tf.cli import define_alias, next_steps, refuse_arguments
from shufflenet_tf.data import Source
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import check_writable
from shufflenet_tf.loading import training_dataset
from shufflenet_tf.training import checkpoint

FLAGS = cli.flag_values()
_SETTINGS, _AUGMENTATION = training.QatSettings(), Augmentation(min_area=0.8, jitter=0.0, lighting=0.0)
flags.DEFINE_string(
    "model", None, "The folder of a run, a .keras file, or a checkpoint (.npz, .pth, .pth.tar).", flag_values=FLAGS
)
flags.DEFINE_string(
    "dataset", None, "Photos: a plain folder, folder:PATH, tfds:NAME or shapes; default: the run's dataset.", flag_values=FLAGS
)
flags.DEFINE_string("data_dir", None, "Where TensorFlow Datasets are prepared.", flag_values=FLAGS)
flags.DEFINE_string(
    "output", None, f"Folder of this run; default: {QAT_FOLDER}/ within the run, or beside the file.", flag_values=FLAGS
)
define_alias(FLAGS, "output_dir", "output")
flags.DEFINE_bool("overwrite", False, "Start afresh where --output holds an earlier run.", flag_values=FLAGS)
flags.DEFINE_bool(
    "distill",
    None,
    "Whether the float network teaches alone; default: labels teach too where the dataset's classes are the model's.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("steps", _SETTINGS.steps, "Training steps.", 1, flag_values=FLAGS)
flags.DEFINE_integer("batch_size", _SETTINGS.batch_size, "Images a step.", 1, flag_values=FLAGS)
flags.DEFINE_integer("steps_per_epoch", 0, "Steps between two evaluations; 0: a fifth of --steps.", 0, flag_values=FLAGS)
flags.DEFINE_float(
    "learning_rate",
    _SETTINGS.learning_rate,
    "Largest part of its channel's range by which a step moves a weight; it rises, and falls along a cosine.",
    1e-8,
    0.1,
    flag_values=FLAGS,
)
flags.DEFINE_float("temperature", _SETTINGS.temperature, "Of the probabilities in distillation.", 0.1, 100, flag_values=FLAGS)
flags.DEFINE_integer("checkpoint_steps", _SETTINGS.checkpoint_steps, "Between two checkpoints.", 1, flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "Of order and augmentation.", 0, flag_values=FLAGS)
flags.DEFINE_float(
    "min_area", _AUGMENTATION.min_area, "Smallest part of a photo that a crop takes.", 0.01, 1, flag_values=FLAGS
)
flags.DEFINE_float("jitter", _AUGMENTATION.jitter, "Strength of random colours.", 0, 1, flag_values=FLAGS)
flags.DEFINE_float(
    "lighting", _AUGMENTATION.lighting, "Strength of the shift along ImageNet's colours.", 0, 1, flag_values=FLAGS
)
flags.DEFINE_bool("flip", _AUGMENTATION.flip, "Mirror every second photo.", flag_values=FLAGS)
flags.DEFINE_integer(
    "calibration_images",
    200,
    "Training photos for the post-training quantization to start with.",
    1,
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "test_images", _SETTINGS.test_images, "Test photos for each evaluation and the report, at most.", 1, flag_values=FLAGS
)
flags.DEFINE_enum("int8_output", "uint8", ["uint8", "float32"], "Type of the file's probabilities.", flag_values=FLAGS)
flags.DEFINE_integer("threads", 1, "Threads of the interpreter that the file is made for.", 1, flag_values=FLAGS)
cli.define_target(FLAGS)
flags.DEFINE_integer("runs", 30, "Timed runs of each file.", 1, flag_values=FLAGS)


def main(arguments: list[str]) -> None:
    """Trains the model, writes everything, and prints the report and the next steps."""
    refuse_arguments(arguments)
    if FLAGS.model is None:
        raise UserError("There is no model: give --model=PATH; --help shows examples.")
    target = resolve(FLAGS.target)
    began, path = time.monotonic(), pathlib.Path(FLAGS.model)
    bundle = keras2_loading.load(path)
    spec = FLAGS.dataset or training_dataset(path)
    if spec is None:
        raise UserError(f"{path} doesn't say what it was trained on: give --dataset=FOLDER; photos without labels will do.")
    folder = pathlib.Path(FLAGS.output) if FLAGS.output else beside(path, QAT_FOLDER)
    check_writable(folder)
    if FLAGS.overwrite:
        (folder / checkpoint.NAME).unlink(missing_ok=True)
    source = pixel_source.open_photos(spec, FLAGS.data_dir)
    settings = _settings(bundle, source)
    teacher = "the float network" if settings.distill else "the float network and labels"
    say(
        f"{bundle.model.name} at {bundle.size[0]}x{bundle.size[1]} px learns to be int8 from {teacher}: "
        f"{source.train.size:,} photos to train on and {source.test.size:,} to test on, "
        f"{settings.steps:,} steps of {settings.batch_size}, into {folder}"
    )
    images = _test_batches(source, bundle)
    count = min(FLAGS.calibration_images, source.train.size)
    drawn = pixel_source.pixel_batches(source.train, bundle.preprocessing, bundle.size, settings.batch_size, count)
    calibration = [image for pixels, _ in drawn for image in pixels]
    augmentation = Augmentation(**{name: FLAGS[name].value for name in ("min_area", "jitter", "lighting", "flip")})
    learnt = learning.learn(bundle, source, settings, augmentation, calibration, folder, FLAGS.int8_output, say)
    report = results.write(bundle, learnt, images, folder, FLAGS.int8_output, FLAGS.threads, FLAGS.runs, target)
    say(f"\n{report}\nEverything is in {folder}, after {time.monotonic() - began:.0f} s.")
    say(_next_steps(path, folder))


def _test_batches(source: Source, bundle: st.Bundle) -> list[Batch]:
    count = min(FLAGS.test_images, source.test.size)
    if source.labels:
        return list(batches(source, bundle, count))
    drawn = pixel_source.pixel_batches(source.test, bundle.preprocessing, bundle.size, BATCH, count)
    return [(pixels, None) for pixels, _ in drawn]


def _next_steps(path: pathlib.Path, folder: pathlib.Path) -> str:
    file, run_folder = shlex.quote(str(folder / results.FINISHED)), shlex.quote(str(path))
    steps = [
        ("Classify a photo", f"python -m shufflenet_tf.classify --model={file} PHOTO.jpg"),
        ("See it on a phone", f"make android MODEL={file}"),
    ]
    if path.is_dir() and folder == beside(path, QAT_FOLDER):
        steps.append(("Export all kinds", f"python -m export.tflite --model={run_folder}"))
    return next_steps(steps)


def say(sentence: str) -> None:
    """Prints a line of progress."""
    print(sentence, flush=True)


def _settings(bundle: st.Bundle, source: Source) -> training.QatSettings:
    same = bundle.labels is not None and tuple(source.labels) == tuple(bundle.labels)
    distill = not same if FLAGS.distill is None else FLAGS.distill
    if not distill and not same:
        raise UserError(f"The labels of {source.name} aren't the model's, so they can't teach it: leave out --nodistill.")
    names = [field.name for field in dataclasses.fields(training.QatSettings) if field.name != "distill"]
    return training.QatSettings(distill=distill, **{name: FLAGS[name].value for name in names})


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("export.qat", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
