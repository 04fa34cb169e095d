"""Trains a ShuffleNet on images and leaves a model that is ready to use.

Try it (ten classes of drawn signs, made on the spot, a few minutes on a laptop):
  python train_main.py --flagfile=v2.flags

Your own photos, one folder a class (PATH/train/<class>/*.jpg and PATH/test/..., or just PATH/<class>/*.jpg):
  python train_main.py --flagfile=v2.flags --dataset=folder:PATH --output_dir=runs/photos

Better and sooner with few photos: start with weights that have seen ImageNet (or your own, --weights=FILE):
  python train_main.py --flagfile=recipes/finetune_photos.flags --dataset=folder:PATH

Anything in TensorFlow Datasets, and the papers' own recipes:
  python train_main.py --dataset=tfds:cifar10 --image_size=32
  python train_main.py --flagfile=recipes/shufflenet_v2_1.0x.flags --data_dir=/data/tfds

A flag file holds one flag a line; flags behind it on the command line win. A run that was interrupted goes on when the
same command is given again. Afterwards --output_dir holds model.keras, saved_model/, labels.txt, metrics.json,
history.csv, training.png, confusion.png and mistakes.png.

On x86 processors, oneDNN's kernels are turned on, which make a step faster; TF_ENABLE_ONEDNN_OPTS=0 in front turns them off.
"""

import contextlib
import os
import pathlib
import shutil
import sys

# TensorFlow's notes, among them harmless ones of level "error", are not for users; what fails is raised in Python anyway.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags, logging

import shufflenet_tf as st  # isort: skip
import tensorflow as tf  # isort: skip

from shufflenet_tf.cli import run_and_report
from shufflenet_tf.data import open_source
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.files import check_writable
from shufflenet_tf.models.image_classifier import MIN_SIZE
from shufflenet_tf.preprocessing import PREPROCESSINGS
from shufflenet_tf.seeds import fold
from shufflenet_tf.text_files import expand_flag_files
from shufflenet_tf.training import schedules
from shufflenet_tf.training.fit import Settings, train
from shufflenet_tf.training.report import write_report
from shufflenet_tf.training.transfer import FREEZE, transfer
from shufflenet_tf.weights.published import Checkpoint, find
from shufflenet_tf.wiring import WIRINGS

FLAGS = flags.FLAGS
MODEL = "shufflenet_v2_1.0x"  # where nothing else says which

flags.DEFINE_string("model", None, f"Network; default: that of --weights, else {MODEL}. A wrong name lists the nearest ones.")
flags.DEFINE_string("weights", None, "Trained weights to start with: a .npz, .pth, .pth.tar or .keras file, or imagenet.")
flags.DEFINE_enum("freeze", "none", FREEZE, "Layers that keep their weights: all before stage 4, or all but the classifier.")
flags.DEFINE_float("backbone_rate", 1.0, "Factor on the learning rate of all layers but the classifier.", 0, 1)
flags.DEFINE_enum(
    "wiring", None, list(WIRINGS), "Whose details of the architecture to follow; default: that of --weights, or the network's."
)
flags.DEFINE_list("image_size", ["224"], "Input in pixels: one side, or height,width; at least 32.")
flags.DEFINE_enum(
    "preprocessing", None, list(PREPROCESSINGS), "Whose scale and channel order; default: that of --weights, or torchvision's."
)
flags.DEFINE_float("crop_fraction", 224 / 256, "Evaluation: part of the shorter side that the centre crop takes.", 0.1, 1)

flags.DEFINE_string("dataset", "shapes", "Images: shapes (drawn on the spot), tfds:NAME or folder:PATH.")
flags.DEFINE_string("data_dir", None, "Where TensorFlow Datasets are prepared; default: its own folder in your home.")
flags.DEFINE_bool("strict", False, "Stop at a photo that can't be used instead of skipping it.")
flags.DEFINE_string("output_dir", "runs/latest", "Folder of the run; an interrupted run in it goes on.")
flags.DEFINE_bool("overwrite", False, "Remove what --output_dir holds of an earlier run and start afresh.")

flags.DEFINE_integer("batch_size", 64, "Images a step, over all devices.", 1)
flags.DEFINE_float("epochs", 30, "How often to go through the images; --steps overrides it.", 0)
flags.DEFINE_integer("steps", 0, "Training steps; 0: as --epochs says.", 0)
flags.DEFINE_integer("steps_per_epoch", 0, "Steps between two evaluations; 0: all images once.", 0)
flags.DEFINE_integer("checkpoint_steps", 500, "Steps between two checkpoints.", 1)
flags.DEFINE_enum("schedule", "linear", schedules.KINDS, "Decay of the learning rate; linear to zero is the papers'.")
flags.DEFINE_float("learning_rate", 0.1, "Its highest value; the papers take 0.5 for batches of 1024.", 1e-8, 100)
flags.DEFINE_integer("warmup_steps", 0, "Steps in which the learning rate rises from zero.", 0)
flags.DEFINE_float("momentum", 0.9, "Of SGD, Nesterov's.", 0, 0.9999)
flags.DEFINE_float("weight_decay", 4e-5, "On convolution and dense weights only.", 0, 1)
flags.DEFINE_float("label_smoothing", 0.0, "Part of the probability that is spread over all classes.", 0, 0.99)
flags.DEFINE_float("ema", 0.0, "Decay per step of averaged weights, such as 0.999; 0: none.", 0, 0.999999)

