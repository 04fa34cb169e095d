"""The experiments' networks as TFLite graphs with random weights, converted but not optimized.

What the paper doesn't say is chosen so: convolutions have no bias, and a ReLU behind each in G1-G3; parallel fragments are
added; G4's bottleneck is ResNet's, 1x1 to a quarter of the channels, 3x3, 1x1 back, its last ReLU behind the sum.
"""

import itertools

import numpy as np
import tensorflow as tf

from export.convert.converter import run_converter
from papers.guidelines.experiments import Experiment, Variant
from shufflenet_tf.models.kernels import GroupedConv2D

KINDS = ("float32", "int8")


def network(experiment: Experiment, variant: Variant, column: int, size: int, blocks: int) -> tf.keras.Model:
    """Builds the network of a row and a column of a table.

    Args:
      experiment, variant: of the paper.
      column: which of the variant's channels.
      size: side of the feature maps, pixels.
      blocks: how many are stacked.
    """
    width, *others = variant.channels[column]
    inputs = x = tf.keras.Input((size, size, width), batch_size=1)
    for _ in range(blocks):
        if experiment.key == "G1":
            x = _conv(_conv(x, others[0]), width)
        elif experiment.key == "G2":
            x = _conv(x, width, groups=variant.groups)
        elif experiment.key == "G3":
            x = _fragments(x, width, *variant.fragments)
        else:
            x = _bottleneck(x, width, variant.relu, variant.shortcut)
    return tf.keras.Model(inputs, x)


def _conv(x, filters: int, kernel_size: int = 1, groups: int = 1, relu: bool = True):
    given = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal"}
    if groups > 1:
        layer = GroupedConv2D(filters, kernel_size, groups=groups, **given)
    else:
        layer = tf.keras.layers.Conv2D(filters, kernel_size, **given)
    x = layer(x)
    return tf.keras.layers.ReLU()(x) if relu else x


def _fragments(x, width: int, count: int, parallel: bool):
    if parallel:
        return tf.keras.layers.Add()([_conv(x, width) for _ in range(count)])
    for _ in range(count):
        x = _conv(x, width)
    return x


def _bottleneck(x, width: int, relu: bool, shortcut: bool):
    y = _conv(x, width // 4, relu=relu)
    y = _conv(y, width // 4, 3, relu=relu)
    y = _conv(y, width, relu=relu and not shortcut)
    if shortcut:
        y = tf.keras.layers.Add()([x, y])
        y = tf.keras.layers.ReLU()(y) if relu else y
    return y


def convert(model: tf.keras.Model, kind: str) -> bytes:
    """Returns the network as a .tflite file's content, of which input and output are of `kind`, "float32" or "int8"."""
    spec = tf.TensorSpec(model.input_shape, tf.float32, "x")
    traced = tf.function(model, input_signature=[spec]).get_concrete_function()
    if kind == "float32":
        return run_converter(traced)
    random = np.random.default_rng(0)
    samples = [random.normal(size=model.input_shape).astype(np.float32) for _ in range(2)]
    return run_converter(traced, kind, lambda: ([sample] for sample in samples), tf.int8, tf.int8)


def keys(experiments, columns: int) -> list[tuple[Experiment, Variant, int, str]]:
    """Returns what is to be measured: (experiment, variant, column, kind), neighbours being what is compared."""
    return [
        (experiment, variant, column, kind)
        for experiment in experiments
        for column, kind in itertools.product(range(columns), KINDS)
        for variant in experiment.variants
    ]
