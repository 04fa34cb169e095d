"""A whole run, from the name of a dataset to a trained model on the disk: what `shufflenet_tf.train` and train_main.py call."""

import contextlib
import dataclasses
import functools
import os
import pathlib
import shutil
import time
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from shufflenet_tf import complexity, loading, options
from shufflenet_tf.data import Source
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.distribution.strategy import Distribution
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import atomic_path, check_writable
from shufflenet_tf.models import registry
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.models.kernels import synchronize
from shufflenet_tf.origin import origin
from shufflenet_tf.preprocessing import Preprocessing
from shufflenet_tf.seeds import fold
from shufflenet_tf.training import certainty, folds, interpolation, parallel, threads
from shufflenet_tf.training import checkpoint as checkpoints
from shufflenet_tf.training.callbacks import BEST
from shufflenet_tf.training.fit import fit
from shufflenet_tf.training.plan import Plan, Size, expected_size, settle
from shufflenet_tf.training.report import write_report
from shufflenet_tf.training.settings import RunOptions, Settings
from shufflenet_tf.training.transfer import transfer
from shufflenet_tf.weights import canonical, published

FLAGS = "run.flags"  # of a finished run: the flags that give it again
# For the report and the export, of --minutes: this part of them, up to so many seconds.
_RESERVED_PART, _RESERVED_SECONDS = 0.25, 150


def train(
    dataset: str,
    *,
    network: str | None = None,
    weights: str | os.PathLike | None = None,
    image_size: int | Sequence[int] | None = None,
    epochs: float | None = None,
    output: str | os.PathLike = RunOptions.output,
    **others: Any,
) -> loading.Bundle | None:
    """Trains a network on a dataset and writes the run's files; the same call continues a run that was interrupted.

    Args:
      dataset: "folder:PATH" or a plain folder (PATH/<class>/*.jpg, or PATH/train/<class>/* and PATH/test/<class>/*),
        "tfds:NAME" or "shapes".
      network: a registered name, see `list_models`; None: that of `weights`, or shufflenet_v2_1.0x.
      weights: trained weights to start with: a path that `load` takes, or "imagenet"; None or "none": random ones. A dataset
        with other classes gets a new classifier.
      image_size: input in pixels: one side, or (height, width), each at least 32; None: 224.
      epochs: how often to go through the training images; None: 30.
      output: folder of the run: model.keras, labels.txt, metrics.json, history.csv, mistakes.csv, pictures and, unless
        `saved_model` is False, saved_model/.
      **others: fields of `training.settings.Settings` (batch_size=64, learning_rate=0.1, freeze="none", ...), of
        `training.settings.RunOptions` (wiring, strict, overwrite, ...) and of `data.augment.Augmentation` (min_area, jitter,
        mixup, ...); train_main.py --help explains them all. With choose=True, all that isn't given is chosen for the dataset.

    Returns:
      The network with the weights that did best on the validation images (with validation=0: the last ones), its labels
      and its preprocessing; None in a worker of a cluster that is not the chief.

    Raises:
      UserError: an unknown name, an option out of range, images that can't be used, a folder that can't be written or that
        holds a run of another network or other labels, or a loss that is no longer a number.
      Preempted, LostWorker: the same call goes on from a checkpoint.
    """
    began = time.monotonic()
    given = others | {"weights": weights and os.fspath(weights), "output": os.fspath(output)}
    given |= {key: value for key, value in {"network": network, "epochs": epochs}.items() if value is not None}
    run_options = RunOptions(**options.split(given, RunOptions, Settings, Augmentation)[0])
    if run_options.strategy == "none":
        threads.choose(expected_size(image_size, given))
    distribution = parallel.begin(run_options, {**given, "dataset": dataset, "image_size": image_size})
    folder = _folder(run_options) if distribution.is_chief else pathlib.Path(run_options.output)
    with distribution.watched(), distribution.chief_first():
        plan = settle(dataset, image_size, given)
    parallel.check(distribution, plan)
    model, progress = _trained(plan, distribution, folder, began)
    if not distribution.is_chief:
        return None
    source, settings, run_options, checkpoint = plan.source, plan.settings, plan.run, plan.checkpoint
    part = _settle_layers(model, checkpoint, source, settings)
    model = certainty.calibrate(model, source, run_options.coverage, settings.batch_size)
    rest = (settings.batch_size, run_options.saved_model, origin(checkpoint, run_options.weights), part)
    print(f"\n{write_report(model, source, progress, folder, *rest)}")
    _write_flags(plan, progress, folder)
    if run_options.folds:
        alike = {**given, "image_size": image_size, "folds": 0, "saved_model": False}
        print(f"\n{folds.cross_validate(functools.partial(train, dataset, **alike), folder, run_options.folds)}")
    return loading.Bundle(model, tuple(source.labels), model.preprocessing)


