"""Describes a checkpoint, checks it against the original's outputs, and converts it.

Which network is it?
  python -m shufflenet_tf.weights shufflenetv2_x1-5666bf0f80.pth

Does it compute the same as the original? Give outputs of the original and the inputs that they were computed from:
  python -m shufflenet_tf.weights FILE --reference=outputs.npz --inputs=inputs.npz --photos=FOLDER

Convert it to a canonical .npz, which both generations of Keras read, or to a .pth that torchvision's model loads:
  python -m shufflenet_tf.weights runs/v2/model.keras --output=v2.npz
  python -m shufflenet_tf.weights runs/v2/model.keras --output=v2.pth

FILE is a tensorpack or canonical .npz, a torchvision .pth, a megvii .pth.tar, or a .keras file of this project.
"""

import pathlib
import sys
from collections.abc import Sequence

import numpy as np
from absl import flags

import shufflenet_tf as st
from shufflenet_tf import cli
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import open_npz
from shufflenet_tf.weights import canonical, compare, layouts, torch_file

SUFFIXES = (".npz", ".pth")
FLAGS = cli.flag_values()
cli.define_output(FLAGS, f"Write the weights to this file: {' or '.join(SUFFIXES)}.")
flags.DEFINE_string(
    "reference", None, "A .npz of the original's outputs: logits [N, classes], and layers' outputs by name.", flag_values=FLAGS
)
flags.DEFINE_string("inputs", None, "A .npz of the inputs for these outputs.", flag_values=FLAGS)
flags.DEFINE_string("photos", None, "Folder of the photos of --inputs, to compare the resizing too.", flag_values=FLAGS)


def main(arguments: Sequence[str]) -> None:
    """Describes, compares and converts the file in `arguments`."""
    if len(arguments) != 1:
        raise UserError(f"{len(arguments)} files were given, but exactly one is needed: --help shows examples.")
    if FLAGS.output and pathlib.Path(FLAGS.output).suffix not in SUFFIXES:
        raise UserError(f"--output={FLAGS.output} has an unknown extension: give a name ending with {' or '.join(SUFFIXES)}.")
    if bool(FLAGS.reference) != bool(FLAGS.inputs):
        raise UserError("--reference and --inputs need each other: give the original's outputs and its inputs.")
    (path,) = arguments
    checkpoint = st.loading.checkpoint(path)
    print(checkpoint.describe(st.registry.identify(checkpoint)), flush=True)
    if FLAGS.reference:
        photos = pathlib.Path(FLAGS.photos) if FLAGS.photos else None
        rows = compare.compare(st.load(path).model, _arrays(FLAGS.reference), _arrays(FLAGS.inputs), photos)
        print("\nlargest differences", *rows, sep="\n")
    if FLAGS.output:
        _save(st.load(path).model, pathlib.Path(FLAGS.output))
        print(f"written: {FLAGS.output}")


def _save(model: st.ImageClassifier, path: pathlib.Path) -> None:
    if path.suffix == ".npz":
        canonical.save(model, path)
        return
    theirs = st.Wiring.of("torchvision").to_config()
    wiring = model.get_config()["wiring"]
    if differing := [key for key, value in wiring.items() if value != theirs[key]]:
        raise st.UserError(
            f"The network's {differing[0]} is {wiring[differing[0]]!r}, so torchvision's model would compute other results: "
            "train with --wiring=torchvision."
        )
    torch_file.write(path, layouts.to_torchvision(canonical.arrays(model)))


def _arrays(path: str) -> dict[str, np.ndarray]:
    with open_npz(path, "give a .npz of arrays.") as file:
        return dict(file)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("weights", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
