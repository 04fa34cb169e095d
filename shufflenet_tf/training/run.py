"""A whole run, from the name of a dataset to a trained model on the disk: what `shufflenet_tf.train` and train_main.py call."""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from shufflenet_tf import complexity, loading, options
from shufflenet_tf.data import Source, open_source
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import check_writable
from shufflenet_tf.models import registry
from shufflenet_tf.models.image_classifier import MIN_SIZE, ImageClassifier
from shufflenet_tf.preprocessing import Preprocessing
from shufflenet_tf.seeds import fold
from shufflenet_tf.training import checkpoint as checkpoints
from shufflenet_tf.training.callbacks import BEST
from shufflenet_tf.training.fit import fit
from shufflenet_tf.training.report import write_report
from shufflenet_tf.training.settings import NETWORK, RunOptions, Settings
from shufflenet_tf.training.transfer import transfer
from shufflenet_tf.weights import published

Size = tuple[int, int]


def train(
    dataset: str,
    *,
    network: str | None = None,
    weights: str | os.PathLike | None = None,
    image_size: int | Sequence[int] = 224,
    epochs: float = Settings.epochs,
    output: str | os.PathLike = RunOptions.output,
    **others: Any,
) -> loading.Bundle:
    """Trains a network on a dataset and writes the run's files; the same call continues a run that was interrupted.

    Args:
      dataset: "folder:PATH" or a plain folder (PATH/<class>/*.jpg, or PATH/train/<class>/* and PATH/test/<class>/*),
        "tfds:NAME" or "shapes".
      network: a registered name, see `list_models`; None: that of `weights`, or shufflenet_v2_1.0x.
      weights: trained weights to start with: a path that `load` takes, or "imagenet"; None: random ones. A dataset with other
        classes gets a new classifier.
      image_size: input in pixels: one side, or (height, width), each at least 32.
      epochs: how often to go through the training images.
      output: folder of the run: model.keras, labels.txt, metrics.json, history.csv, three pictures and, unless
        `saved_model` is False, saved_model/.
      **others: fields of `training.settings.Settings` (batch_size=64, learning_rate=0.1, freeze="none", ...), of
        `training.settings.RunOptions` (wiring, strict, overwrite, ...) and of `data.augment.Augmentation` (min_area, jitter,
        mixup, ...); train_main.py --help explains them all.

    Returns:
      The network with the weights that did best on the validation images (with validation=0: the last ones), its labels
      and its preprocessing.

    Raises:
      UserError: an unknown name, an option out of range, images that can't be used, a folder that can't be written or that
        holds a run of another network or other labels, or a loss that is no longer a number.
    """
    paths = {"weights": weights and os.fspath(weights), "output": os.fspath(output)}
    divided = options.split(others | {"network": network, "epochs": epochs, **paths}, RunOptions, Settings, Augmentation)
    run_options, size = RunOptions(**divided[0]), checked_size(image_size)
    name, checkpoint = _network(run_options)
    folder = _folder(run_options)
    settings, augmentation = Settings(**{**divided[1], "weights": run_options.weights or ""}), Augmentation(**divided[2])
    _set_seed(settings.seed, run_options.deterministic, augmentation)
    # Without the seed, as a run with another one, or the export, must not test on images that this one trains on.
    places = {"data_dir": run_options.data_dir, "strict": run_options.strict, "keep_copies": run_options.keep_copies}
    source = open_source(dataset, **places, validation=settings.validation)
    arguments = {
        "name": name,
        "input_shape": (*size, 3),
        "classes": len(source.labels),
        "labels": source.labels,
        "wiring": run_options.wiring or (checkpoint and checkpoint.wiring),
        "preprocessing": _preprocessing(run_options, size, checkpoint),
    }
    strategy = tf.distribute.MirroredStrategy() if run_options.strategy == "mirrored" else None
    with strategy.scope() if strategy else contextlib.nullcontext(), _precision(run_options.mixed_precision):
        model = registry.create_model(**arguments)
    _start(model, checkpoint, settings.freeze)
    settings = settings.for_images(source.train.size, source.name)
    print(f"{_summary(model, source)}\n{settings.steps:,} steps of {settings.batch_size} images, into {folder}", flush=True)
    progress = fit(model, source, settings, augmentation, folder, strategy)
    if run_options.mixed_precision != "none":
        model = _in_float32(model, arguments)
    print(f"\n{write_report(model, source, progress, folder, settings.batch_size, run_options.saved_model).text_table()}")
    return loading.Bundle(model, tuple(source.labels), model.preprocessing)


