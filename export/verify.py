"""Compares .tflite files with the model that they were converted from, on the same pixels.

  python -m export.verify --model=runs/v2 a.tflite b.tflite --dataset=folder:PATH [--images=N] [--output=FOLDER]

It reports the accuracy of each file, its agreement with the original, the differences of probabilities, and the images with
the largest differences. Given a float file and its int8 version, both as converted, it also measures the quantization noise
of each layer. --output receives verify.json and verify.png.
"""

import dataclasses
import pathlib
import shlex
import sys
from collections.abc import Sequence

from absl import flags

import shufflenet_tf as st
from export.measure.verification import batches, verify
from export.report import agreement_table
from shufflenet_tf import cli
from shufflenet_tf.data import open_source
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import check_writable
from shufflenet_tf.loading import training_division

FLAGS = cli.flag_values()
cli.define_model(FLAGS, "The original: a run's folder, or a .keras, .npz or .pth file.")
cli.define_dataset(FLAGS, help="Images (their test part is used)")
flags.DEFINE_integer("images", 0, "Number of images, drawn at random; 0: all.", 0, flag_values=FLAGS)
cli.define_threads(FLAGS)
cli.define_output(FLAGS, "Folder for verify.json and verify.png.")


def main(paths: list[str]) -> None:
    """Verifies the files, prints the table and writes the report."""
    for flag in ("model", "dataset"):
        if not FLAGS[flag].value:
            raise UserError(f"--{flag} is missing: give --{flag}=…; --help shows examples.")
    if FLAGS.output:
        check_writable(FLAGS.output)
    bundle = st.load(FLAGS.model)
    source = open_source(FLAGS.dataset, data_dir=FLAGS.data_dir, **training_division(FLAGS.model, FLAGS.dataset))
    verification = verify(bundle, paths, batches(source, bundle, FLAGS.images), FLAGS.threads)
    verification = dataclasses.replace(verification, name=FLAGS.model)
    print(agreement_table.text(verification))
    if FLAGS.output:
        agreement_table.write(verification, FLAGS.output)
        written = (pathlib.Path(FLAGS.output) / name for name in (agreement_table.JSON, agreement_table.PICTURE))
        print(f"\nWritten: {', '.join(map(str, written))}")
    print(f"\n{cli.next_steps([('compare the speed', f'python -m export.benchmark {shlex.join(paths)}')])}")


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("export.verify", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
