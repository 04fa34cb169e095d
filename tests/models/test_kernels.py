"""Grouped convolutions: results and gradients are those of a dense reference, on every processor and in every mode.

The reference is computed in 64-bit floats, which oneDNN leaves to TensorFlow's plain kernels. What is compared differs by
rounding alone, so that tolerances are multiples of the type's: float32 sums up to some thousand products, each rounded to
6e-8, and 1e-5 of the largest number leaves a factor of 10 to 100 (seen: 4e-7). In 16 bits the operands are exact, since the
reference has the same ones, and the gradient is summed in float32 and rounded once: by half a unit of the last of float16's
11 or bfloat16's 8 digits. The result is TensorFlow's, which may sum in 16 bits.
"""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from amount import LIMITED, examples
from hypothesis import example, given, settings
from hypothesis import strategies as some

from shufflenet_tf.models import kernels

pytestmark = pytest.mark.kernels  # what is no Keras layer is the same under both generations

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILTIN = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
GRADIENT = {"float32": 1e-5, "float16": 2.0**-11 * 1.01, "bfloat16": 2.0**-8 * 1.01}  # of the largest
RESULT = {"float32": 1e-5, "float16": 2.0**-8, "bfloat16": 2.0**-5}
MODES = {"eager": lambda f: f, "graph": tf.function, "compiled": lambda f: tf.function(f, jit_compile=True)}


def random(seed: int, *shape: int, kind: str = "float32") -> tf.Tensor:
    return tf.cast(tf.random.stateless_normal(shape, (seed, 0)), kind)


