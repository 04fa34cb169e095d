"""Latency of ShuffleNets as converted, optimized, and of their convolutions alone, in turns in one process.

Usage:
  python benchmarks/optimize.py [--network=shufflenet_v2_1.0x,…] [--precisions=int8,float32] [--threads=1] [--runs=60]
    [--target=host]

Three graphs a model take turns, so that the noise of a shared machine meets all of them alike; compare the ratios, not
the figures of two days. "Convolutions only" is a wrong network: the same operators without anything that moves channels
(but for a concatenation where no tensor of the width at hand exists), the floor of what moving channels away can give.
The optimizer also changes other things, so that it can fall below.

Weights are random, with statistics of normalization measured on random images; they do not matter for the time. A name
with ":paper" has the ReLU of V1's stride-2 unit behind the concatenation, as in the paper's figure and in other people's
exports; --network also takes .tflite files.
"""

import functools
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
from absl import flags
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer import runtime
from export.flatbuffer.graph import Graph
from export.optimize import optimize
from export.optimize.channels.identities import analyse
from export.optimize.targets import HOST, host
from shufflenet_tf import cli

FLAGS = cli.flag_values()
flags.DEFINE_list(
    "network", ["shufflenet_v2_1.0x"], "Names of the registry (also NAME:paper), or .tflite files.", flag_values=FLAGS
)
flags.DEFINE_list("precisions", ["int8", "float32"], "int8, float32 or both.", flag_values=FLAGS)
flags.DEFINE_string("wiring", "tensorpack", "tensorpack, megvii or torchvision.", flag_values=FLAGS)
flags.DEFINE_integer("size", 224, "Side of the input in pixels.", 32, flag_values=FLAGS)
cli.define_threads(FLAGS)
cli.define_alias(FLAGS, "models", "network")
flags.DEFINE_string(
    "target", HOST, "Processor that the optimizer chooses for; only host's files should be timed here.", flag_values=FLAGS
)
flags.DEFINE_integer("runs", 60, "Timed runs of each graph.", 1, flag_values=FLAGS)

# Operators that need the quantization of their input at their output.
_SAME_SCALE = ("PAD", "MAX_POOL_2D", "AVERAGE_POOL_2D", "MEAN", "RELU")


@functools.cache
def _network(name: str, wiring: str, size: int):
    """Returns a frozen function of a network with sane activations."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    import shufflenet_tf as st
    from shufflenet_tf.models.layers import flatten

    name, _, form = name.partition(":")
    with _paper_units() if form == "paper" else _as_it_is():
        model = flatten(st.create_model(name, input_shape=(size, size, 3), wiring=wiring))
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if hasattr(layer, "moving_mean"):
            layer.gamma.assign(rng.uniform(0.5, 1.5, layer.gamma.shape))
            layer.beta.assign(rng.normal(0, 0.1, layer.beta.shape))
            layer.momentum = 0.0  # one step in training mode sets the statistics
    model(_images(size, 8), training=True)
    signature = tf.TensorSpec([1, size, size, 3], tf.float32, name="image")
    function = tf.function(lambda image: model(image, training=False)).get_concrete_function(signature)
    return convert_variables_to_constants_v2(function)


def _as_it_is():
    import contextlib

    return contextlib.nullcontext()


def _paper_units():
    """Returns a context in which V1's stride-2 units end with concat, ReLU."""
    from unittest import mock

    from shufflenet_tf.models.v1 import ShuffleNetV1Unit

    original = ShuffleNetV1Unit.call

    def call(unit, inputs):
        if unit.strides == 1:
            return original(unit, inputs)
        relu, unit.relu = unit.relu, lambda x: x
        try:
            return relu(original(unit, inputs))
        finally:
            unit.relu = relu

    return mock.patch.object(ShuffleNetV1Unit, "call", call)


def _images(size: int, count: int) -> np.ndarray:
    """Returns random images with some structure: noise at several scales."""
    rng = np.random.default_rng(1)
    layers = []
    for cells in (4, 16, size):
        noise = rng.normal(size=(count, cells, cells, 3))
        index = np.arange(size) * cells // size
        layers.append(noise[:, index][:, :, index])
    return np.sum(layers, axis=0).astype(np.float32)


