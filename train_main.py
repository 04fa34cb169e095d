"""Trains a ShuffleNet on images and leaves a model that is ready to use.

Try it (ten classes of drawn signs, drawn by the program, a few minutes on a laptop):
  python train_main.py --flagfile=v2.flags

Your own photos, one folder a class (PATH/train/<class>/*.jpg and PATH/test/..., or just PATH/<class>/*.jpg): all settings
are chosen for them, and the model is exported for phones (`make photos PHOTOS=PATH` is the same):
  python train_main.py --flagfile=recipes/photos.flags --dataset=folder:PATH

Anything in TensorFlow Datasets, and the papers' own recipes:
  python train_main.py --dataset=tfds:cifar10 --image_size=32
  python train_main.py --flagfile=recipes/shufflenet_v2_1.0x.flags --data_dir=/data/tfds

v2.flags, v1.flags and recipes/ are in the project's checkout; `shufflenet-train` is this program where it is installed.

A run that was interrupted continues when the same command is given again. Afterwards --output holds model.keras,
saved_model/, labels.txt, metrics.json, history.csv, training.png, confusion.png and mistakes.png.

On x86 processors, oneDNN's kernels are turned on, which make a step faster; TF_ENABLE_ONEDNN_OPTS=0 in front turns them off.
"""

import importlib.util
import json
import os
import pathlib
import shlex
import sys
from collections.abc import Sequence

from absl import flags

import shufflenet_tf as st
from shufflenet_tf import cli, options
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.distribution import keras_choice
from shufflenet_tf.errors import UserError
from shufflenet_tf.training.settings import RunOptions, Settings

FLAGS = cli.flag_values()
cli.heading(FLAGS, "Network")
options.define(FLAGS, RunOptions, ("choose", "budget", "network", "weights"))
cli.define_alias(FLAGS, "model", "network")
options.define(FLAGS, Settings, ("freeze", "classifier_first", "backbone_rate", "layer_decay", "interpolate"))
options.define(FLAGS, RunOptions, ("wiring",))
flags.DEFINE_list("image_size", ["224"], "Input in pixels: one side, or height,width; at least 32.", flag_values=FLAGS)
options.define(FLAGS, RunOptions, ("preprocessing", "crop_fraction"))

cli.heading(FLAGS, "Images and results")
cli.define_dataset(FLAGS, "shapes")
options.define(
    FLAGS,
    RunOptions,
    ("cache", "data_service", "strict", "keep_copies", "output", "overwrite", "saved_model", "coverage", "folds"),
)
cli.define_alias(FLAGS, "output_dir", "output")
options.define(FLAGS, Settings, ("tensorboard",))
flags.DEFINE_bool("export", False, "Go on to the export for phones, and say which file to take.", flag_values=FLAGS)
options.define(FLAGS, RunOptions, ("target",))

cli.heading(FLAGS, "Training")
_LENGTH = ("batch_size", "epochs", "steps", "steps_per_epoch", "minutes", "patience", "validation", "checkpoint_steps")
_OPTIMIZER = ("schedule", "learning_rate", "warmup_steps", "momentum", "weight_decay", "label_smoothing", "ema")
_IMAGES = ("first_size", "growth", "balance")
options.define(FLAGS, Settings, (*_LENGTH, *_OPTIMIZER, *_IMAGES))

cli.heading(FLAGS, "Distillation")
options.define(FLAGS, Settings, ("teacher", "temperature", "teacher_weight", "unlabelled"))

cli.heading(FLAGS, "Augmentation")
options.define(FLAGS, Augmentation)

cli.heading(FLAGS, "Machine")
options.define(FLAGS, Settings, ("seed",))
options.define(FLAGS, RunOptions, ("deterministic", "strategy", "tpu", "cluster_timeout"))
options.define(FLAGS, Settings, ("sync_batch_norm",))
options.define(FLAGS, RunOptions, ("mixed_precision",))
options.define(FLAGS, Settings, ("xla",))


