"""Calibration and threshold of a trained network: where they are kept, and that all that is made of it keeps them."""

import json
import zipfile

import numpy as np
import pytest
import tensorflow as tf

import shufflenet_tf as st
from shufflenet_tf.certainty import Certainty
from shufflenet_tf.data import Source, Split
from shufflenet_tf.errors import UserError
from shufflenet_tf.evaluation.calibration import at_temperature
from shufflenet_tf.models import v2
from shufflenet_tf.training import discriminant
from shufflenet_tf.training.certainty import CertaintyReport, calibrate, divide_logits, none_text, predict
from shufflenet_tf.weights import canonical

pytestmark = pytest.mark.both_generations
SIDE, LABELS = 32, ("ant", "bee", "cat")


@pytest.fixture(scope="module", autouse=True)
def shallow():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(v2, "REPEATS", (1, 1, 1))
        yield


def split(count: int, seed: int, colours: bool = False) -> Split:
    """Random pictures with random labels, which their colours may tell."""
    random = np.random.default_rng(seed)
    labels, pixels = random.integers(0, 3, count), random.integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)
    if colours:
        pixels[np.arange(count), :, :, labels] //= 4
    images = [tf.io.encode_png(image).numpy() for image in pixels]
    columns = {"image": images, "label": labels, "orientation": np.ones(count, np.int32)}
    return Split(count, lambda *_: tf.data.Dataset.from_tensor_slices(columns))


@pytest.fixture(scope="module")
def source():
    return Source("noise", LABELS, split(1, 0), split(24, 1), validation=split(30, 2), none=split(12, 3))


def network():
    """A network that is far too sure of itself."""
    model = st.create_model("shufflenet_v2_0.5x", input_shape=(SIDE, SIDE, 3), classes=3, labels=LABELS)
    random = np.random.default_rng(0)
    linear = model.get_layer("linear")
    linear.set_weights([random.normal(0, 40, values.shape) for values in linear.get_weights()])
    return model


@pytest.fixture(scope="module")
def calibrated(source):
    model = network()
    before, _ = predict(model, source.test)
    calibrate(model, source, 0.9)
    return model, before


def test_the_weights_carry_the_temperature(calibrated, source):
    model, before = calibrated
    certainty = model.certainty
    assert certainty.temperature > 1.5 and certainty.coverage == 0.9 and certainty.images == 30
    after, _ = predict(model, source.test)
    np.testing.assert_allclose(after, at_temperature(before, certainty.temperature), atol=1e-4)
    known, _ = predict(model, source.validation)
    assert np.mean(known.max(axis=1) >= certainty.threshold) >= 0.9


def test_the_report_measures_test_photos_and_those_of_no_class(calibrated, source, tmp_path):
    model, _ = calibrated
    report = CertaintyReport.of(model, source, *predict(model, source.test))
    assert report.after.error < report.before.error
    assert (report.refusal.known, report.refusal.unknown) == (24, 6)  # the other six chose the threshold
    figures = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert figures["temperature"] == model.certainty.temperature and figures["test"]["coverage"]["photos"] == 24
    assert "temperature" in report.text() and "of 6 photos of none" in report.text()


def test_too_few_validation_photos(source):
    model = network()
    weights = model.get_layer("linear").get_weights()
    few = Source("noise", LABELS, split(3, 0), split(3, 1), validation=split(19, 2))
    assert calibrate(model, few, 0.95) is model and model.certainty is None
    assert all(map(np.array_equal, weights, model.get_layer("linear").get_weights()))
    assert "there are 19" in none_text(few) and CertaintyReport.of(model, few, None, None) is None


def test_a_coverage_of_1_has_no_threshold(source):
    model = network()
    assert calibrate(model, source, 1.0).certainty.threshold is None and model.certainty.temperature > 1.5


def test_saved_and_loaded(calibrated, tmp_path):
    model, _ = calibrated
    model.save(tmp_path / "model.keras")
    canonical.save(model, tmp_path / "model.npz")
    image = np.random.default_rng(5).integers(0, 256, (1, SIDE, SIDE, 3), np.uint8)
    for name in ("model.keras", "model.npz"):
        bundle = st.load(tmp_path / name)
        assert bundle.model.certainty == model.certainty and bundle.threshold == model.certainty.threshold
        np.testing.assert_allclose(bundle.classify(image), model(model.preprocessing.normalize(image)), atol=1e-6)
    new = st.create_model("shufflenet_v2_0.5x", weights=tmp_path / "model.npz", input_shape=(SIDE, SIDE, 3), classes=5)
    assert new.certainty is None  # of another classifier


def test_a_file_from_before(tmp_path):
    """A network that nothing is known of is saved as it always was."""
    model = network()
    assert "certainty" not in model.get_config()
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        assert b"certainty" not in file.read("config.json")
    assert st.load(tmp_path / "model.keras").threshold is None


@pytest.mark.parametrize("wiring", ["tensorpack", "megvii"])  # with and without a bias
def test_a_classifier_that_is_no_good_is_recomputed(wiring, monkeypatch):
    """Photos of three colours, and a classifier of random weights."""
    model = st.create_model("shufflenet_v2_0.5x", input_shape=(SIDE, SIDE, 3), classes=3, labels=LABELS, wiring=wiring)
    assert model.get_layer("linear").use_bias == (wiring == "tensorpack")
    coloured = [split(count, seed, colours=True) for count, seed in ((30, 6), (30, 7), (30, 8))]
    source = Source("colours", LABELS, coloured[0], coloured[1], validation=coloured[2])
    model = calibrate(model, source, 0.9)
    probabilities, targets = predict(model, source.test)
    assert model.certainty.shrinkage == discriminant.SHRINKAGE
    assert np.mean(probabilities.argmax(axis=1) == targets) > 0.9
    weights = model.get_layer("linear").get_weights()
    monkeypatch.setattr(discriminant, "features_of", lambda *_, **__: pytest.fail("recomputed twice"))
    assert calibrate(model, source, 0.9).certainty.shrinkage == discriminant.SHRINKAGE
    monkeypatch.undo()
    model.get_layer("linear").set_weights(weights)
    assert discriminant.refit(model, Source("few", LABELS, split(1, 0), split(1, 0), validation=split(30, 2))) is None
    assert all(map(np.array_equal, weights, model.get_layer("linear").get_weights()))


def test_a_classifier_can_be_recomputed_without_validation_photos():
    model = st.create_model("shufflenet_v2_0.5x", input_shape=(SIDE, SIDE, 3), classes=3, labels=LABELS)
    assert discriminant.recompute(model, split(30, 6, colours=True))
    probabilities, targets = predict(model, split(30, 7, colours=True))
    assert np.mean(probabilities.argmax(axis=1) == targets) > 0.9


@pytest.mark.parametrize("name", ["squeezenet_1.1", "shufflenet_v1_0.25x_g3"])
def test_classifiers_of_other_networks(name):
    model = st.create_model(name, input_shape=(SIDE, SIDE, 3), classes=3)
    images = np.random.default_rng(1).normal(size=(4, SIDE, SIDE, 3)).astype(np.float32)
    before = model(images, training=False).numpy()
    divide_logits(model, 0.5)
    np.testing.assert_allclose(model(images, training=False), at_temperature(before, 0.5), atol=1e-5)


@pytest.mark.parametrize("config", [{"temperature": 0}, {"threshold": 1.5}, {"coverage": float("nan")}, {"speed": 1}])
def test_bad_configurations(config):
    with pytest.raises(UserError, match="can't be"):
        Certainty.of(config)
