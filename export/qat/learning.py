"""How a network learns to be int8: from post-training quantization on, with the float network as its teacher."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

import shufflenet_tf as st
from export import ptq
from export.convert.from_keras import convert, trace
from export.convert.precision import Precision
from export.flatbuffer.model import TfliteModel
from export.qat import fake_quantization, folding, graph_weights, learned_ranges, loop, training
from shufflenet_tf.data import Source
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.training import checkpoint
from shufflenet_tf.weights import canonical

BATCH = 16  # of calibration
# What training starts with: the int8 graph as converted and corrected, and the float graph that it's the int8 version of.
START, REFERENCE = "post_training_int8.tflite", "post_training_float32.tflite"


@dataclasses.dataclass(frozen=True)
class LearntNetwork:
    """A network that has learnt to be int8.

    Attributes:
      student: the network as `fake_quantization.to_tflite` takes it.
      progress: the history of its training.
      minmax: TensorFlow's own int8 graph and the float graph, which it did not start with.
      best: the int8 graph that it started with, and its float graph.
    """

    student: tf.keras.Model
    progress: checkpoint.Progress
    minmax: ptq.QuantizedPair
    best: ptq.QuantizedPair


def learn(
    bundle: st.Bundle,
    source: Source,
    settings: training.QatSettings,
    augmentation: Augmentation,
    calibration: Sequence[np.ndarray],
    folder: pathlib.Path,
    output: str = "uint8",
    say: Callable[[str], None] = print,
) -> LearntNetwork:
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

    Raises:
      UserError: see `learned_ranges.calibrate`, `ptq.quantize` and `loop.train`.
    """
    teacher = folding.folded(bundle.model)
    batches = [np.stack(calibration[i : i + BATCH]) for i in range(0, len(calibration), BATCH)]
    ranges = learned_ranges.calibrate(teacher, batches)
    traced = trace(bundle.model)
    float32, minmax = convert(traced), convert(traced, Precision("int8", output, calibration))
    if not all((folder / name).exists() for name in (checkpoint.NAME, START, REFERENCE)):
        say(f"Starting with post-training quantization on {len(calibration)} photos")
        pair = ptq.quantize(float32, minmax, calibration)
        TfliteModel(pair.model).write(folder / START)
        TfliteModel(pair.reference).write(folder / REFERENCE)
    best = ptq.QuantizedPair((folder / START).read_bytes(), (folder / REFERENCE).read_bytes())
    start = graph_weights.start_from_graph(best.model, best.reference, teacher, ranges)
    student = fake_quantization.rounded(teacher, start)
    run = {
        "model": {key: value for key, value in canonical.config(bundle.model).items() if key != "labels"},
        "labels": source.labels,
        "dataset": source.spec or source.name,
        **dataclasses.asdict(settings),
        **dataclasses.asdict(augmentation),
    }
    learner = training.Training(student, teacher, start, settings)
    progress = loop.train(learner, source, bundle.preprocessing, augmentation, folder, run, say)
    return LearntNetwork(student, progress, ptq.QuantizedPair(minmax, float32), best)
