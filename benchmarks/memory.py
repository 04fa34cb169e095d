"""Peak memory of a training's input with few and with many images: it must not grow with their number.

Usage:
  python benchmarks/memory.py [--few=10000] [--many=1000000]

The images are records of a TensorFlow dataset, in 64 files. Each measurement is a process of its own. With 1,000,000 images, it
goes through the first batches only, which fill all buffers. Memory is the largest resident set, as the system counts it.
"one of two workers" takes every second row of each batch.
"""

import io
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import shufflenet_tf as st  # isort: skip
import tensorflow as tf
import tensorflow_datasets as tfds
from absl import flags
from PIL import Image

from shufflenet_tf import cli
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.data.cache import NONE, Cache
from shufflenet_tf.data.pipeline import training_batches
from shufflenet_tf.data.source import ALONE, Shard
from shufflenet_tf.data.tfds_source import from_builder
from shufflenet_tf.preprocessing import Preprocessing
from shufflenet_tf.training.trainer import Trainer

FILES, SIDE, BATCH = 64, 32, 64
FEATURES = tfds.features.FeaturesDict(
    {"image": tfds.features.Image(encoding_format="jpeg"), "label": tfds.features.ClassLabel(names=["a", "b"])}
)


def write(folder: pathlib.Path, images: int) -> None:
    """Writes the files and the metadata of a dataset; all files are one, by many names."""
    folder.mkdir()
    random, records = np.random.default_rng(0), []
    for number in range(100):
        content = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(content, "JPEG", quality=60)
        content.seek(0)
        records.append(FEATURES.serialize_example({"image": content, "label": number % 2}))
    splits = []
    for split, size in (("train", images // FILES), ("test", 2)):
        names = [folder / f"own-{split}.tfrecord-{file:05}-of-{FILES:05}" for file in range(FILES)]
        with tf.io.TFRecordWriter(str(names[0])) as writer:
            for number in range(size):
                writer.write(records[number % 100])
        for name in names[1:]:
            os.link(names[0], name)
        template = tfds.core.ShardedFileTemplate(data_dir=folder, dataset_name="own", split=split, filetype_suffix="tfrecord")
        size_in_bytes = FILES * names[0].stat().st_size
        splits.append(tfds.core.SplitInfo(split, [size] * FILES, size_in_bytes, template))
    tfds.folder_dataset.write_metadata(data_dir=folder, features=FEATURES, split_infos=splits)


def measure(folder: str, what: str, batches: int) -> float:
    """Returns the peak memory, in MB, of reading so many batches, or of training on them, in this process."""
    source = from_builder(tfds.builder_from_directory(folder), trusted=True, cache=Cache(NONE))
    shard = Shard(0, 2) if "workers" in what else ALONE
    size = (SIDE, SIDE)
    stream = training_batches(source.train, Preprocessing(), Augmentation(), size, BATCH, 2, seed=0, shard=shard)
    step = lambda batch: None  # noqa: E731
    if what == "training":
        model = st.create_model("shufflenet_v2_0.5x", input_shape=(*size, 3), classes=2)
        trainer = Trainer(model)
        trainer.compile(optimizer=tf.keras.optimizers.SGD(0.01, momentum=0.9), jit_compile=False)
        trainer.optimizer.build(model.trainable_variables)
        step = tf.function(trainer.train_step)
    for batch in stream.take(batches):
        step(batch)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)  # macOS counts bytes, Linux kB


FLAGS = cli.flag_values()
flags.DEFINE_integer("few", 10_000, "Images of the small dataset.", 1000, flag_values=FLAGS)
flags.DEFINE_integer("many", 1_000_000, "Images of the large one.", 1000, flag_values=FLAGS)
flags.DEFINE_integer("batches", 200, f"Batches of {BATCH} images.", 1, flag_values=FLAGS)
flags.DEFINE_integer("rounds", 1, "Measurements of each; the medians are compared.", 1, flag_values=FLAGS)
flags.DEFINE_list("one", [], "Internal: folder and kind of one measurement.", flag_values=FLAGS)


def main(arguments: Sequence[str]) -> None:
    cli.refuse_arguments(arguments)
    if FLAGS.one:
        print(measure(*FLAGS.one, FLAGS.batches))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folders = {images: pathlib.Path(temporary, str(images)) for images in (FLAGS.few, FLAGS.many)}
        for images, folder in folders.items():
            write(folder, images)
        print(f"peak memory in MB, {FLAGS.batches} batches of {BATCH} images, {SIDE} px, medians of {FLAGS.rounds}")
        print(f"{'':20}{FLAGS.few:>12,}{FLAGS.many:>12,}  growth")
        for what in ("input", "one of two workers", "training"):
            peaks = [[_in_process(folder, what) for folder in folders.values()] for _ in range(FLAGS.rounds)]
            few, many = np.median(peaks, axis=0)
            print(f"{what:20}{few:12.0f}{many:12.0f}  {many / few - 1:+.1%}", flush=True)


def _in_process(folder: pathlib.Path, what: str) -> float:
    command = [sys.executable, __file__, f"--one={folder},{what}", f"--batches={FLAGS.batches}"]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("benchmarks/memory.py", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
