"""One step is what the papers' recipe says."""

import numpy as np
import pytest
import tensorflow as tf

import shufflenet_tf as st
from shufflenet_tf.models import v1, v2
from shufflenet_tf.training.trainer import Trainer

pytestmark = [pytest.mark.both_generations, pytest.mark.kernels]

IMAGES = np.random.default_rng(0).normal(size=(8, 32, 32, 3)).astype(np.float32)
LABELS = np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0, 1, 2, 3]]


@pytest.fixture(scope="module", autouse=True)
def few_units():
    """Four units instead of sixteen: a step is the same, and traced four times as fast."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(v1, "REPEATS", (2, 1, 1))
        patch.setattr(v2, "REPEATS", (2, 1, 1))
        yield


def trainer(network=None, rate=0.1, momentum=0.0, run_eagerly=True, **arguments):
    """Returns a trainer that takes a single step faster eagerly than its graph is traced; programs train in graphs."""
    network = network or st.ShuffleNetV1((32, 32, 3), alpha=0.25, groups=2, classes=4)
    result = Trainer(network, **arguments)
    optimizer = tf.keras.optimizers.SGD(rate, momentum=momentum, nesterov=momentum > 0)
    result.compile(optimizer=optimizer, jit_compile=False, run_eagerly=run_eagerly)
    return result


def step(model):
    model.fit(tf.data.Dataset.from_tensors((IMAGES, LABELS)), epochs=1, verbose=0, shuffle=False)


def test_weight_decay_pulls_kernels_only():
    """With a learning rate of r, weight decay d changes a kernel by -r * d * kernel on top, and nothing else."""
    start = st.ShuffleNetV1((32, 32, 3), alpha=0.25, groups=2, classes=4)
    initial = [np.array(value) for value in start.get_weights()]
    results = []
    for decay in (0.0, 0.5):
        start.set_weights(initial)
        step(trainer(start, weight_decay=decay))
        results.append([np.array(v) for v in start.trainable_weights])
    start.set_weights(initial)
    for variable, plain, decayed in zip(start.trainable_weights, *results, strict=True):
        expected = -0.1 * 0.5 * np.array(variable) if "kernel" in variable.name else 0 * plain
        np.testing.assert_allclose(decayed - plain, expected, atol=2e-5)
    assert sum("kernel" in v.name for v in start.trainable_weights) == 1 + 3 * 4 + 1


def test_label_smoothing_and_the_loss_that_is_shown():
    smooth, sharp = (trainer(rate=1e-9, label_smoothing=smoothing) for smoothing in (0.2, 0.0))
    sharp.network.set_weights(smooth.network.get_weights())
    logits = smooth.logits(IMAGES, training=True).numpy()
    smooth.network.set_weights(sharp.network.get_weights())
    log = np.log(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True))
    for model, smoothing in ((smooth, 0.2), (sharp, 0.0)):
        history = model.fit(tf.data.Dataset.from_tensors((IMAGES, LABELS)), verbose=0, shuffle=False).history
        expected = -((LABELS * (1 - smoothing) + smoothing / 4) * log).sum(-1).mean()
        assert history["loss"][0] == pytest.approx(expected, rel=1e-4)


def test_averaged_weights_follow_and_change_places():
    model = trainer(ema=0.9)
    before = [np.array(v) for v in model.network.weights]
    step(model)
    after = [np.array(v) for v in model.network.weights]
    decay = min(0.9, (1 + 1) / (10 + 1))  # young averages follow faster
    with model.averaged_weights():
        for value, a, b in zip(model.network.weights, before, after, strict=True):
            np.testing.assert_allclose(value, decay * a + (1 - decay) * b, rtol=1e-4, atol=1e-6)
    for value, b in zip(model.network.weights, after, strict=True):
        np.testing.assert_array_equal(value, b)


def test_it_learns():
    model = trainer(rate=0.05, momentum=0.9, run_eagerly=False)
    data = tf.data.Dataset.from_tensors((IMAGES, LABELS)).repeat()
    history = model.fit(data, steps_per_epoch=15, epochs=2, verbose=0, shuffle=False).history
    assert history["top1"][-1] > 0.8 and history["loss"][-1] < 0.5 * history["loss"][0]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_sixteen_bit_activations(policy):
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        network = st.ShuffleNetV2((32, 32, 3), alpha=0.5, classes=4)
        model = trainer(network, rate=0.01, run_eagerly=False)
        step(model)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert network(IMAGES).dtype == tf.float32  # probabilities are not rounded
    assert all(v.dtype in ("float32", tf.float32) for v in network.weights)
    assert all(np.isfinite(np.array(v)).all() for v in network.weights)