_AUGMENTATION = Augmentation()
flags.DEFINE_float(
    "min_area", _AUGMENTATION.min_area, "Smallest part of an image that a crop takes; 1: no random crop.", 0.01, 1
)
flags.DEFINE_float("jitter", _AUGMENTATION.jitter, "Strength of random brightness, contrast and saturation.", 0, 1)
flags.DEFINE_float("lighting", _AUGMENTATION.lighting, "Strength of the random shift along ImageNet's main colours.", 0, 1)
flags.DEFINE_bool("flip", _AUGMENTATION.flip, "Mirror every second image.")
flags.DEFINE_float("rand_augment", 0.0, "Magnitude of keras-cv's RandAugment; 0: none.", 0, 10)
flags.DEFINE_float("mixup", 0.0, "Alpha of keras-cv's MixUp; 0: none.", 0, 10)
flags.DEFINE_float("cutmix", 0.0, "Alpha of keras-cv's CutMix; 0: none.", 0, 10)

flags.DEFINE_integer(
    "seed", 0, "Of weights, order and augmentation: 0 or more; of one above 2**32 - 1, the remainder by 2**32 counts.", 0
)
flags.DEFINE_bool("deterministic", False, "Equal weights to the last bit for equal flags, also after an interruption.")
flags.DEFINE_enum("strategy", "none", ["none", "mirrored"], "mirrored: all GPUs of this machine.")
flags.DEFINE_enum("mixed_precision", "none", ["none", "float16", "bfloat16"], "Type of the activations in training.")
flags.DEFINE_bool("tensorboard", True, "Write event files for TensorBoard.")
flags.DEFINE_bool("saved_model", True, "Write a SavedModel besides the Keras file.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise st.UserError(f"Unexpected argument {argv[1]!r}: all settings are flags, --name=value.")
    logging.set_verbosity(logging.ERROR)  # Keras and TensorFlow log through absl what only their authors need
    size = _image_size()
    name, checkpoint = _network()
    folder = pathlib.Path(FLAGS.output_dir)
    if FLAGS.overwrite:
        _remove_run(folder)
    check_writable(folder)
    augmentation = _augmentation()
    tf.keras.utils.set_random_seed(fold(FLAGS.seed))
    if FLAGS.deterministic:
        if not augmentation.stateless:
            raise st.UserError("--deterministic can't go with --rand_augment, --mixup or --cutmix, which keep their own dice.")
        tf.config.experimental.enable_op_determinism()
    model = {
        "name": name,
        "input_shape": (*size, 3),
        "wiring": FLAGS.wiring or (checkpoint and checkpoint.wiring),
        "preprocessing": _preprocessing(size, checkpoint),
    }
    source = open_source(FLAGS.dataset, data_dir=FLAGS.data_dir, seed=FLAGS.seed, strict=FLAGS.strict)
    strategy = tf.distribute.MirroredStrategy() if FLAGS.strategy == "mirrored" else None
    with strategy.scope() if strategy else contextlib.nullcontext(), _precision(FLAGS.mixed_precision):
        network = st.create_model(**model, classes=len(source.labels), labels=source.labels)
    if checkpoint is not None:
        new = transfer(network, checkpoint)
        print(f"{checkpoint.describe(name)}\n  classifier     {'new, for these classes' if new else 'kept'}")
    elif FLAGS.freeze != "none":
        raise st.UserError(f"--freeze={FLAGS.freeze} would keep random weights as they are: give --weights too.")
    settings = _settings(source.train.size)
    print(
        f"{network.name}: {st.complexity.parameters(network):,} parameters, "
        f"{st.complexity.multiply_adds(network) / 1e6:,.1f} million multiply-adds at {size[0]}x{size[1]}\n"
        f"{source.name}: {source.train.size:,} images to train on and {source.test.size:,} to test on, "
        f"{len(source.labels)} classes\n{settings.steps:,} steps of {settings.batch_size} images, into {folder}",
        flush=True,
    )
    progress = train(network, source, settings, augmentation, folder, strategy)
    if FLAGS.mixed_precision != "none":
        network = _in_float32(network, model, source.labels)
    evaluation = write_report(network, source, progress, folder, FLAGS.batch_size, FLAGS.saved_model)
    print(f"\n{evaluation.text_table()}\n\n{_next_commands(folder)}")


def _image_size() -> tuple[int, int]:
    sides = [int(side) if side.isdigit() else 0 for side in FLAGS.image_size]
    if len(sides) not in (1, 2) or min(sides) < MIN_SIZE:
        given = ",".join(FLAGS.image_size)
        raise st.UserError(f"--image_size={given} can't be used: give a side, or height,width, of {MIN_SIZE} px or more.")
    return sides[0], sides[-1]


def _network() -> tuple[str, Checkpoint | None]:
    """Returns the network's name and the weights that it starts with."""
    if FLAGS.model:
        st.registry.check(FLAGS.model)
    if not FLAGS.weights:
        return FLAGS.model or MODEL, None
    if FLAGS.weights == "imagenet":
        return FLAGS.model or MODEL, find("imagenet", FLAGS.model or MODEL)
    checkpoint = st.loading.checkpoint(FLAGS.weights)
    found = st.registry.identify(checkpoint)
    if FLAGS.model not in (None, found):
        raise st.UserError(
            f"{FLAGS.weights} is a {found} and no {FLAGS.model}: give no --model, or --model={found} behind a flag file."
        )
    return found, checkpoint


def _preprocessing(size: tuple[int, int], checkpoint: Checkpoint | None = None) -> st.Preprocessing:
    crop = min(size)
    given = FLAGS.preprocessing or (checkpoint.preprocessing if checkpoint else None)
    contract = st.Preprocessing.of(given).to_config()
    return st.Preprocessing(**{**contract, "resize": round(crop / FLAGS.crop_fraction), "crop": crop})


def _augmentation() -> Augmentation:
    names = ("min_area", "jitter", "lighting", "flip", "rand_augment", "mixup", "cutmix")
    return Augmentation(**{name: FLAGS[name].value for name in names})


def _settings(images: int) -> Settings:
    names = ("batch_size", "steps_per_epoch", "schedule", "learning_rate", "warmup_steps", "momentum", "weight_decay")
    names += ("label_smoothing", "ema", "checkpoint_steps", "seed", "tensorboard", "freeze", "backbone_rate")
    # Whole epochs as `train` counts them, so that the last one is no stump.
    steps_per_epoch = FLAGS.steps_per_epoch or max(1, images // FLAGS.batch_size)
    steps = FLAGS.steps or max(1, round(FLAGS.epochs * steps_per_epoch))
    return Settings(steps=steps, weights=FLAGS.weights or "", **{name: FLAGS[name].value for name in names})


@contextlib.contextmanager
def _precision(kind: str):
    if kind != "none":
        tf.keras.mixed_precision.set_global_policy(f"mixed_{kind}")
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")


def _in_float32(network: st.ImageClassifier, model: dict, labels: tuple[str, ...]) -> st.ImageClassifier:
    """Returns the network with its weights, which are 32-bit anyway, and activations that are so too."""
    plain = st.create_model(**model, classes=len(labels), labels=labels)
    plain.set_weights(network.get_weights())
    return plain


def _remove_run(folder: pathlib.Path) -> None:
    """Removes the files that a run writes, and nothing else."""
    for name in ("checkpoint.npz", "best.npz", "history.csv", "model.keras", "labels.txt", "metrics.json"):
        (folder / name).unlink(missing_ok=True)
    for name in ("tensorboard", "saved_model"):
        shutil.rmtree(folder / name, ignore_errors=True)


def _next_commands(folder: pathlib.Path) -> str:
    files = [
        name
        for name in ("model.keras", "saved_model/", "labels.txt", "metrics.json", "history.csv")
        if (folder / name).exists()
    ]
    interpreter = pathlib.Path(sys.executable)
    here = pathlib.Path.cwd()
    python = interpreter.relative_to(here) if interpreter.is_relative_to(here) else "python"
    watch = f"\n  {python} -m tensorboard.main --logdir={folder}/tensorboard" if FLAGS.tensorboard else ""
    return f"""\
Everything is in {folder}: {", ".join(files)} and three pictures:
  {folder}/training.png    how it learned
  {folder}/confusion.png   which classes it takes for which
  {folder}/mistakes.png    its worst mistakes
Next:
  {python} -c "import shufflenet_tf as st; st.load('{folder}').model.summary()"{watch}"""


def run(argv: list[str]) -> int:
    """Runs `main` and returns the exit status; what a person or a machine gets wrong is told in one sentence."""
    return run_and_report(
        "train_main.py",
        lambda: main(argv),
        path=lambda: FLAGS.output_dir,
        memory="give a smaller --batch_size or --image_size.",
        failed="; what was complete is kept",
        interrupted="Interrupted; the same command goes on from the last checkpoint.",
    )


def _parse(argv: list[str]) -> list[str]:
    arguments: list[str] = []
    if status := run_and_report("train_main.py", lambda: arguments.extend(FLAGS(expand_flag_files(argv)))):
        sys.exit(status)
    return arguments


if __name__ == "__main__":
    app.run(lambda argv: sys.exit(run(argv)), flags_parser=_parse)
