"""Images per second of training on an accelerator, the share of its peak, and where the time goes.

The networks of the papers' rows at the papers' batch, in each precision, with XLA and without (needs no dataset):
  python benchmarks/train_gpu.py

With the real input pipeline:
  python benchmarks/train_gpu.py --input=folder:PATH

torchvision's model in PyTorch, channels-last, with mixed precision and torch.compile, for comparison:
  python benchmarks/train_gpu_torch.py

A try without an accelerator:
  python benchmarks/train_gpu.py --network=shufflenet_v2_0.5x --image_size=32 --batch_size=8 --steps=3

A step is forward, backward and SGD with momentum. Its parts are measured by leaving the later ones out. The share of the peak
counts six floating-point operations for each multiply-add: two forward, four backward.
"""

import contextlib
import dataclasses
import itertools
import json
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import shufflenet_tf as st  # isort: skip
import numpy as np
import tensorflow as tf
from absl import flags

from shufflenet_tf import cli, complexity
from shufflenet_tf.data import open_source
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.data.pipeline import training_batches
from shufflenet_tf.training.trainer import Trainer

PRECISIONS = ("float32", "bfloat16", "float16")
# Dense peaks in TFLOP/s from the makers' data sheets: in float32 (with TF32, as TensorFlow multiplies), and in 16 bits.
PEAKS = {"H100": (495, 989), "H200": (495, 989), "A100": (156, 312), "L4": (60, 121), "A10": (62.5, 125), "V100": (15.7, 125)}
CLASSES = 1000

FLAGS = cli.flag_values()
flags.DEFINE_list("network", ["shufflenet_v2_1.0x", "shufflenet_v1_1.0x_g3"], "Registered networks.", flag_values=FLAGS)
flags.DEFINE_integer("image_size", 224, "Side of the images in pixels.", 32, flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 1024, "Images a step.", 1, flag_values=FLAGS)
flags.DEFINE_multi_enum("precision", ["float32", "bfloat16"], list(PRECISIONS), "Of the activations.", flag_values=FLAGS)
flags.DEFINE_enum("xla", "both", ["both", "on", "off"], "Whether XLA compiles the step.", flag_values=FLAGS)
flags.DEFINE_string("input", "synthetic", "synthetic (in memory), or a dataset as for --dataset.", flag_values=FLAGS)
flags.DEFINE_integer("steps", 20, "Timed steps.", 1, flag_values=FLAGS)
flags.DEFINE_float("peak_tflops", None, "Peak of the accelerator, where it isn't known here.", 0, flag_values=FLAGS)
flags.DEFINE_string("output", None, "JSON file of the measurements.", flag_values=FLAGS)


@dataclasses.dataclass(frozen=True)
class Row:
    """A measurement: images per second, milliseconds of the parts of a step, TFLOP/s."""

    what: str
    precision: str
    compiled: bool
    images_per_second: float
    forward_ms: float
    backward_ms: float
    update_ms: float
    tflops: float


def main(arguments: list[str]) -> None:
    cli.refuse_arguments(arguments)
    if not tf.config.list_physical_devices("GPU"):
        print("TensorFlow sees no accelerator here: the processor is measured.", flush=True)
    rows = []
    for network, precision, compiled in itertools.product(FLAGS.network, FLAGS.precision, _compiled()):
        rows.append(measure(network, precision, compiled))
        print(_line(rows[-1]), flush=True)
    if FLAGS.output:
        text = json.dumps({"device": device_name(), "rows": [dataclasses.asdict(row) for row in rows]}, indent=2)
        pathlib.Path(FLAGS.output).write_text(text + "\n", encoding="utf-8")


def _compiled() -> list[bool]:
    return {"both": [False, True], "on": [True], "off": [False]}[FLAGS.xla]


