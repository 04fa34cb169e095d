"""How fast training images come: the whole pipeline against bare decoding, and how long a training step waits for them.

Usage:
  python benchmarks/input_pipeline.py [--dataset=PATH]

Bare decoding is `tf.image.decode_and_crop_jpeg` of the same files and the same kind of random windows in a parallel map,
with nothing behind it. The pipeline adds resizing, flip, colour jitter, lighting, normalisation and batching. Both run in
one process and take turns; compare the ratio. Without --dataset, drawn photos are used, of ImageNet's usual size or of --width.
"""

import itertools
import os
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from PIL import Image

import shufflenet_tf as st  # isort: skip
import tensorflow as tf
from absl import flags

from shufflenet_tf import cli
from shufflenet_tf.data import Source, open_source, shapes
from shufflenet_tf.data.augment import Augmentation, random_window
from shufflenet_tf.data.pipeline import training_batches
from shufflenet_tf.preprocessing import Preprocessing
from shufflenet_tf.training.trainer import Trainer

BATCH = 64
BATCHES = 10  # a measurement


def draw_photos(folder: pathlib.Path, width: int, count: int = 128) -> None:
    """Writes JPEGs of `width` by three quarters of that, in pixels."""
    for i in range(count):
        pixels, label = shapes.draw("train", i, 400)
        for split in ("train", "test"):
            path = folder / split / shapes.LABELS[label] / f"{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).resize((width, width * 3 // 4)).save(path, quality=90)


def bare(source: Source, augmentation: Augmentation) -> tf.data.Dataset:
    """Returns an endless dataset that decodes and crops, batch by batch, and hands on one number a batch."""

    def decode(index, example):
        size = tf.io.extract_jpeg_shape(example["image"])
        top, left, height, width = random_window(tf.stack([index, index]), augmentation)(size[0], size[1])
        pixels = tf.image.decode_and_crop_jpeg(example["image"], tf.stack([top, left, height, width]), channels=3)
        return pixels[0, 0, 0]

    epochs = tf.data.Dataset.range(10**6).flat_map(source.train.examples).enumerate()
    return epochs.map(decode, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH).prefetch(tf.data.AUTOTUNE)


def rates(dataset: tf.data.Dataset) -> tuple[float, float]:
    """Returns images per second, and images per second of processor time."""
    iterator = iter(dataset)
    next(iterator)  # the first batch waits for the graph to be set up
    start, start_cpu = time.perf_counter(), time.process_time()
    for _ in itertools.islice(iterator, BATCHES):
        pass
    return BATCH * BATCHES / (time.perf_counter() - start), BATCH * BATCHES / (time.process_time() - start_cpu)


def waiting(source: Source, network: str, size: int, steps: int = 60) -> float:
    """Returns the part of the time that a training step waits for its batch."""
    model = st.create_model(network, input_shape=(size, size, 3), classes=len(source.labels))
    trainer = Trainer(model)
    trainer.compile(optimizer=tf.keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True), jit_compile=False)
    trainer.optimizer.build(model.trainable_variables)
    step = tf.function(trainer.train_step)
    batches = iter(
        training_batches(source.train, model.preprocessing, Augmentation(), (size, size), BATCH, len(source.labels), 0)
    )
    float(step(next(batches))["loss"])
    waited, start = 0.0, time.perf_counter()
    for _ in range(steps):
        before = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - before
        float(step(batch)["loss"])
    return waited / (time.perf_counter() - start)


FLAGS = cli.flag_values()
flags.DEFINE_string("dataset", None, "Folder of photos, one folder a class; without it, photos are drawn.", flag_values=FLAGS)
cli.define_alias(FLAGS, "folder", "dataset")
flags.DEFINE_integer("width", 500, "Of the drawn photos, pixels; ImageNet's are 500, a phone's 4000.", 8, flag_values=FLAGS)
flags.DEFINE_integer("size", 224, "Side of the network's input, pixels.", 32, flag_values=FLAGS)
flags.DEFINE_integer("rounds", 8, "Interleaved measurements.", 1, flag_values=FLAGS)


def main(arguments: list[str]) -> None:
    cli.refuse_arguments(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(FLAGS.dataset or temporary)
        if not FLAGS.dataset:
            draw_photos(folder, FLAGS.width)
        source = open_source(f"folder:{folder}")
        size = (FLAGS.size, FLAGS.size)
        augmentation = Augmentation()
        whole = training_batches(source.train, Preprocessing(), augmentation, size, BATCH, len(source.labels), 0)
        decoding = bare(source, augmentation)
        pairs = [(rates(decoding), rates(whole)) for _ in range(FLAGS.rounds)]
        share = waiting(source, "shufflenet_v2_0.5x", FLAGS.size)
    median = statistics.median
    print(f"{os.cpu_count()} cores, {FLAGS.size} px, batches of {BATCH}, medians of {FLAGS.rounds} interleaved measurements")
    print(f"bare decode_and_crop_jpeg   {median(a[0] for a, _ in pairs):7.0f} images/s")
    print(f"the whole pipeline          {median(b[0] for _, b in pairs):7.0f} images/s")
    print(f"ratio                       {median(b[0] / a[0] for a, b in pairs):7.2f}")
    print(f"ratio by processor time     {median(b[1] / a[1] for a, b in pairs):7.2f}")
    print(f"a training step of shufflenet_v2_0.5x waits for its data {share:.1%} of its time")


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("benchmarks/input_pipeline.py", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