def main(arguments: list[str]) -> None:
    cli.refuse_arguments(arguments)
    keras_choice.start_again_if_needed(FLAGS.strategy)
    if FLAGS.export:
        _check_export()
    given = options.given(FLAGS, RunOptions) | options.given(FLAGS, Settings) | options.given(FLAGS, Augmentation)
    if FLAGS.choose:  # what isn't given is left open
        given = {name: value for name, value in given.items() if FLAGS[name].present}
    open_size = FLAGS.choose and not FLAGS["image_size"].present
    if st.train(FLAGS.dataset, image_size=None if open_size else FLAGS.image_size, **given) is None:
        return  # the chief of the cluster writes the results
    folder = pathlib.Path(FLAGS.output)
    print(f"\n{_files(folder)}")
    model = _export(folder) if FLAGS.export else None
    print(cli.next_steps(_next_steps(folder, model)))


def _check_export() -> None:
    """Raises a UserError before a long training if there is no export to follow it."""
    if missing := [name for name in ("export", "ai_edge_litert") if importlib.util.find_spec(name) is None]:
        raise UserError(
            f"--export needs {' and '.join(missing)}, which is not installed: install this project with [export], or leave "
            "--export out."
        )


def _export(folder: pathlib.Path) -> pathlib.Path:
    """Exports the model, prints the verdict and returns the file to take."""
    import export
    from export.pipeline import FOLDER
    from export.report import verdict

    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    images = {
        "calibration_images": min(200, metrics["training_images"]),
        "test_images": min(1000, metrics["test"]["examples"]),
    }
    print("\nExporting for phones, which takes a minute or two", flush=True)
    results = export.export_files(folder, target=FLAGS.target, data_dir=FLAGS.data_dir, **images)
    print(f"{verdict.text(results, folder / FOLDER)}\n{folder / FOLDER}/report.md compares all files.")
    return folder / FOLDER / verdict.best(results).file_name


def _files(folder: pathlib.Path) -> str:
    names = ("model.keras", "saved_model/", "labels.txt", "metrics.json", "history.csv", "run.flags")
    return f"""\
Everything is in {folder}: {", ".join(name for name in names if (folder / name).exists())} and pictures:
  {folder}/training.png    loss and accuracy of each epoch, and which one is kept
  {folder}/confusion.png   which classes are mistaken for which
  {folder}/mistakes.png    the worst mistakes on test images; mistakes.csv has all of them, with the files
  {folder}/attention.png   where it looks, in right and wrong answers"""


def _next_steps(folder: pathlib.Path, exported: pathlib.Path | None) -> list[tuple[str, str]]:
    photos = FLAGS.dataset.removeprefix("folder:")
    is_folder = os.path.isdir(photos)
    photos = shlex.quote(photos) if is_folder else "PHOTO.jpg"
    model = shlex.quote(str(exported or folder))
    steps = [("classify photos", f"python -m shufflenet_tf.classify --model={model} {photos}")]
    if is_folder:
        # Weights of ImageNet see more wrong labels than the model, which has learnt them.
        trained = FLAGS.weights not in (None, "", "none")
        judge = f"--weights={shlex.quote(FLAGS.weights)}" if trained else f"--model={shlex.quote(str(folder))}"
        audit = f"python -m shufflenet_tf.audit {photos} {judge} --output={shlex.quote(str(folder / 'audit'))}"
        steps.append(("look at doubtful photos", audit))
    if not exported:
        steps.append(("export for phones", f"python -m export.tflite --model={model}"))
    if pathlib.Path("android_demo").is_dir():  # in a checkout
        file = model if exported else shlex.quote(str(folder / "export/model_int8.tflite"))
        steps.append(("make the camera app", f"make android MODEL={file}"))
        steps.append(("put it on a phone", "adb install -r android_demo/app-debug.apk"))
    if FLAGS.tensorboard and not exported:
        steps.append(("how it trained", f"python -m tensorboard.main --logdir={shlex.quote(str(folder))}/tensorboard"))
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
