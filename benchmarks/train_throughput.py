"""Images per second of a training step: our layers, Keras's, tf_keras, without oneDNN, on one thread an operation, and PyTorch.

Usage:
  python benchmarks/train_throughput.py [--torch_python=PATH] [--cpu_time]

ShuffleNet V2 0.5x (and V1 0.5x, g = 3, for grouped convolutions): forward, backward and SGD with momentum, on the same
random batch. Each framework has its own process, and the processes run in turns, so that the noise of a shared machine affects
all equally; compare the ratios, not times from different days. --cpu_time measures the CPU time of all cores, for a shared
machine. PyTorch's rows use torchvision's model; they are omitted if neither this Python nor --torch_python has torch and
torchvision.
"""

import argparse
import importlib.util
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
STEPS = 5  # per measurement
WITHOUT = ", without oneDNN"


def tensorflow_steps(size: int, batch: int, variants: list[str]) -> dict:
    """Returns one function per variant, which runs one step and waits for it."""
    import numpy as np
    import tensorflow as tf

    import shufflenet_tf as st
    from shufflenet_tf.models import kernels, layers
    from shufflenet_tf.training.trainer import Trainer

    images = np.random.default_rng(0).normal(size=(batch, size, size, 3)).astype(np.float32)
    labels = np.eye(10, dtype=np.float32)[np.arange(batch) % 10]

    class KerasGroupedConv2D(tf.keras.layers.Conv2D):
        """The layer that `kernels.GroupedConv2D` replaces."""

    def step(variant: str):
        network, _, keras_layer = variant.removesuffix(WITHOUT).partition(", ")
        layers.BatchNorm = tf.keras.layers.BatchNormalization if keras_layer == "Keras's batch norm" else kernels.BatchNorm
        layers.GroupedConv2D = KerasGroupedConv2D if keras_layer == "Keras's grouped convolution" else kernels.GroupedConv2D
        trainer = Trainer(st.create_model(network, input_shape=(size, size, 3), classes=10))
        trainer.compile(optimizer=tf.keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True), jit_compile=False)
        trainer.optimizer.build(trainer.network.trainable_variables)
        function = tf.function(trainer.train_step)
        data = (tf.constant(images), tf.constant(labels))
        return lambda: float(function(data)["loss"])

    return {variant: step(variant) for variant in variants}


def torch_steps(size: int, batch: int, variants: list[str]) -> dict:
    """Returns the same for torchvision's network."""
    import torch
    import torchvision

    def step(variant: str):
        layout = torch.channels_last if "channels-last" in variant else torch.contiguous_format
        model = torchvision.models.shufflenet_v2_x0_5(num_classes=10).to(memory_format=layout).train()
        optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, nesterov=True, weight_decay=4e-5)
        images = torch.randn(batch, 3, size, size).to(memory_format=layout)
        labels = torch.arange(batch) % 10

        def run():
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            return float(loss)

        return run

    return {variant: step(variant) for variant in variants}


def serve(framework: str, size: int, batch: int, variants: list[str], cpu_time: bool) -> None:
    """Runs a worker: measures a variant whenever it receives its number, and answers with seconds per step."""
    steps = list((torch_steps if framework == "torch" else tensorflow_steps)(size, batch, variants).values())
    for step in steps:
        step(), step()
    print("ready", flush=True)
    clock = time.process_time if cpu_time else time.perf_counter
    for line in sys.stdin:
        step = steps[int(line)]
        step()  # refills the caches after another variant
        start = clock()
        for _ in range(STEPS):
            step()
        print((clock() - start) / STEPS, flush=True)


def start(python: str, framework: str, settings: str, args: argparse.Namespace, variants: list[str]) -> subprocess.Popen:
    """Starts a worker with `settings` (NAME=VALUE …) in its environment."""
    environment = {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": str(ROOT),
        **dict(pair.split("=") for pair in settings.split()),
    }
    command = [python, __file__, f"--worker={framework}", f"--size={args.size}", f"--batch={args.batch}", *variants]
    command += ["--cpu_time"] if args.cpu_time else []
    worker = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    for line in worker.stdout:
        if line.strip() == "ready":
            return worker
    sys.exit(f"The worker for {', '.join(variants)} ended with status {worker.wait()}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64, help="side of the images in pixels")
    parser.add_argument("--batch", type=int, default=64, help="images per step")
    parser.add_argument("--rounds", type=int, default=10, help=f"measurements of {STEPS} steps each, per variant")
    parser.add_argument("--cpu_time", action="store_true", help="measure the CPU time of all cores instead of wall time")
    parser.add_argument("--torch_python", default=sys.executable, help="path of a Python with torch and torchvision")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("variants", nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return serve(args.worker, args.size, args.batch, args.variants, args.cpu_time)

    v2, v1, v1_g8 = "shufflenet_v2_0.5x", "shufflenet_v1_0.5x_g3", "shufflenet_v1_0.5x_g8"
    keras_grouped = f"{v1}, Keras's grouped convolution"
    keras3 = [v2, f"{v2}, Keras's batch norm", v1, keras_grouped, v1_g8]
    plain = [name + WITHOUT for name in (v2, v1, keras_grouped, v1_g8)]
    one_thread = [f"{name}, one thread an operation" for name in (v2, v1)]
    groups = [
        (sys.executable, "tensorflow", "TF_ENABLE_ONEDNN_OPTS=1", keras3),
        (sys.executable, "tensorflow", "TF_ENABLE_ONEDNN_OPTS=1 TF_USE_LEGACY_KERAS=1", [f"{v2}, tf_keras"]),
        (sys.executable, "tensorflow", "TF_ENABLE_ONEDNN_OPTS=0", plain),
        (sys.executable, "tensorflow", "TF_ENABLE_ONEDNN_OPTS=1 TF_NUM_INTRAOP_THREADS=1", one_thread),
    ]
    if args.torch_python != sys.executable or importlib.util.find_spec("torch"):
        groups.append((args.torch_python, "torch", "TF_CPP_MIN_LOG_LEVEL=3", ["torchvision", "torchvision, channels-last"]))
    else:
        print("PyTorch is not installed here: give --torch_python to include it.", file=sys.stderr)
    seconds = {}
    workers = [(start(*group[:3], args, group[3]), group[3]) for group in groups]
    for _ in range(args.rounds):
        for worker, variants in workers:
            for i, variant in enumerate(variants):
                print(i, file=worker.stdin, flush=True)
                seconds.setdefault(variant, []).append(float(worker.stdout.readline()))
    for worker, _ in workers:
        worker.stdin.close()
        worker.wait()

    clock = ", CPU time" if args.cpu_time else ""
    print(f"{args.size} px, batch {args.batch}{clock}, {os.cpu_count()} cores, {args.rounds} interleaved measurements\n")
    print(f"{'':66}  images/s   our speedup")
    for variant, times in seconds.items():
        ours = seconds[next(name for name in (v1_g8, v1, v2) if variant.startswith(name) or name == v2)]
        ratio = statistics.median(b / a for a, b in zip(ours, times, strict=True))
        print(f"{variant:66}  {args.batch / statistics.median(times):8.0f}   {ratio:.2f}")


if __name__ == "__main__":
    main()