def _trained(
    plan: Plan, distribution: Distribution, folder: pathlib.Path, began: float
) -> tuple[ImageClassifier, checkpoints.Progress]:
    """Creates and trains the network; `began` is when the run did, by `time.monotonic`."""
    source, run = plan.source, plan.run
    _set_seed(plan.settings.seed, run.deterministic, plan.augmentation)
    arguments = _network_arguments(plan)
    with distribution.scope(), _precision(run.mixed_precision):
        model = registry.create_model(**arguments)
    if plan.settings.sync_batch_norm:
        synchronize(model)
    settings = _start(model, plan.checkpoint, plan.settings).for_images(source.train.size, source.name)
    print(f"{_summary(model, source)}\n{settings.steps:,} steps of {settings.batch_size} images, into {folder}", flush=True)
    seconds = settings.minutes * 60
    deadline = began + max(seconds * (1 - _RESERVED_PART), seconds - _RESERVED_SECONDS) if seconds else None
    progress = fit(model, source, settings, plan.augmentation, folder, distribution, deadline)
    distribution.finish()
    is_plain = not (distribution.cluster or settings.sync_batch_norm) and run.mixed_precision == "none"
    return model if is_plain or not distribution.is_chief else _plain(arguments, folder), progress


def _network_arguments(plan: Plan) -> dict[str, Any]:
    """Returns the arguments of `create_model`."""
    return {
        "name": plan.network,
        "input_shape": (*plan.size, 3),
        "classes": len(plan.source.labels),
        "labels": plan.source.labels,
        "wiring": plan.run.wiring or (plan.checkpoint and plan.checkpoint.wiring),
        "preprocessing": _preprocessing(plan.run, plan.size, plan.checkpoint),
    }


def _preprocessing(run: RunOptions, size: Size, checkpoint: published.Checkpoint | None) -> Preprocessing:
    crop = min(size)
    config = Preprocessing.of(run.preprocessing or (checkpoint.preprocessing if checkpoint else None)).to_config()
    return Preprocessing(**{**config, "resize": round(crop / run.crop_fraction), "crop": crop})


def _set_seed(seed: int, deterministic: bool, augmentation: Augmentation) -> None:
    tf.keras.utils.set_random_seed(fold(seed))
    if deterministic:
        if not augmentation.stateless:
            raise UserError(
                "--deterministic can't go with --rand_augment, which keeps its own dice: --trivial_augment is like it."
            )
        tf.config.experimental.enable_op_determinism()


def _start(model: ImageClassifier, checkpoint: published.Checkpoint | None, settings: Settings) -> Settings:
    """Gives the network its first weights; returns the settings that are left to follow."""
    if checkpoint is not None:
        new = transfer(model, checkpoint)
        print(f"{checkpoint.describe(model.name)}\n  classifier     {'new, for these classes' if new else 'kept'}")
        return settings if new else dataclasses.replace(settings, classifier_first=False)
    if settings.freeze != "none":
        raise UserError(f"--freeze={settings.freeze} would keep random weights as they are: give --weights too.")
    if settings.classifier_first:
        raise UserError("--classifier_first would fit a classifier to random layers: give --weights too.")
    return settings


def _settle_layers(
    model: ImageClassifier, checkpoint: published.Checkpoint | None, source: Source, settings: Settings
) -> float:
    """Has --interpolate done, if it can be; returns the part of the way from the first weights to the trained ones."""
    if checkpoint is None or not settings.interpolate or not certainty.is_measurable(source):
        return 1.0
    losses = interpolation.settle(model, checkpoint.arrays, source, settings.batch_size)
    if losses:
        print(f"\n{interpolation.sentence(losses)}.", flush=True)
    return next(iter(losses), 1.0)


def _write_flags(plan: Plan, progress: checkpoints.Progress, folder: pathlib.Path) -> None:
    """Writes the flags that give this model again, with the number of steps where a limit has changed it."""
    steps = progress.run["steps"] if plan.settings.minutes else 0
    head = ["# The flags of this run: the same model again, with --deterministic here and there, and another --output."]
    head += [f"# It ended early: {progress.stopped}."] if progress.stopped else []
    with atomic_path(folder / FLAGS) as temporary:
        temporary.write_text("\n".join([*head, *plan.flags(steps)]) + "\n", encoding="utf-8")


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


def _plain(arguments: dict[str, Any], folder: pathlib.Path) -> ImageClassifier:
    """Returns the network with the best weights of a run, 32-bit activations, and no strategy."""
    plain = registry.create_model(**arguments)
    canonical.load(plain, folder / BEST)
    return plain


def _folder(run: RunOptions) -> pathlib.Path:
    folder = pathlib.Path(run.output)
    if run.overwrite:
        _remove_run(folder)
    check_writable(folder)
    return folder


def _remove_run(folder: pathlib.Path) -> None:
    """Removes what a run writes and what `export.qat` made of it, which the export would take for the new model's."""
    names = (checkpoints.NAME, checkpoints.HISTORY, BEST, loading.MODEL, "labels.txt", "metrics.json", "reliability.png", FLAGS)
    for name in names:
        (folder / name).unlink(missing_ok=True)
    for name in ("tensorboard", "saved_model", "qat"):
        shutil.rmtree(folder / name, ignore_errors=True)
