"""Says what a checkpoint is, checks it against the original's outputs, and converts it.

What is it?
  python -m shufflenet_tf.weights shufflenetv2_x1-5666bf0f80.pth

Does it compute what the original computes? Give outputs of the original, and what it was fed with:
  python -m shufflenet_tf.weights FILE --reference=outputs.npz --inputs=inputs.npz --photos=FOLDER

Into a canonical .npz, which both generations of Keras read, or a .pth that torchvision's own model loads:
  python -m shufflenet_tf.weights runs/v2/model.keras --output=v2.npz
  python -m shufflenet_tf.weights runs/v2/model.keras --output=v2.pth

FILE is a tensorpack or canonical .npz, a torchvision .pth, a megvii .pth.tar, or a .keras file of this project.
"""

import argparse
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import shufflenet_tf as st
from shufflenet_tf.files import open_npz
from shufflenet_tf.weights import canonical, compare, layouts, torch_file

SUFFIXES = (".npz", ".pth")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m shufflenet_tf.weights", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", metavar="FILE", help="the checkpoint")
    parser.add_argument("--reference", help="a .npz of the original's outputs: logits [N, classes], and inner ones by name")
    parser.add_argument("--inputs", help="a .npz of what the original was fed with")
    parser.add_argument("--photos", type=pathlib.Path, help="folder of the photos behind --inputs, to compare the resizing too")
    parser.add_argument("--output", type=pathlib.Path, help=f"write the weights to this file: {' or '.join(SUFFIXES)}")
    args = parser.parse_args()
    if args.output and args.output.suffix not in SUFFIXES:
        parser.error(f"--output={args.output} has no known ending: give a name that ends with {' or '.join(SUFFIXES)}.")
    if bool(args.reference) != bool(args.inputs):
        parser.error("--reference and --inputs belong together: what came out, and what went in.")
    try:
        checkpoint = st.loading.checkpoint(args.file)
        print(checkpoint.describe(st.registry.identify(checkpoint)), flush=True)
        if args.reference:
            rows = compare.compare(st.load(args.file).model, _arrays(args.reference), _arrays(args.inputs), args.photos)
            print("\nlargest differences", *rows, sep="\n")
        if args.output:
            _save(st.load(args.file).model, args.output)
            print(f"written: {args.output}")
    except st.UserError as error:
        parser.error(str(error))
    except OSError as error:
        parser.exit(1, f"{parser.prog}: {error.strerror or error} ({error.filename}).\n")


def _save(model: st.ImageClassifier, path: pathlib.Path) -> None:
    if path.suffix == ".npz":
        canonical.save(model, path)
        return
    theirs = st.Wiring.of("torchvision").to_config()
    own = model.get_config()["wiring"]
    if differing := [key for key, value in own.items() if value != theirs[key]]:
        raise st.UserError(
            f"The network's {differing[0]} is {own[differing[0]]!r}, and torchvision's model would compute something else: "
            "train with --wiring=torchvision."
        )
    torch_file.write(path, layouts.to_torchvision(canonical.arrays(model)))


def _arrays(path: str) -> dict[str, np.ndarray]:
    with open_npz(path, "give a .npz of arrays.") as file:
        return dict(file)


if __name__ == "__main__":
    main()
