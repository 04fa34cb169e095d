"""Exports a trained network to fast TFLite files for phones, with a report that compares them with the network.

A training run's model, calibrated on its training images and verified on its test images:
  python -m export.tflite --model=runs/v2

Published weights, calibrated on your own photos (any folder; 200 are enough):
  python -m export.tflite --model=shufflenetv1_0.5x_Group3.pth.tar --calibration=PHOTOS --output=export_v1

--output receives model_float32.tflite, model_float16.tflite and model_int8.tflite, which take uint8 RGB pixels, return
probabilities, and contain labels and metadata; labels.txt; report.md and report.json with size, accuracy, agreement and latency
of each file; verify.png and verify.json with the images that differ most, and the noise of int8's layers. Files are written
only after every step has succeeded.
"""

import os
import pathlib
import shlex
import sys
import time
from collections.abc import Sequence

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # here its threads wait for each other longer than they work

from absl import flags

from export.cli import phone_step
from export.convert.precision import KINDS
from export.optimize.target_flag import define_target
from export.pipeline import FOLDER, ExportSettings, beside, export_files
from export.report import export_report
from export.report.records import ExportResults
from shufflenet_tf import cli, options
from shufflenet_tf.errors import UserError

FLAGS = cli.flag_values()
cli.heading(FLAGS, "Model and files")
cli.define_model(FLAGS, "Trained model: a run's folder, or a .keras, .npz or .pth file.")
cli.define_output(FLAGS, f"Folder for the files; default: {FOLDER}/ in the run's folder, or beside the file.")
flags.DEFINE_list("kinds", list(ExportSettings.kinds), f"Files to write, of {','.join(KINDS)}.", flag_values=FLAGS)

cli.heading(FLAGS, "Images")
options.define(FLAGS, ExportSettings, ("calibration", "calibration_images", "test", "test_images", "data_dir"))
cli.define_max_megapixels(FLAGS)

cli.heading(FLAGS, "int8")
options.define(FLAGS, ExportSettings, ("int8_output", "ptq"))
flags.DEFINE_float(
    "max_drop",
    ExportSettings.max_drop,
    "Accuracy that int8 may lose, in points, such as 0.5: as few layers as necessary stay in floating point. "
    "A third of the calibration images is held out to measure the loss.",
    0.0,
    100.0,
    flag_values=FLAGS,
)

cli.heading(FLAGS, "Speed")
define_target(FLAGS)
options.define(FLAGS, ExportSettings, ("threads", "runs"))


def main(arguments: list[str]) -> None:
    """Exports the model, and prints the report and the next steps."""
    cli.refuse_arguments(arguments)
    if FLAGS.model is None:
        raise UserError("There is no model: give --model=PATH; --help shows examples.")
    began, path = time.monotonic(), pathlib.Path(FLAGS.model)
    folder = pathlib.Path(FLAGS.output) if FLAGS.output else beside(path, FOLDER)
    results = export_files(path, folder, _say, **options.given(FLAGS, ExportSettings))
    print(f"\n{export_report.text(results)}\nAll files are in {folder}; it took {time.monotonic() - began:.0f} s.")
    print(cli.next_steps(_next_steps(results, folder)))


def _next_steps(results: ExportResults, folder: pathlib.Path) -> list[tuple[str, str]]:
    files = {exported.kind: str(folder / exported.file_name) for exported in results.models}
    phone = [files[kind] for kind in ("float32", "int8") if kind in files] or list(files.values())[:1]
    return [
        ("classify a photo", f"python -m shufflenet_tf.classify --model={shlex.quote(phone[-1])} PHOTO.jpg"),
        *phone_step(phone),
        ("compare the speed", f"python -m export.benchmark {shlex.join(files.values())}"),
    ]


def _say(sentence: str) -> None:
    print(f"{sentence} …", file=sys.stderr, flush=True)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("export.tflite", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
