"""ShuffleNet V2 1.0x in int8 against Keras's MobileNetV2 0.75 in int8: published accuracy 69.4 % and 69.8 %.

    python benchmarks/mobilenet.py [--threads=1] [--runs=100]

MobileNetV2 is exported by TensorFlow's converter, without any preprocessing; ShuffleNet by export.tflite, with it. Weights
are random: time doesn't depend on them. The files take turns in one process.
"""

import os
import pathlib
import sys
import tempfile
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
import tensorflow as tf

from export.convert.converter import run_converter
from export.convert.precision import Precision
from export.measure.benchmarking import benchmark
from export.pipeline import export
from papers.latency import untrained
from shufflenet_tf import cli

SIZE = (224, 224, 3)


def mobilenet(images: list[np.ndarray]) -> bytes:
    """Returns Keras's MobileNetV2 0.75 in int8, as TensorFlow's converter makes it."""
    network = tf.keras.applications.MobileNetV2(SIZE, alpha=0.75, weights=None)
    signature = [tf.TensorSpec((1, *SIZE), tf.float32)]
    traced = tf.function(lambda image: network(image, training=False), signature).get_concrete_function()
    samples = [[image[None].astype(np.float32) * (2 / 255) - 1] for image in images]
    return run_converter(traced, "int8", lambda: samples, tf.int8, tf.int8)


FLAGS = cli.flag_values()
cli.define_timing(FLAGS, runs=100)


def main(arguments: list[str]) -> None:
    cli.refuse_arguments(arguments)
    bundle, images = untrained("shufflenet_v2_1.0x", SIZE[:2])
    contents = {"MobileNetV2 0.75": mobilenet(images)}
    (exported,) = export(bundle, [Precision("int8", calibration=images)], FLAGS.threads)
    contents["ShuffleNet V2 1.0x, as converted"] = exported.converted.content
    contents["ShuffleNet V2 1.0x, optimized"] = exported.optimized.content
    with tempfile.TemporaryDirectory() as folder:
        paths = [pathlib.Path(folder) / f"{i}.tflite" for i in range(len(contents))]
        for path, content in zip(paths, contents.values(), strict=True):
            path.write_bytes(content)
        results = benchmark(paths, FLAGS.threads, FLAGS.runs, cpu_time=FLAGS.cpu_time)
    print("\n| int8, 224 px | min ms | median ms | of MobileNetV2 |\n|---|---|---|---|")
    for name, result in zip(contents, results, strict=True):
        print(f"| {name} | {min(result.milliseconds):.2f} | {np.median(result.milliseconds):.2f} | {result.ratio:.2f} |")


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("benchmarks/mobilenet.py", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
