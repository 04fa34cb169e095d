"""A whole run of quantization-aware training: from a float network and photos to an int8 file and the proof of it.

It starts with the best that `export.ptq` makes of the network without training.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

import shufflenet_tf as st
from export import ptq, verify
from export.convert.from_keras import convert, trace
from export.convert.precision import Precision
from export.optimize.targets import PHONE, Target
from export.qat import comparison, fake_quantization, graph_weights, learned_ranges, loop, network, training
from export.report import layer_table as layer_report
from shufflenet_tf.data import Source
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.evaluation import pictures
from shufflenet_tf.files import atomic_path
from shufflenet_tf.training.checkpoint import Progress
from shufflenet_tf.weights import canonical

BATCH = 16  # of calibration
# What training starts with: the int8 graph as converted and corrected, and the float graph that it's the int8 version of.
START, REFERENCE = "post_training_int8.tflite", "post_training_float32.tflite"


@dataclasses.dataclass(frozen=True)
class Converted:
    """A network as the converter makes it, before it learns.

    Attributes:
      real: the float .tflite file.
      minmax: the int8 one, of TensorFlow's own quantization.
    """

    real: bytes
    minmax: bytes

    @classmethod
    def of(cls, bundle: st.Bundle, calibration: Sequence[np.ndarray], output: str = "uint8") -> "Converted":
        """Converts a network, with ranges of uint8 images [H, W, 3] and probabilities of type `output`."""
        traced = trace(bundle.model)
        return cls(convert(traced), convert(traced, Precision("int8", output, calibration)))


def learn(
    bundle: st.Bundle,
    source: Source,
    settings: training.Settings,
    augmentation: Augmentation,
    calibration: Sequence[np.ndarray],
    folder: pathlib.Path,
    output: str = "uint8",
    say: Callable[[str], None] = print,
) -> tuple[tf.keras.Model, Progress, Converted]:
    """Trains a network to be int8, going on where an earlier run in `folder` stopped.

    Args:
      bundle: the float network, which stays as it is.
      source: the photos, and labels if they are to teach.
      settings: how to train.
      augmentation: what happens to the photos.
      calibration: uint8 images [H, W, 3] for post-training quantization.
      folder: for checkpoint, history and the start.
      output: type of the int8 files' probabilities.
      say: called with each line of progress.

    Returns:
      The network as `fake_quantization.to_tflite` takes it, its history, and what it was before.

    Raises:
      UserError: see `learned_ranges.calibrate`, `ptq.quantize` and `loop.train`.
    """
    teacher = network.folded(bundle.model)
    batches = [np.stack(calibration[i : i + BATCH]) for i in range(0, len(calibration), BATCH)]
    seen = learned_ranges.calibrate(teacher, batches)
    converted = Converted.of(bundle, calibration, output)
    if not all((folder / name).exists() for name in (loop.CHECKPOINT, START, REFERENCE)):
        say(f"Starting with post-training quantization on {len(calibration)} photos")
        best = ptq.quantize(converted.real, converted.minmax, calibration)
        _write(folder / START, best.model)
        _write(folder / REFERENCE, best.reference)
    start = graph_weights.of_graph((folder / START).read_bytes(), (folder / REFERENCE).read_bytes(), teacher, seen)
    student = fake_quantization.rounded(teacher, start)
    about = {
        "model": {key: value for key, value in canonical.config(bundle.model).items() if key != "labels"},
        "labels": source.labels,
        "dataset": source.spec or source.name,
        **dataclasses.asdict(settings),
        **dataclasses.asdict(augmentation),
    }
    trained = training.Training(student, teacher, start, settings)
    progress = loop.train(trained, source, bundle.preprocessing, augmentation, folder, about, say)
    return student, progress, converted


def write(
    bundle: st.Bundle,
    student: tf.keras.Model,
    progress: Progress,
    converted: Converted,
    images: Sequence[verify.Batch],
    folder: pathlib.Path,
    output: str = "uint8",
    threads: int = 1,
    runs: int = 30,
    target: str | Target = PHONE,
) -> None:
    """Writes everything that a finished run leaves behind.

    Args:
      bundle: the float network; its weights are those that learnt afterwards.
      student, progress, converted: of `learn`, in `folder`.
      images: batches of (uint8 [N, H, W, 3], class indices [N] or None) that the report is about.
      folder: of the run.
      output: type of the int8 files' probabilities.
      threads: of the interpreter that the files are made for.
      runs: timed runs of each file.
      target: the processor to make the files fast on; see `export.optimize.optimize`.
    """
    content = fake_quantization.to_tflite(student, output)
    best = ptq.QuantizedPair((folder / START).read_bytes(), (folder / REFERENCE).read_bytes())
    conversions = {
        "float32": converted.real,
        "int8, post-training, min-max": converted.minmax,
        "int8, post-training, best": best.model,
        "int8, trained": content,
    }
    rows, proven = comparison.measure(bundle, conversions, images, threads, runs, target)
    named = {name: variable.numpy() for name, variable in fake_quantization.named_variables(student).items()}
    canonical.assign(bundle.model, network.unfolded(bundle.model, named))
    ends = {name: float(value) for name, value in named.items() if name.endswith(("/low", "/high"))}
    model = bundle.model
    lines = [f"# {model.name}, {bundle.size[0]}x{bundle.size[1]} px, int8", "", comparison.table(rows, proven)]
    lines += ["", f"{proven.images:,} images, {threads} thread(s), medians of {runs} interleaved runs."]
    lines.append(
        "Divergence is of the logits' softmax, the expected drop what changed answers cost if the float network is right"
    )
    lines.append("in its probabilities: both from the float32 file, and neither needs labels.")
    kept = loop.best_step(progress)
    lines += [f"Step {kept} of {progress.step} was kept: {loop.WHY}.", ""]
    plain = ptq.QuantizedPair(converted.minmax, converted.real)
    by_layer = layer_report.layer_rows({"min-max": plain, "best": best}, images[0][0][:12])
    lines += ["Post-training, layer by layer:", "", layer_report.markdown(by_layer)]
    figures = {"model": model.name, "images": proven.images, "steps": progress.step, "kept": kept}
    figures["files"] = [row.to_json() for row in rows]
    canonical.save(model, folder / "model.npz")
    _write(folder / "ranges.json", (json.dumps(ends, indent=1) + "\n").encode())
    _write(folder / comparison.AS_CONVERTED, content)
    _write(folder / comparison.FINISHED, rows[-1].content)
    _write(folder / "labels.txt", "".join(f"{label}\n" for label in proven.labels).encode())
    _write(folder / "report.md", ("\n".join(lines) + "\n").encode())
    _write(folder / "report.json", (json.dumps(figures, indent=1) + "\n").encode())
    pictures.training_curves(progress.history, folder / "training.png")
    verify.write(proven, folder)


def _write(path: pathlib.Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
