"""The building blocks: channel movement, fused batch normalization, grouped convolution, flattening."""

import numpy as np
import pytest
import tensorflow as tf
from amount import examples
from hypothesis import given, settings
from hypothesis import strategies as some
from qat_networks import few_units

import shufflenet_tf as st
from shufflenet_tf.models import kernels
from shufflenet_tf.models.layers import ChannelShuffle, ChannelSplit, ConvBNReLU, DepthwiseConvBN, GroupedConvBN, flatten

pytestmark = pytest.mark.both_generations


@settings(max_examples=examples(30), deadline=None)
@given(groups=some.integers(1, 8), per_group=some.integers(1, 7), height=some.integers(1, 5), width=some.integers(1, 5))
def test_shuffle_orders_are_inverse_permutations(groups, per_group, height, width):
    c = groups * per_group
    x = np.random.default_rng(0).normal(size=(2, height, width, c)).astype(np.float32)
    interleaved = ChannelShuffle(groups)(x)
    # Channel k of the result is channel (k % g) * n + k // g of the input: one of each group in turn.
    expected = x[..., [(k % groups) * per_group + k // groups for k in range(c)]]
    np.testing.assert_array_equal(interleaved, expected)
    np.testing.assert_array_equal(ChannelShuffle(groups, "deinterleave")(interleaved), x)


def test_shuffle_of_open_size():
    inputs = tf.keras.Input((None, None, 6))
    model = tf.keras.Model(inputs, ChannelShuffle(3)(inputs))
    x = np.arange(2 * 3 * 6, dtype=np.float32).reshape(1, 2, 3, 6)
    np.testing.assert_array_equal(model(x), x[..., [0, 2, 4, 1, 3, 5]])


@pytest.mark.parametrize("bad", [{"groups": 4}, {"groups": 2, "order": "sideways"}])
def test_shuffle_refuses(bad):
    with pytest.raises(ValueError, match=r"groups of equal size|is unknown"):
        ChannelShuffle(**bad)(np.zeros((1, 2, 2, 6), np.float32))


def test_split():
    first, second = ChannelSplit()(np.arange(8, dtype=np.float32).reshape(1, 1, 1, 8))
    np.testing.assert_array_equal(np.ravel(first), [0, 1, 2, 3])
    np.testing.assert_array_equal(np.ravel(second), [4, 5, 6, 7])


@pytest.mark.skipif(kernels.LEGACY_KERAS, reason="tf_keras's own layer is fused")
def test_fused_batch_normalization_is_keras_own():
    x = tf.random.stateless_normal((8, 5, 5, 3), (1, 2), mean=2.0, stddev=3.0)
    fused, own = (cls(momentum=0.9, epsilon=1e-5) for cls in (kernels.BatchNorm, tf.keras.layers.BatchNormalization))
    results = []
    for layer in (fused, own):
        layer.build(x.shape)
        layer.gamma.assign([1.0, 2.0, 3.0])
        with tf.GradientTape() as tape:
            tape.watch(x)
            before = layer(x, training=False)
            y = layer(x, training=True)
            loss = tf.reduce_sum(y**3)
        gradients = tape.gradient(loss, [x, *layer.trainable_weights])
        results.append((before, y, layer.moving_mean, *gradients))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-3)
    # As in tf_keras, PyTorch and TensorFlow 1, the moving variance takes the unbiased batch variance: n / (n - 1).
    n = 8 * 5 * 5
    unbiased = 0.9 + (np.asarray(own.moving_variance) - 0.9) * n / (n - 1)
    np.testing.assert_allclose(fused.moving_variance, unbiased, rtol=1e-4)
    fused.trainable = False
    np.testing.assert_array_equal(fused(x, training=True), fused(x, training=False))


@pytest.mark.parametrize(
    "layer",
    [
        ConvBNReLU(8, 3, 2, padding="symmetric", name="conv1"),
        DepthwiseConvBN(strides=2, name="dconv"),
        GroupedConvBN(8, groups=2, name="conv2"),
        st.ShufflenetUnit1(12, wiring="torchvision", name="unit"),
        st.ShufflenetUnit2(24, wiring="megvii", name="unit"),
        st.ShufflenetStage(24, 3, name="stage"),
        st.ShuffleNetV1Unit(24, groups=2, strides=2, name="unit"),
        st.ShuffleNetV1Unit(12, groups=3, shuffle=False, name="unit"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_stand_alone_and_come_back_from_their_configuration(layer):
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 12)).astype(np.float32)
    y = layer(x)
    twin = type(layer).from_config(layer.get_config())
    twin(x)
    twin.set_weights(layer.get_weights())
    np.testing.assert_array_equal(twin(x), y)


@pytest.mark.parametrize("wiring", ["tensorpack", "megvii", "torchvision"])
@pytest.mark.parametrize("name", ["shufflenet_v1_0.25x_g2", "shufflenet_v2_0.5x"])
def test_flattened_model_is_equal_to_the_last_bit(name, wiring, monkeypatch):
    few_units(monkeypatch)  # of each kind
    model = st.create_model(name, input_shape=(32, 48, 3), classes=5, wiring=wiring)
    flat = flatten(model)
    x = np.random.default_rng(0).normal(size=(2, 32, 48, 3)).astype(np.float32)
    np.testing.assert_array_equal(flat(x), model(x))
    kinds = {type(layer).__name__ for layer in flat.layers}
    assert "Conv2D" in kinds and not any("Unit" in kind or kind.endswith("BN") for kind in kinds)
    assert len({layer.name for layer in flat.layers}) == len(flat.layers)
    assert all(a is b for a, b in zip(flat.weights, flatten(model).weights, strict=True))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: st.ShufflenetUnit1(7), "even number"),
        (lambda: st.ShufflenetUnit1(8)(np.zeros((1, 4, 4, 6), np.float32)), "keeps the number of channels"),
        (lambda: st.ShufflenetUnit2(8)(np.zeros((1, 4, 4, 8), np.float32)), "more than 8"),
        (lambda: st.ShuffleNetV1Unit(20, groups=3), "multiple of 12"),
        (lambda: st.ShuffleNetV1Unit(12, groups=3, strides=2)(np.zeros((1, 4, 4, 12), np.float32)), "turn 12 channels into 12"),
        (lambda: st.Wiring(padding="valid"), "'same' or 'symmetric'"),
        (lambda: st.Wiring(padding="symmetric"), "counts its padding"),
        (lambda: st.Wiring.of("keras"), "tensorpack, megvii, torchvision"),
    ],
)
def test_refusals_name_what_would_do(make, sentence):
    with pytest.raises(st.UserError, match=sentence):
        make()
