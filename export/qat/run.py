"""A whole run of quantization-aware training: from a float network and photos to an int8 file and the proof of it."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

import shufflenet_tf as st
from export import ptq, verify
from export.convert import convert
from export.qat import network, ranges, report, rounding, training
from export.quantize import Quantization
from shufflenet_tf.data import Source
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.evaluation import pictures
from shufflenet_tf.files import atomic_path
from shufflenet_tf.training.checkpoint import Progress
from shufflenet_tf.weights import canonical

BATCH = 16  # of calibration


def learn(
    bundle: st.Bundle,
    source: Source,
    settings: training.Settings,
    augmentation: Augmentation,
    calibration: Sequence[np.ndarray],
    folder: pathlib.Path,
    say: Callable[[str], None] = print,
) -> tuple[tf.keras.Model, Progress]:
    """Trains a network to be int8, going on where an earlier run in `folder` stopped.

    Args:
      bundle: the float network, which stays as it is.
      source: the photos, and labels if they are to teach.
      settings: how to train.
      augmentation: what happens to the photos.
      calibration: uint8 images [H, W, 3] that ranges start from.
      folder: for checkpoint and history.
      say: called with each line of progress.

    Returns:
      The network as `rounding.to_tflite` takes it, and its history.

    Raises:
      UserError: see `ranges.calibrate` and `training.train`.
    """
    teacher = network.folded(bundle.model)
    batches = [np.stack(calibration[i : i + BATCH]) for i in range(0, len(calibration), BATCH)]
    start = ranges.calibrate(teacher, batches)
    student = rounding.rounded(teacher, start)
    about = {
        "model": {key: value for key, value in canonical.config(bundle.model).items() if key != "labels"},
        "labels": source.labels,
        "dataset": source.spec or source.name,
        **dataclasses.asdict(settings),
        **dataclasses.asdict(augmentation),
    }
    trained = training.Training(student, teacher, start, settings)
    if not (folder / training.CHECKPOINT).exists():
        say(f"Ranges start at {trained.tighten(batches):.0%} of what {len(calibration)} photos span.")
    return student, training.train(trained, source, bundle.preprocessing, augmentation, folder, about, say)


def write(
    bundle: st.Bundle,
    student: tf.keras.Model,
    progress: Progress,
    calibration: Sequence[np.ndarray],
    images: Sequence[verify.Batch],
    folder: pathlib.Path,
    output: str = "uint8",
    threads: int = 1,
    runs: int = 30,
) -> None:
    """Writes everything that a finished run leaves behind.

    Args:
      bundle: the float network; its weights are those that learnt afterwards.
      student, progress: of `learn`.
      calibration: uint8 images [H, W, 3] for the post-training int8 files that the trained one is compared with.
      images: batches of (uint8 [N, H, W, 3], class indices [N] or None) that the report is about.
      folder: of the run.
      output: type of the int8 files' probabilities.
      threads: of the interpreter that the files are made for.
      runs: timed runs of each file.
    """
    content, floats = rounding.to_tflite(student, output), convert(bundle.model)
    plain = convert(bundle.model, Quantization("int8", output, calibration))
    conversions = {
        "float32": floats,
        "int8, post-training": plain,
        "int8, post-training, best": ptq.quantize(floats, plain, calibration).model,
        "int8, trained": content,
    }
    rows, proven = report.measure(bundle, conversions, images, threads, runs)
    named = {name: variable.numpy() for name, variable in rounding.named_variables(student).items()}
    canonical.assign(bundle.model, network.unfolded(bundle.model, named))
    ends = {name: float(value) for name, value in named.items() if name.endswith(("/low", "/high"))}
    model = bundle.model
    lines = [f"# {model.name}, {bundle.size[0]}x{bundle.size[1]} px, int8", "", report.table(rows, proven)]
    lines += ["", f"{proven.images:,} images, {threads} thread(s), medians of {runs} interleaved runs.", ""]
    figures = {"model": model.name, "images": proven.images, "steps": progress.step, "files": [row.to_json() for row in rows]}
    canonical.save(model, folder / "model.npz")
    _write(folder / "ranges.json", (json.dumps(ends, indent=1) + "\n").encode())
    _write(folder / report.AS_CONVERTED, content)
    _write(folder / report.FINISHED, rows[-1].content)
    _write(folder / "labels.txt", "".join(f"{label}\n" for label in proven.labels).encode())
    _write(folder / "report.md", "\n".join(lines).encode())
    _write(folder / "report.json", (json.dumps(figures, indent=1) + "\n").encode())
    pictures.training_curves(progress.history, folder / "training.png")
    verify.write(proven, folder)


def _write(path: pathlib.Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
