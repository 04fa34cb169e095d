"""The program `python -m export.qat`: flags in, a network that has learnt to be int8 out."""

import pathlib
import time

from absl import flags

import shufflenet_tf as st
from export import cli, tflite, verify
from export.optimize import resolve
from export.qat import comparison, loading, loop, photos, training
from export.qat import run as run_
from shufflenet_tf.data import Source
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import check_writable

FLAGS = cli.flag_values()
_SETTINGS, _AUGMENTATION = training.Settings(), Augmentation(min_area=0.8, jitter=0.0, lighting=0.0)
flags.DEFINE_string(
    "model", None, "The folder of a run, a .keras file, or a checkpoint (.npz, .pth, .pth.tar).", flag_values=FLAGS
)
flags.DEFINE_string(
    "dataset", None, "Photos: a plain folder, folder:PATH, tfds:NAME or shapes; default: the run's dataset.", flag_values=FLAGS
)
flags.DEFINE_string("data_dir", None, "Where TensorFlow Datasets are prepared.", flag_values=FLAGS)
flags.DEFINE_string(
    "output_dir", None, f"Folder of this run; default: {comparison.FOLDER}/ beside the model.", flag_values=FLAGS
)
flags.DEFINE_bool("overwrite", False, "Start afresh where --output_dir holds an earlier run.", flag_values=FLAGS)
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
    if arguments:
        raise UserError(f"Unexpected argument {arguments[0]!r}: all settings are flags, --name=value.")
    if FLAGS.model is None:
        raise UserError("There is no model: give --model=PATH; --help shows examples.")
    target = resolve(FLAGS.target)
    began = time.monotonic()
    path = pathlib.Path(FLAGS.model)
    bundle = loading.load(path)
    spec = FLAGS.dataset or tflite._dataset(path)
    if spec is None:
        raise UserError(f"{path} doesn't say what it was trained on: give --dataset=FOLDER; photos without labels will do.")
    folder = pathlib.Path(FLAGS.output_dir or (path if path.is_dir() else path.parent) / comparison.FOLDER)
    check_writable(folder)
    if FLAGS.overwrite:
        (folder / loop.CHECKPOINT).unlink(missing_ok=True)
    source = photos.open_photos(spec, FLAGS.data_dir)
    settings = _settings(bundle, source)
    teacher = "the float network" if settings.distill else "the float network and labels"
    say(
        f"{bundle.model.name} at {bundle.size[0]}x{bundle.size[1]} px learns to be int8 from {teacher}: "
        f"{source.train.size:,} photos to train on and {source.test.size:,} to test on, "
        f"{settings.steps:,} steps of {settings.batch_size}, into {folder}"
    )
    shown = min(FLAGS.test_images, source.test.size)
    if source.labels:
        images = list(verify.batches(source, bundle, shown))
    else:
        batches = photos.pixel_batches(source.test, bundle.preprocessing, bundle.size, verify.BATCH, shown)
        images = [(pixels, None) for pixels, _ in batches]
    count = min(FLAGS.calibration_images, source.train.size)
    batches = photos.pixel_batches(source.train, bundle.preprocessing, bundle.size, settings.batch_size, count)
    calibration = [image for pixels, _ in batches for image in pixels]
    augmentation = Augmentation(**{name: FLAGS[name].value for name in ("min_area", "jitter", "lighting", "flip")})
    output = FLAGS.int8_output
    learnt = run_.learn(bundle, source, settings, augmentation, calibration, folder, output, say)
    run_.write(bundle, *learnt, images, folder, output, FLAGS.threads, FLAGS.runs, target)
    seconds = time.monotonic() - began
    say(f"\n{(folder / 'report.md').read_text(encoding='utf-8')}\nEverything is in {folder}, after {seconds:.0f} s.")


def say(sentence: str) -> None:
    print(sentence, flush=True)


def _settings(bundle: st.Bundle, source: Source) -> training.Settings:
    same = bundle.labels is not None and tuple(source.labels) == tuple(bundle.labels)
    distill = not same if FLAGS.distill is None else FLAGS.distill
    if not distill and not same:
        raise UserError(f"The labels of {source.name} aren't the model's, so they can't teach it: leave out --nodistill.")
    names = (
        "steps",
        "batch_size",
        "steps_per_epoch",
        "test_images",
        "learning_rate",
        "temperature",
        "checkpoint_steps",
        "seed",
    )
    return training.Settings(distill=distill, **{name: FLAGS[name].value for name in names})


def run(description: str, argv: list[str]) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("export.qat", description, FLAGS, main, argv)
