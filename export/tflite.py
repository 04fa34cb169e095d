"""Exports a trained network for phones: fast TFLite files, and a report that compares them with the network.

The model of a training run, calibrated on its training images and verified on its test images:
  python -m export.tflite --model=runs/v2

Published weights, calibrated on your own photos (any folder; 200 are enough):
  python -m export.tflite --model=shufflenetv1_0.5x_Group3.pth.tar --calibration=PHOTOS --output=export_v1

--output gets model_float32.tflite, model_float16.tflite and model_int8.tflite, which take uint8 RGB pixels, return
probabilities, and have labels and metadata inside; labels.txt; report.md and report.json with size, accuracy, agreement and
latency of each file; verify.png and verify.json with the images on which they differ most, and the noise of int8's layers.
Nothing is written before everything is done.
"""

import dataclasses
import os
import pathlib
import shlex
import sys
import time
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its threads wait for each other longer than they work here

from absl import flags

from export import cli
from export.convert.precision import KINDS
from export.pipeline import FOLDER, ExportSettings, beside, export_files
from export.report import export_report
from export.report.records import ExportResults
from shufflenet_tf.cli import next_steps, refuse_arguments
from shufflenet_tf.errors import UserError

FLAGS = cli.flag_values()
_DEFAULTS = ExportSettings()
flags.DEFINE_string(
    "model", None, "Trained model: a run's folder, a .keras file, or a checkpoint (.npz, .pth, .pth.tar).", flag_values=FLAGS
)
flags.DEFINE_string(
    "output", None, f"Folder for the files; default: {FOLDER}/ within the run, or beside the file.", flag_values=FLAGS
)
flags.DEFINE_string(
    "calibration",
    None,
    "Photos to take int8's ranges from: a folder, or a dataset (folder:PATH, tfds:NAME, shapes); default: the run's.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("calibration_images", _DEFAULTS.calibration_images, "How many of them.", 1, flag_values=FLAGS)
flags.DEFINE_string("test", None, "Dataset to verify on; default: the run's, else the calibration images.", flag_values=FLAGS)
flags.DEFINE_integer("test_images", _DEFAULTS.test_images, "How many of its test images, at most.", 1, flag_values=FLAGS)
flags.DEFINE_string("data_dir", None, "Where TensorFlow Datasets are prepared.", flag_values=FLAGS)
flags.DEFINE_list("kinds", list(_DEFAULTS.kinds), f"Which files to write, of {','.join(KINDS)}.", flag_values=FLAGS)
flags.DEFINE_enum(
    "int8_output", _DEFAULTS.int8_output, ["uint8", "float32"], "Type of the int8 file's probabilities.", flag_values=FLAGS
)
flags.DEFINE_enum(
    "ptq",
    _DEFAULTS.ptq,
    ["best", "minmax"],
    "How int8's weights and scales are chosen: best corrects them on the photos, in minutes; minmax is TensorFlow's way.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "max_drop",
    _DEFAULTS.max_drop,
    "Points of accuracy that int8 may be expected to lose, such as 0.5: as few layers as that takes stay in floating point. "
    "A third of --calibration's images is set aside to measure it on.",
    0.0,
    100.0,
    flag_values=FLAGS,
)
flags.DEFINE_integer("threads", _DEFAULTS.threads, "Threads of the interpreter to optimize for.", 1, flag_values=FLAGS)
cli.define_target(FLAGS)
flags.DEFINE_integer("runs", _DEFAULTS.runs, "Timed runs of each file.", 1, flag_values=FLAGS)


def main(arguments: list[str]) -> None:
    """Exports the model, and prints the report and the next steps."""
    refuse_arguments(arguments)
    if FLAGS.model is None:
        raise UserError("There is no model: give --model=PATH; --help shows examples.")
    settings = ExportSettings(**{field.name: FLAGS[field.name].value for field in dataclasses.fields(ExportSettings)})
    began, path = time.monotonic(), pathlib.Path(FLAGS.model)
    folder = pathlib.Path(FLAGS.output) if FLAGS.output else beside(path, FOLDER)
    results = export_files(path, folder, settings, _say)
    print(f"\n{export_report.text(results)}\nEverything is in {folder}, after {time.monotonic() - began:.0f} s.")
    print(_next_steps(results, folder))


def _next_steps(results: ExportResults, folder: pathlib.Path) -> str:
    files = [shlex.quote(str(folder / exported.file_name)) for exported in results.models]
    int8 = [file for file, exported in zip(files, results.models, strict=True) if exported.kind.startswith("int8")]
    phone = [file for file in files if "float32" in file][:1] + int8[:1] or files[:1]
    return next_steps(
        [
            ("Classify a photo", f"python -m shufflenet_tf.classify --model={phone[-1]} PHOTO.jpg"),
            ("See it on a phone", f'make android MODEL="{" ".join(phone)}"'),
            ("Compare the speed", f"python -m export.benchmark {' '.join(files)}"),
        ]
    )


def _say(sentence: str) -> None:
    print(f"{sentence} …", file=sys.stderr, flush=True)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("export.tflite", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