def dense(x, kernel, upstream, strides, padding):
    """Returns result and gradients of the same convolution with zeros between the groups, in 64-bit floats."""
    x, kernel, upstream = (np.asarray(tf.cast(v, tf.float64)) for v in (x, kernel, upstream))
    depth, filters = kernel.shape[2:]
    groups = x.shape[-1] // depth
    mask = np.kron(np.eye(groups), np.ones((depth, filters // groups)))
    full = tf.constant(np.tile(kernel, (1, 1, groups, 1)) * mask)
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch((x, full))
        y = tf.nn.conv2d(x, full, strides, padding)
    dx, dfull = tape.gradient(y, (x, full), upstream)
    blocks = np.reshape(dfull * mask, (*kernel.shape[:2], groups, depth, filters)).sum(2)
    return y, dx, blocks


def difference(value, expected) -> float:
    """The largest one, relative to the largest number."""
    value, expected = (np.asarray(tf.cast(v, tf.float64)) for v in (value, expected))
    assert value.shape == expected.shape
    return np.abs(value - expected).max() / max(np.abs(expected).max(), 1e-30)


def check(x, kernel, strides, padding, mode="eager"):
    kind = x.dtype.name
    shape = tf.nn.conv2d(x, kernel, strides, padding).shape
    upstream = random(5, *shape, kind=kind)

    def gradients(x, kernel):
        with tf.GradientTape() as tape:
            tape.watch((x, kernel))
            y = kernels.grouped_convolution(x, kernel, strides, padding)
        return y, *tape.gradient(y, (x, kernel), upstream)

    results = MODES[mode](gradients)(x, kernel)
    assert {value.dtype.name for value in results} == {kind}
    y, dx, dw = map(difference, results, dense(x, kernel, upstream, strides, padding))
    assert y <= RESULT[kind] and dx <= GRADIENT[kind] and dw <= GRADIENT[kind], (y, dx, dw)


@settings(max_examples=examples(60), deadline=None)
@given(
    groups=some.integers(1, 8),
    depth=some.integers(1, 5),
    wide=some.integers(1, 5),
    size=some.tuples(some.integers(1, 3), some.integers(5, 9), some.integers(5, 9)),
    window=some.sampled_from([(1, 1), (1, 1), (3, 3), (5, 5), (1, 3)]),
    strides=some.sampled_from([1, 1, 2, 3, (1, 1), (2, 2)]),
    padding=some.sampled_from(["SAME", "VALID"]),
    kind=some.sampled_from(["float32", "float16", *["bfloat16"] * (not LIMITED)]),
)
@example(1, 1, 1, (2, 6, 8), (1, 1), 2, "SAME", "float32")  # where oneDNN's gradient is wrong
def test_any_grouped_convolution_has_the_gradient_of_a_dense_one(groups, depth, wide, size, window, strides, padding, kind):
    x, kernel = random(1, *size, groups * depth, kind=kind), random(3, *window, depth, groups * wide, kind=kind)
    check(x, kernel, strides, padding)


@pytest.mark.parametrize(("mode", "kind"), [("graph", "float32"), ("compiled", "float32"), ("compiled", "bfloat16")])
@pytest.mark.parametrize(("groups", "kernel", "strides"), [(2, 1, 1), (3, 1, 2), (4, 3, 1), (8, 3, 2)])
def test_grouped_convolution_is_a_convolution_of_each_group(groups, kernel, strides, kind, mode):
    check(random(1, 2, 6, 7, 24, kind=kind), random(3, kernel, kernel, 24 // groups, 48, kind=kind), strides, "SAME", mode)


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("groups", [3, 8])
def test_long_sums_keep_their_last_digits(groups, kind):
    """As many pixels as a batch of 64 has in stage 2 at 64 px: summed in 16 bits, a kernel's gradient would lose a third."""
    check(random(1, 64, 8, 8, 120, kind=kind), random(3, 1, 1, 120 // groups, 240, kind=kind), 1, "SAME")


@pytest.mark.both_generations
@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_layer_learns_under_mixed_precision_and_comes_back_from_a_saved_model(policy, tmp_path):
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        inputs = tf.keras.Input((6, 6, 12))
        model = tf.keras.Model(inputs, kernels.GroupedConv2D(24, 1, groups=3)(inputs))
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    x = random(1, 4, 6, 6, 12)
    model.save(tmp_path / "model.keras")
    model.export(tmp_path / "saved_model")
    again = tf.keras.models.load_model(tmp_path / "model.keras")
    served = tf.saved_model.load(tmp_path / "saved_model")
    results = []
    for network in (model, again):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.cast(network(x), tf.float32) ** 2)
        results.append(
            [loss, *tape.gradient(loss, [v.value if hasattr(v, "path") else v for v in network.trainable_variables])]
        )
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(tf.cast(served.serve(x), tf.float32), tf.cast(model(x), tf.float32))


@pytest.mark.both_generations
@pytest.mark.parametrize("bias", [False, True])
def test_what_stands_behind_it_is_not_fused(bias):
    """TensorFlow's fused kernel without oneDNN refuses groups, so that V1 could neither predict nor be served."""
    inputs = tf.keras.Input((6, 6, 12))
    x = kernels.GroupedConv2D(24, 1, groups=3, use_bias=bias)(inputs)
    x = x if bias else tf.keras.layers.BatchNormalization()(x)
    model = tf.keras.Model(inputs, tf.keras.layers.ReLU()(x))
    images = random(1, 4, 6, 6, 12)
    np.testing.assert_allclose(model.predict(images, verbose=0), model(images), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(tf.function(lambda x: model(x, training=False))(images), model(images), rtol=1e-5, atol=1e-6)


def test_second_derivatives():
    """Of the sum of y^3 along a line: 6 y y'^2."""
    x, along, kernel = (random(i, *shape) for i, shape in enumerate([(2, 3, 3, 6), (2, 3, 3, 6), (1, 1, 2, 6)]))
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            value = tf.reduce_sum(kernels.grouped_convolution(x, kernel, 1, "SAME") ** 3)
        slope = tf.reduce_sum(inner.gradient(value, x) * along)
    curvature = tf.reduce_sum(outer.gradient(slope, x) * along)
    y, moved = (kernels.grouped_convolution(v, kernel, 1, "SAME") for v in (x, along))
    np.testing.assert_allclose(curvature, tf.reduce_sum(6 * y * moved**2), rtol=1e-4)


@pytest.mark.long
def test_two_replicas_take_the_gradient_of_all_images():
    script = (
        "import tensorflow as tf\n"
        "cpu = tf.config.list_physical_devices('CPU')[0]\n"
        "tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)\n"
        "from shufflenet_tf.models.kernels import grouped_convolution\n"
        "strategy = tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])\n"
        "x, kernel = tf.random.stateless_normal((2, 4, 4, 6), (1, 2)), tf.random.stateless_normal((1, 1, 2, 6), (3, 4))\n"
        "def slope(x):\n"
        "    with tf.GradientTape() as tape:\n"
        "        tape.watch(kernel)\n"
        "        loss = tf.reduce_sum(grouped_convolution(x, kernel, 1, 'SAME') ** 2)\n"
        "    return tape.gradient(loss, kernel)\n"
        "each = strategy.experimental_distribute_values_from_function(lambda c: x[c.replica_id_in_sync_group:][:1])\n"
        "parts = tf.function(lambda x: strategy.reduce('SUM', strategy.run(slope, (x,)), None))(each)\n"
        "tf.debugging.assert_near(parts, slope(x), rtol=1e-5)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]


def test_export_sees_one_convolution():
    """The gradient leaves no trace in a graph that is converted: a grouped convolution is one operation there."""
    kernel = random(3, 1, 1, 2, 12)
    convolve = tf.function(lambda x: kernels.grouped_convolution(x, kernel, 1, "SAME"))
    graph = convolve.get_concrete_function(tf.TensorSpec((1, 4, 4, 6)))
    content = tf.lite.TFLiteConverter.from_concrete_functions([graph], convolve).convert()
    interpreter = tf.lite.Interpreter(model_content=content, experimental_op_resolver_type=BUILTIN)
    assert [op["op_name"] for op in interpreter._get_ops_details()] == ["CONV_2D"]
