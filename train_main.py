"""Trains a ShuffleNet on images and leaves a model that is ready to use.

Try it (ten classes of drawn signs, drawn by the program, a few minutes on a laptop):
  python train_main.py --flagfile=v2.flags

Your own photos, one folder a class (PATH/train/<class>/*.jpg and PATH/test/..., or just PATH/<class>/*.jpg):
  python train_main.py --flagfile=v2.flags --dataset=folder:PATH --output=runs/photos

Better and sooner with few photos: start with weights that have seen ImageNet (or your own, --weights=FILE):
  python train_main.py --flagfile=recipes/finetune_photos.flags --dataset=folder:PATH

Anything in TensorFlow Datasets, and the papers' own recipes:
  python train_main.py --dataset=tfds:cifar10 --image_size=32
  python train_main.py --flagfile=recipes/shufflenet_v2_1.0x.flags --data_dir=/data/tfds

v2.flags, v1.flags and recipes/ are in the project's checkout; `shufflenet-train` is this program where it is installed.

A run that was interrupted continues when the same command is given again. Afterwards --output holds model.keras,
saved_model/, labels.txt, metrics.json, history.csv, training.png, confusion.png and mistakes.png.

On x86 processors, oneDNN's kernels are turned on, which make a step faster; TF_ENABLE_ONEDNN_OPTS=0 in front turns them off.
"""

import os
import pathlib
import sys
from collections.abc import Sequence

from absl import flags

import shufflenet_tf as st
from shufflenet_tf import cli, options
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.training.run import checked_size
from shufflenet_tf.training.settings import RunOptions, Settings

FLAGS = cli.flag_values()
cli.heading(FLAGS, "Network")
options.define(FLAGS, RunOptions, ("network", "weights"))
cli.define_alias(FLAGS, "model", "network")
options.define(FLAGS, Settings, ("freeze", "backbone_rate"))
options.define(FLAGS, RunOptions, ("wiring",))
flags.DEFINE_list("image_size", ["224"], "Input in pixels: one side, or height,width; at least 32.", flag_values=FLAGS)
options.define(FLAGS, RunOptions, ("preprocessing", "crop_fraction"))

cli.heading(FLAGS, "Images and results")
cli.define_dataset(FLAGS, "shapes")
options.define(FLAGS, RunOptions, ("strict", "keep_copies", "output", "overwrite", "saved_model"))
cli.define_alias(FLAGS, "output_dir", "output")
options.define(FLAGS, Settings, ("tensorboard",))

cli.heading(FLAGS, "Training")
_LENGTH = ("batch_size", "epochs", "steps", "steps_per_epoch", "validation", "checkpoint_steps")
_OPTIMIZER = ("schedule", "learning_rate", "warmup_steps", "momentum", "weight_decay", "label_smoothing", "ema")
options.define(FLAGS, Settings, (*_LENGTH, *_OPTIMIZER))

cli.heading(FLAGS, "Augmentation")
options.define(FLAGS, Augmentation)

cli.heading(FLAGS, "Machine")
options.define(FLAGS, Settings, ("seed",))
options.define(FLAGS, RunOptions, ("deterministic", "strategy", "mixed_precision"))


def main(arguments: list[str]) -> None:
    cli.refuse_arguments(arguments)
    given = options.given(FLAGS, RunOptions) | options.given(FLAGS, Settings) | options.given(FLAGS, Augmentation)
    st.train(FLAGS.dataset, image_size=checked_size(FLAGS.image_size), **given)
    folder = pathlib.Path(FLAGS.output)
    print(f"\n{_files(folder)}\n{cli.next_steps(_next_steps(folder))}")


def _files(folder: pathlib.Path) -> str:
    names = ("model.keras", "saved_model/", "labels.txt", "metrics.json", "history.csv")
    return f"""\
Everything is in {folder}: {", ".join(name for name in names if (folder / name).exists())} and three pictures:
  {folder}/training.png    loss and accuracy of each epoch
  {folder}/confusion.png   which classes are mistaken for which
  {folder}/mistakes.png    the worst mistakes on test images"""


def _next_steps(folder: pathlib.Path) -> list[tuple[str, str]]:
    photos = FLAGS.dataset.removeprefix("folder:")
    steps = [
        (
            "classify photos",
            f"python -m shufflenet_tf.classify --model={folder} {photos if os.path.isdir(photos) else 'PHOTO.jpg'}",
        ),
        ("export for phones", f"python -m export.tflite --model={folder}"),
    ]
    if pathlib.Path("android_demo").is_dir():  # in a checkout
        steps.append(("then see it on one", f"make android MODEL={folder}/export/model_int8.tflite"))
    if FLAGS.tensorboard:
        steps.append(("how it trained", f"python -m tensorboard.main --logdir={folder}/tensorboard"))
    return steps


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run(
        "train_main.py",
        __doc__,
        FLAGS,
        main,
        argv,
        path=lambda: FLAGS["output"].value,
        memory="give a smaller --batch_size or --image_size.",
        failed="; what was complete is kept",
        interrupted="Interrupted; the same command continues from the last checkpoint.",
    )


if __name__ == "__main__":
    sys.exit(run())
