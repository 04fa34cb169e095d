"""Temperatures that are found again, errors counted by hand, thresholds that keep what they promise."""

import json

import numpy as np
import pytest
from PIL import Image

from shufflenet_tf.evaluation import reliability_picture
from shufflenet_tf.evaluation.calibration import at_temperature, fit_temperature, reliability
from shufflenet_tf.evaluation.rejection import HIGHEST, Refusal, choose_threshold


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def drawn():
    """Probabilities that are three times too sure, and classes that are drawn from the right ones."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (4000, 6))
    right = softmax(logits)
    targets = (right.cumsum(axis=1) < rng.random((4000, 1))).sum(axis=1).clip(0, 5)
    return softmax(3 * logits), right, targets


def test_a_known_temperature_is_found(drawn):
    sure, right, targets = drawn
    temperature = fit_temperature(sure, targets)
    assert temperature == pytest.approx(3, rel=0.06)
    np.testing.assert_allclose(at_temperature(sure, 3.0), right, atol=1e-5)
    before, after = reliability(sure, targets).error, reliability(at_temperature(sure, temperature), targets).error
    assert before > 0.2 and after < 0.03


def test_photos_that_are_all_right_do_not_lead_to_certainty():
    probabilities = softmax(np.eye(4)[[0, 1, 2, 3] * 10] * 3)
    fitted = at_temperature(probabilities, fit_temperature(probabilities, np.array([0, 1, 2, 3] * 10)))
    assert 0.9 < fitted.max() < 0.999


def test_zeros_of_a_quantized_softmax():
    probabilities = np.float32([[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0]])
    assert np.isfinite(fit_temperature(probabilities, np.array([0, 1, 2])))
    assert np.isfinite(at_temperature(probabilities, 0.1)).all()


def test_reliability_counted_by_hand():
    probabilities = np.array([[0.7, 0.3], [0.8, 0.2], [0.05, 0.95], [0.6, 0.4]])
    result = reliability(probabilities, np.array([0, 1, 1, 1]), bins=5)
    assert result.counts.tolist() == [0, 0, 1, 2, 1]
    assert result.confidence.tolist() == pytest.approx([0, 0, 0.6, 0.75, 0.95])
    assert result.accuracy.tolist() == [0, 0, 0, 0.5, 1]
    assert result.error == pytest.approx((0.6 + 2 * 0.25 + 0.05) / 4)
    json.dumps(result.to_json(), allow_nan=False)


def test_the_picture(drawn, tmp_path):
    sure, right, targets = drawn
    reliability_picture.draw(reliability(sure, targets), reliability(right, targets), 3.0, tmp_path / "reliability.png")
    assert min(Image.open(tmp_path / "reliability.png").size) > 300


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.95, 0.99, 1.0])
@pytest.mark.parametrize("count", [1, 20, 101])
def test_a_threshold_keeps_the_coverage(coverage, count):
    scores = np.random.default_rng(count).uniform(0.2, 0.95, count)
    threshold = choose_threshold(scores, coverage)
    kept = np.mean(scores >= threshold)
    assert coverage <= kept < coverage + 1 / count + 1e-9


def test_probabilities_that_are_all_one_leave_a_threshold_that_int8_reaches():
    assert choose_threshold(np.ones(100), 0.95) == HIGHEST


def test_unknown_photos_lower_a_threshold_that_buys_nothing():
    known, unknown = np.linspace(0.5, 1, 100), np.full(50, 0.4)
    free = choose_threshold(known, 0.95, unknown)
    assert 0.4 < free <= known[0] and choose_threshold(known, 0.95) > known[4]
    assert choose_threshold(known, 0.95, np.full(50, 0.51)) > 0.51


def test_what_a_threshold_does():
    known = np.array([[0.9, 0.1], [0.55, 0.45], [0.2, 0.8], [0.3, 0.7]])
    result = Refusal.of(0.6, known, np.array([0, 0, 1, 0]), np.array([[0.5, 0.5], [0.1, 0.9]]))
    assert (result.known, result.sure, result.right, result.unknown, result.refused) == (4, 3, 2, 2, 1)
    assert result.to_json()["coverage"]["share"] == 0.75
    assert "75.0%" in result.text() and "of 2 photos of none of the classes, 50.0%" in result.text()
    assert Refusal.of(0.95, known, np.zeros(4, int)).to_json()["accuracy_of_sure"] is None