def as_converted(name: str, precision: str, wiring: str, size: int) -> bytes:
    """Returns the model as TensorFlow's converter makes it; int8 with uint8 input and output."""
    import tensorflow as tf

    from export.convert.converter import run_converter

    samples = (lambda: ([image[None]] for image in _images(size, 8))) if precision == "int8" else None
    return run_converter(_network(name, wiring, size), precision, samples, tf.uint8, tf.uint8)


def convolutions_only(model: bytes) -> bytes:
    """Returns a wrong network of the same operators without those that only move channels."""
    graph = Graph(model)
    moving = analyse(graph, set()).moving
    moved = {int(t) for i in moving for t in graph.operators[i].outputs}
    made: list[int] = []
    operators = []
    for i, operator in enumerate(graph.operators):
        if i in moving:
            continue
        for position, tensor in enumerate(operator.inputs):
            if int(tensor) in moved:
                operator.inputs[position] = _substitute(graph, int(tensor), graph.kind(operator), made, operators)
        operators.append(operator)
        made += [int(t) for t in operator.outputs]
    graph.operators = operators
    return graph.pack()


def _substitute(graph: Graph, tensor: int, kind: str, made: list[int], operators: list) -> int:
    """Returns the latest tensor of the shape of `tensor`, or a concatenation of the latest two that have it together."""
    shape, quantization = graph.shape(tensor), graph.quantization(tensor)
    for other in reversed(made):
        fits = graph.shape(other) == shape and graph.type(other) == graph.type(tensor)
        if fits and (kind not in _SAME_SCALE or graph.quantization(other) == quantization):
            return other
    beside = [t for t in reversed(made) if graph.shape(t)[:-1] == shape[:-1] and graph.quantization(t) == quantization]
    for n, one in enumerate(beside):
        for other in beside[n + 1 :]:
            if graph.shape(one)[-1] + graph.shape(other)[-1] == shape[-1]:
                joined = graph.add_tensor(shape, graph.type(tensor), "joined", quantization)
                options = schema.ConcatenationOptionsT()
                options.axis = len(shape) - 1
                operators.append(graph.operator("CONCATENATION", [one, other], [joined], options))
                made.append(joined)
                return joined
    return tensor  # the movement stays


def measure(models: list[bytes], threads: int, runs: int) -> list[list[float]]:
    """Returns milliseconds of `runs` runs of each model, taken in turns."""
    runners = []
    for model in models:
        runner = runtime.interpreter(model, threads)
        runtime.run(runner, runtime.random_inputs(runner, 1)[0])
        runners.append(runner)
    times: list[list[float]] = [[] for _ in models]
    for _ in range(runs):
        for runner, taken in zip(runners, times, strict=True):
            runner.invoke()  # brings weights into the cache
            start = time.perf_counter()
            runner.invoke()
            taken.append((time.perf_counter() - start) * 1e3)
    return times


def _row(name: str, model: bytes) -> tuple[str, float]:
    """Returns a line of the table and the median of the optimized model."""
    result = optimize(model, FLAGS.threads, FLAGS.target).model
    times = measure([model, result, convolutions_only(model)], FLAGS.threads, FLAGS.runs)
    before, after, floor = (statistics.median(t) for t in times)
    cells = [f"{min(t):.2f} / {statistics.median(t):.2f}" for t in times]
    return f"| {name} | {' | '.join(cells)} | {after / before:.2f} | {after / floor:.2f} |", after


def main(arguments: list[str]) -> None:
    """Prints a Markdown table of all networks."""
    cli.refuse_arguments(arguments)
    print(f"{host.processor()}, files for {FLAGS.target}.")
    print(f"LiteRT with XNNPACK, {FLAGS.threads} thread(s), {FLAGS.runs} runs in turns, milliseconds: min / median\n")
    print("| model | as converted | optimized | convolutions only | optimized / converted | optimized / convolutions |")
    print("|---|---|---|---|---|---|")
    for name in FLAGS.network:
        medians = {}
        if name.endswith(".tflite"):
            print(_row(pathlib.Path(name).stem, pathlib.Path(name).read_bytes())[0], flush=True)
            continue
        for precision in FLAGS.precisions:
            model = as_converted(name, precision, FLAGS.wiring, FLAGS.size)
            row, medians[precision] = _row(f"{name} {precision}", model)
            print(row, flush=True)
        if {"int8", "float32"} <= set(medians):
            print(
                f"| {name}: float32 / int8, both optimized | | | | {medians['float32'] / medians['int8']:.2f} | |", flush=True
            )


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("benchmarks/optimize.py", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
