"""Trains a network for int8, so that its fast integer version on a phone gives the float network's answers.

A training run's model, with its float version and the labels of its training images as teachers:
  python -m export.qat --model=runs/v2

Published weights and a few hundred photos without labels; the float network is the only teacher:
  python -m export.qat --model=shufflenetv1_0.5x_Group3.pth.tar --dataset=PHOTOS --output=runs/v1_int8

The same command resumes an interrupted run; --flagfile=FILE reads flags from a file, one per line. At the end, --output
(default: qat/ in the run's folder, or beside the file) holds model_int8.tflite, which takes uint8 pixels and contains labels
and metadata; int8_as_converted.tflite; model.npz, the weights before rounding; ranges.json; labels.txt, history.csv,
training.png, verify.json, verify.png; and report.md, which compares float, post-training int8 and trained int8.
"""

import os
import pathlib
import shlex
import sys
import time
from collections.abc import Sequence

# tensorflow-model-optimization requires Keras 2, which must be selected before TensorFlow is loaded.
os.environ["TF_USE_LEGACY_KERAS"] = "1"

from absl import flags

import shufflenet_tf as st
from export.cli import phone_step
from export.measure.verification import BATCH, Batch, batches
from export.optimize import resolve
from export.optimize.target_flag import define_target
from export.pipeline import QAT_FOLDER, ExportSettings, beside
from export.qat import keras2_loading, learning, pixel_source, results, training
from shufflenet_tf import cli, options
from shufflenet_tf.data import Source
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import check_writable
from shufflenet_tf.loading import training_dataset, training_division
from shufflenet_tf.training import checkpoint

FLAGS = cli.flag_values()
_AUGMENTATION = ("min_area", "jitter", "lighting", "flip")
cli.heading(FLAGS, "Model, images and results")
cli.define_model(FLAGS, "Trained model: a run's folder, or a .keras, .npz or .pth file.")
cli.define_dataset(FLAGS, help="Images (labels optional; default: the run's images)")
cli.define_output(
    FLAGS, f"Folder of this run; default: {QAT_FOLDER}/ in the run's folder, or beside the file.", alias="output_dir"
)
flags.DEFINE_bool("overwrite", False, "Start again if --output holds an earlier run.", flag_values=FLAGS)

cli.heading(FLAGS, "Training")
flags.DEFINE_bool(
    "distill",
    None,
    "Use only the float network as teacher; default: labels too if the dataset's classes are the model's.",
    flag_values=FLAGS,
)
options.define(FLAGS, training.QatSettings)
options.define(FLAGS, Augmentation, _AUGMENTATION, min_area=0.8, jitter=0.0, lighting=0.0)
flags.DEFINE_integer("calibration_images", 200, "Images for the post-training quantization at the start.", 1, flag_values=FLAGS)

cli.heading(FLAGS, "File")
options.define(FLAGS, ExportSettings, ("int8_output", "threads", "runs"))
define_target(FLAGS)


def main(arguments: list[str]) -> None:
    """Trains the model, writes the results, and prints the report and the next steps."""
    cli.refuse_arguments(arguments)
    if FLAGS.model is None:
        raise UserError("There is no model: give --model=PATH; --help shows examples.")
    target = resolve(FLAGS.target)
    began, path = time.monotonic(), pathlib.Path(FLAGS.model)
    bundle = keras2_loading.load(path)
    spec = FLAGS.dataset or training_dataset(path)
    if spec is None:
        raise UserError(f"{path} doesn't name its training dataset: give --dataset=FOLDER with photos; labels are optional.")
    folder = pathlib.Path(FLAGS.output) if FLAGS.output else beside(path, QAT_FOLDER)
    check_writable(folder)
    if FLAGS.overwrite:
        (folder / checkpoint.NAME).unlink(missing_ok=True)
    source = pixel_source.open_photos(spec, FLAGS.data_dir, **training_division(path, spec))
    settings = _settings(bundle, source)
    teacher = "the float network" if settings.distill else "the float network and labels"
    say(
        f"Training {bundle.model.name} at {bundle.size[0]}x{bundle.size[1]} px for int8 with {teacher} as teacher: "
        f"{source.train.size:,} photos to train on and {source.test.size:,} to test on, "
        f"{settings.steps:,} steps of {settings.batch_size}, into {folder}"
    )
    images = _test_batches(source, bundle)
    count = min(FLAGS.calibration_images, source.train.size)
    drawn = pixel_source.pixel_batches(source.train, bundle.preprocessing, bundle.size, settings.batch_size, count)
    calibration = [image for pixels, _ in drawn for image in pixels]
    augmentation = Augmentation(**{name: FLAGS[name].value for name in _AUGMENTATION})
    learnt = learning.learn(bundle, source, settings, augmentation, calibration, folder, FLAGS.int8_output, say)
    report = results.write(bundle, learnt, images, folder, FLAGS.int8_output, FLAGS.threads, FLAGS.runs, target)
    say(f"\n{report}\nAll files are in {folder}; it took {time.monotonic() - began:.0f} s.")
    say(cli.next_steps(_next_steps(path, folder)))


def _test_batches(source: Source, bundle: st.Bundle) -> list[Batch]:
    count = min(FLAGS.test_images, source.test.size)
    if source.labels:
        return list(batches(source, bundle, count))
    drawn = pixel_source.pixel_batches(source.test, bundle.preprocessing, bundle.size, BATCH, count)
    return [(pixels, None) for pixels, _ in drawn]


def _next_steps(path: pathlib.Path, folder: pathlib.Path) -> list[tuple[str, str]]:
    file = str(folder / results.FINISHED)
    steps = [
        ("classify a photo", f"python -m shufflenet_tf.classify --model={shlex.quote(file)} PHOTO.jpg"),
        *phone_step([file]),
    ]
    if path.is_dir() and folder == beside(path, QAT_FOLDER):
        steps.append(("export all kinds", f"python -m export.tflite --model={shlex.quote(str(path))}"))
    return steps


def say(sentence: str) -> None:
    """Prints a line of progress."""
    print(sentence, flush=True)


def _settings(bundle: st.Bundle, source: Source) -> training.QatSettings:
    same = bundle.labels is not None and tuple(source.labels) == tuple(bundle.labels)
    distill = not same if FLAGS.distill is None else FLAGS.distill
    if not distill and not same:
        raise UserError(f"The labels of {source.name} don't match the model's, so they can't teach it: leave out --nodistill.")
    return training.QatSettings(**options.given(FLAGS, training.QatSettings) | {"distill": distill})


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("export.qat", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