def measure(network: str, precision: str, compiled: bool) -> Row:
    """Returns the speed of a training step.

    Args:
      network: registered.
      precision: of the activations.
      compiled: whether XLA compiles the step.
    """
    side, batch = FLAGS.image_size, FLAGS.batch_size
    tf.keras.mixed_precision.set_global_policy("float32" if precision == "float32" else f"mixed_{precision}")
    try:
        model = st.create_model(network, input_shape=(side, side, 3), classes=CLASSES)
        trainer = Trainer(model)
        trainer.compile(optimizer=tf.keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True), jit_compile=compiled)
        trainer.optimizer.build(model.trainable_variables)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    flops = 6 * complexity.multiply_adds(model) * batch

    def forward(data):
        return tf.reduce_sum(tf.cast(trainer.logits(data[0], training=True), tf.float32))

    def backward(data):
        with tf.GradientTape() as tape:
            loss = forward(data)
        return tf.add_n([tf.reduce_sum(tf.cast(g, tf.float32)) for g in tape.gradient(loss, model.trainable_variables)])

    def update(data):
        return trainer.train_step(data)["loss"]

    with _batches(model.preprocessing, side, batch) as batches:
        times = [seconds(tf.function(f, jit_compile=compiled), batches, FLAGS.steps) for f in (forward, backward, update)]
    rate = batch / times[2]
    parts = (times[0], max(0.0, times[1] - times[0]), max(0.0, times[2] - times[1]))
    return Row(network, precision, compiled, rate, *(1e3 * part for part in parts), flops / times[2] / 1e12)


def seconds(function: Callable, batches: Iterator, steps: int) -> float:
    """Returns the seconds of a call, input included, after two calls that compile it."""
    for _ in range(2):
        float(function(next(batches)))
    start = time.perf_counter()
    for _ in range(steps):
        result = function(next(batches))
    float(result)  # waits for the accelerator
    return (time.perf_counter() - start) / steps


@contextlib.contextmanager
def _batches(preprocessing: st.Preprocessing, side: int, batch: int) -> Iterator[Iterator]:
    """Yields endless batches of images and one-hot labels: one that stays in the accelerator's memory, or the real ones."""
    if FLAGS.input == "synthetic":
        rng = np.random.default_rng(0)
        images = tf.constant(rng.normal(size=(batch, side, side, 3)).astype(np.float32))
        labels = tf.one_hot(rng.integers(0, CLASSES, batch), CLASSES)
        yield itertools.repeat((images, labels))
        return
    source = open_source(FLAGS.input)
    sizes = ((side, side), batch, CLASSES)
    yield iter(training_batches(source.train, preprocessing, Augmentation(), *sizes, seed=0))


def device_name() -> str:
    """Returns the name of the first accelerator, or "CPU"."""
    devices = tf.config.list_physical_devices("GPU")
    return tf.config.experimental.get_device_details(devices[0]).get("device_name", "GPU") if devices else "CPU"


def peak(precision: str) -> float | None:
    """Returns the accelerator's peak in TFLOP/s, or None where it isn't known."""
    if FLAGS.peak_tflops:
        return FLAGS.peak_tflops
    name = device_name()
    known = next((figures for card, figures in PEAKS.items() if card in name.split() or f" {card}-" in name), None)
    return known and known[precision != "float32"]


def _line(row: Row) -> str:
    limit = peak(row.precision)
    share = f", {row.tflops / limit:.1%} of the peak of {limit:g}" if limit else ""
    return (
        f"{row.what:24} {row.precision:9} {'compiled' if row.compiled else 'plain':9} {row.images_per_second:9,.1f} images/s   "
        f"forward {row.forward_ms:.1f} ms, backward {row.backward_ms:.1f}, update {row.update_ms:.1f}   "
        f"{row.tflops:.3f} TFLOP/s{share}"
    )


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark and returns its exit status."""
    return cli.run("train_gpu", __doc__, FLAGS, main, argv, memory="give a smaller --batch_size.")


if __name__ == "__main__":
    sys.exit(run())
