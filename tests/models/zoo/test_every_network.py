"""Every registered network runs, learns, is saved and loaded under both Keras generations, and becomes TFLite files.

Without EVERY_NETWORK=1, the first of those that differ in width alone stands for them, deep ones are made shallow, and
nothing is optimized; test_figures.py builds each at its full depth and runs it. With it, this takes an hour.
"""

import numpy as np
import pytest
import tensorflow as tf
from zoo_networks import EVERY, TESTED, least_size, light, marked

import shufflenet_tf as st
from shufflenet_tf.models import kernels
from shufflenet_tf.tflite_classifier import LiteClassifier
from shufflenet_tf.training.trainer import Trainer

pytestmark = pytest.mark.both_generations
CLASSES = ("a", "b", "c")
# What XNNPACK leaves to the interpreter in an int8 graph as TensorFlow converts it; the optimizer takes care of them.
LEFT = {"QUANTIZE", "SOFTMAX", "HARD_SWISH", "RELU", "AVERAGE_POOL_2D"}


@pytest.fixture(autouse=True)
def lighter(monkeypatch):
    tf.keras.utils.set_random_seed(0)
    if not EVERY:
        light(monkeypatch)


@pytest.mark.parametrize("name", marked(TESTED))
def test_forward_step_save_load_export(name, tmp_path):
    size = least_size(name)
    pixels = np.random.default_rng(0).integers(0, 256, (4, size, size, 3), np.uint8)
    model = st.create_model(name, input_shape=(size, size, 3), classes=len(CLASSES), labels=CLASSES)
    images = model.preprocessing.normalize(pixels)
    np.testing.assert_allclose(model(images[:2]).numpy().sum(-1), 1, rtol=1e-5)

    before = [np.array(v) for v in model.trainable_weights]
    trainer = Trainer(model)
    # Clipped, since gradients of 164 random layers in a row explode.
    trainer.compile(optimizer=tf.keras.optimizers.SGD(0.01, clipnorm=1.0), jit_compile=False)
    logs = trainer.train_step((tf.constant(images), tf.one_hot([0, 1, 2, 0], 3)))
    assert np.isfinite(logs["loss"])
    changed = [not np.array_equal(a, np.asarray(b)) for a, b in zip(before, model.trainable_weights, strict=True)]
    assert np.mean(changed) > 0.9  # a dead ReLU may leave one or the other

    for layer in model._flatten_layers():
        if hasattr(layer, "moving_mean"):
            layer.momentum = 0.0
    model(images, training=True)  # sets the statistics: with others, activations of a young network leave int8's range
    trained = model(images).numpy()
    assert np.isfinite(trained).all()
    model.save(tmp_path / "model.keras")
    bundle = st.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(bundle.model(images), trained)
    assert type(bundle.model) is type(model) and bundle.labels == CLASSES
    assert bundle.preprocessing == model.preprocessing
    if not kernels.LEGACY_KERAS:
        exports(bundle.model, pixels, trained, tmp_path)


def exports(model, pixels, expected, tmp_path):
    """Converts a network in float and int8: the first equals Keras, both run in one piece but for what is known."""
    from export.convert.from_keras import convert, trace
    from export.convert.precision import Precision
    from export.flatbuffer import inspection
    from export.optimize import optimize

    def run(content):
        (tmp_path / "model.tflite").write_bytes(content)
        classifier = LiteClassifier(tmp_path / "model.tflite")
        return classifier(pixels), inspection.delegation(classifier._interpreter)

    traced = trace(model)
    answers, pieces = run(convert(traced))
    np.testing.assert_allclose(answers, expected, atol=1e-3)  # the variances of four tiny images magnify roundings
    assert pieces == (1, {})
    content = convert(traced, Precision("int8", calibration=pixels[:1]))
    answers, (_, outside) = run(content)
    np.testing.assert_allclose(answers.sum(-1), 1, atol=0.05)
    assert outside.keys() <= LEFT
    if EVERY:
        answers, pieces = run(optimize(content).model)
        np.testing.assert_allclose(answers.sum(-1), 1, atol=0.05)
        assert pieces == (1, {})