def checked_size(sides: int | Sequence[int | str]) -> Size:
    """Returns height and width in pixels of one side or two, which may be text.

    Raises:
      UserError: they are none, or too small.
    """
    given = [sides] if isinstance(sides, int) else list(sides)
    numbers = [int(side) if str(side).isdigit() else 0 for side in given]
    if len(numbers) not in (1, 2) or min(numbers) < MIN_SIZE:
        text = ",".join(map(str, given))
        raise UserError(f"--image_size={text} can't be used: give a side, or height,width, of {MIN_SIZE} px or more.")
    return numbers[0], numbers[-1]


def _network(run: RunOptions) -> tuple[str, published.Checkpoint | None]:
    """Returns the network's name and the weights that it starts with."""
    if run.network:
        registry.check(run.network)
    if not run.weights:
        return run.network or NETWORK, None
    if run.weights == "imagenet":
        return run.network or NETWORK, published.find("imagenet", run.network or NETWORK)
    checkpoint = loading.checkpoint(run.weights)
    name = registry.identify(checkpoint)
    if run.network not in (None, name):
        raise UserError(
            f"{run.weights} is a {name} and no {run.network}: give no --network, or --network={name} after a flag file."
        )
    return name, checkpoint


def _preprocessing(run: RunOptions, size: Size, checkpoint: published.Checkpoint | None) -> Preprocessing:
    crop = min(size)
    config = Preprocessing.of(run.preprocessing or (checkpoint.preprocessing if checkpoint else None)).to_config()
    return Preprocessing(**{**config, "resize": round(crop / run.crop_fraction), "crop": crop})


def _set_seed(seed: int, deterministic: bool, augmentation: Augmentation) -> None:
    tf.keras.utils.set_random_seed(fold(seed))
    if deterministic:
        if not augmentation.stateless:
            raise UserError("--deterministic can't go with --rand_augment, --mixup or --cutmix, which keep their own dice.")
        tf.config.experimental.enable_op_determinism()


def _start(model: ImageClassifier, checkpoint: published.Checkpoint | None, freeze: str) -> None:
    """Gives the network its first weights."""
    if checkpoint is not None:
        new = transfer(model, checkpoint)
        print(f"{checkpoint.describe(model.name)}\n  classifier     {'new, for these classes' if new else 'kept'}")
    elif freeze != "none":
        raise UserError(f"--freeze={freeze} would keep random weights as they are: give --weights too.")


def _summary(model: ImageClassifier, source: Source) -> str:
    height, width = model.input_shape[1:3]
    chosen_on = source.validation.size if source.validation else 0
    return (
        f"{model.name}: {complexity.parameters(model):,} parameters, "
        f"{complexity.multiply_adds(model) / 1e6:,.1f} million multiply-adds at {height}x{width}\n"
        f"{source.name}: {source.train.size:,} images to train on, {chosen_on:,} to choose the best epoch on and "
        f"{source.test.size:,} to test on, {len(source.labels)} classes"
    )


@contextlib.contextmanager
def _precision(kind: str):
    if kind != "none":
        tf.keras.mixed_precision.set_global_policy(f"mixed_{kind}")
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")


def _in_float32(model: ImageClassifier, arguments: dict[str, Any]) -> ImageClassifier:
    """Returns the network with its weights, which are 32-bit anyway, and 32-bit activations."""
    plain = registry.create_model(**arguments)
    plain.set_weights(model.get_weights())
    return plain


def _folder(run: RunOptions) -> pathlib.Path:
    folder = pathlib.Path(run.output)
    if run.overwrite:
        _remove_run(folder)
    check_writable(folder)
    return folder


def _remove_run(folder: pathlib.Path) -> None:
    """Removes the files that a run writes, and nothing else."""
    for name in (checkpoints.NAME, checkpoints.HISTORY, BEST, loading.MODEL, "labels.txt", "metrics.json"):
        (folder / name).unlink(missing_ok=True)
    for name in ("tensorboard", "saved_model"):
        shutil.rmtree(folder / name, ignore_errors=True)
