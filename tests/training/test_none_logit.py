"""The logit of none of the classes: it changes no answer, refuses other things, and goes wherever the model goes."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as some

import shufflenet_tf as st
from export.convert.from_keras import convert
from export.convert.precision import Precision
from shufflenet_tf.models import open_set, v2
from shufflenet_tf.models.image_classifier import CLASSIFIER
from shufflenet_tf.training import none_logit
from shufflenet_tf.training.discriminant import SHRINKAGE, discriminants
from shufflenet_tf.training.transfer import transfer
from shufflenet_tf.weights import canonical, published

SIDE, FEATURES = 32, 256


@pytest.fixture(scope="module", autouse=True)
def shallow():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(v2, "REPEATS", (1, 1, 1))
        yield


def clouds(classes: int, photos: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of classes, each around a mean of its own."""
    random = np.random.default_rng(seed)
    means, labels = random.normal(0, 1, (classes, FEATURES)), np.repeat(np.arange(classes), photos)
    return means[labels] + random.normal(0, 0.7, (len(labels), FEATURES)) + 3, labels


def logits(features, classifier, weights):
    """Logits of the classes and of none, as the layers compute them."""
    known = features @ classifier[0] + (classifier[1] if len(classifier) > 1 else 0)
    return known, np.maximum(features @ weights[0] + weights[1], 0) @ weights[2] + weights[3]


@given(some.integers(3, 40), some.integers(4, 12), some.booleans(), some.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_photos_of_a_class_that_is_left_out_are_rather_none(classes, photos, use_bias, seed):
    features, labels = clouds(classes + 1, photos, seed)
    known = labels < classes
    seen = known & (np.arange(len(labels)) % 4 != 0)
    classifier = discriminants(features[seen], labels[seen], SHRINKAGE, use_bias)
    weights = none_logit.layers(features[seen], labels[seen], classifier)
    found, none = logits(features, classifier, weights)
    margin = found.max(axis=1) - none[:, 0]
    assert np.median(margin[known & ~seen]) > np.median(margin[~known])


@pytest.mark.parametrize(
    ("classes", "photos", "features"),
    [(2, 20, FEATURES), (5, 1, FEATURES), (5, 20, 4 * none_logit._FEWEST_DIRECTIONS - 1), (FEATURES // 4 + 1, 3, FEATURES)],
)
def test_where_there_is_none(classes, photos, features):
    x, labels = clouds(classes, photos, 0)
    x = x[:, :features]
    classifier = [np.zeros((features, classes)), np.zeros(classes)]
    assert none_logit.layers(x, labels, classifier) is None


def test_features_that_are_all_alike():
    x, labels = np.ones((12, FEATURES)), np.arange(12) % 3
    assert all(np.isfinite(array).all() for array in none_logit.layers(x, labels, discriminants(x, labels, SHRINKAGE, True)))


@pytest.fixture(scope="module")
def network():
    """A network of eight classes with a random logit of none, of the size that other logits have."""
    tf.keras.utils.set_random_seed(1)
    plain = st.create_model("shufflenet_v2_0.5x", input_shape=(SIDE, SIDE, 3), classes=8, labels=list("abcdefgh"))
    plain.get_layer(CLASSIFIER).set_weights([np.random.default_rng(0).normal(0, 30, (1024, 8)), np.zeros(8)])
    random = np.random.default_rng(1)
    weights = [random.normal(0, 30, (1024, 64)), np.ones(64), random.normal(0, 0.2, (64, 1)), np.ones(1)]
    return plain, none_logit.rebuilt(plain, weights)


def images(count=6):
    return np.random.default_rng(2).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


@pytest.mark.both_generations
def test_answers_keep_their_order_and_leave_room(network):
    plain, model = network
    x = plain.preprocessing.normalize(images())
    before, after = plain(x, training=False).numpy(), model(x, training=False).numpy()
    rest = 1 - after.sum(axis=1, keepdims=True)
    assert (rest > 0).all() and (rest > 0.01).any() and (rest < 0.99).any()
    np.testing.assert_allclose(after / (1 - rest), before, atol=1e-4)
    assert model.logits.shape[-1] == 8 and open_set.has_none(model) and not open_set.has_none(plain)
    back = none_logit.rebuilt(model, None)
    assert not open_set.has_none(back)
    np.testing.assert_array_equal(back(x, training=False), before)


@pytest.mark.both_generations
def test_saved_and_loaded_and_trained_further(network, tmp_path):
    plain, model = network
    model.save(tmp_path / "model.keras")
    canonical.save(model, tmp_path / "model.npz")
    expected = model(model.preprocessing.normalize(images()), training=False)
    for name in ("model.keras", "model.npz"):
        np.testing.assert_allclose(st.load(tmp_path / name).classify(images()), expected, atol=1e-6)
    arguments = {"weights": tmp_path / "model.npz", "input_shape": (SIDE, SIDE, 3)}
    for more in ({"classes": 5}, {"classifier_activation": None}, {"include_top": False}):
        assert not open_set.has_none(st.create_model("shufflenet_v2_0.5x", **arguments, **more))
    new = st.create_model("shufflenet_v2_0.5x", input_shape=(SIDE, SIDE, 3), classes=8, labels=list("abcdefgh"))
    assert not transfer(new, published.read(tmp_path / "model.npz"))
    np.testing.assert_allclose(new(images() / 255.0), plain(images() / 255.0), atol=1e-6)


def test_exported(network, tmp_path):
    """float32 is the same; int8 is as close as for a network without it."""
    plain, model = network
    errors = []
    for each in (plain, model):
        expected = each(each.preprocessing.normalize(images()), training=False).numpy()
        for kind in ("float32", "int8"):
            path = tmp_path / f"{kind}.tflite"
            path.write_bytes(convert(each, Precision(kind, calibration=list(images()))))
            errors.append(np.abs(st.load(path).classify(images()) - expected).max())
    assert max(errors[::2]) < 1e-4 and errors[3] < errors[1] + 0.1
