"""Metrics against cases counted by hand, and what holds for any predictions."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from shufflenet_tf.errors import UserError
from shufflenet_tf.evaluation.metrics import evaluate, shorten, worst_mistakes

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.5, 0.25, 0.25]])
TARGETS = np.array([0, 1, 1, 2])
LABELS = ["a", "b", "c"]


def test_counted_by_hand():
    result = evaluate(PROBABILITIES, TARGETS, LABELS)
    assert result.confusion.tolist() == [[1, 0, 0], [1, 1, 0], [1, 0, 0]]
    assert (result.top1, result.top5) == (0.5, 1.0)
    assert result.loss == pytest.approx(-np.log([0.7, 0.3, 0.8, 0.25]).mean())
    a, b, c = result.per_class
    assert (a["precision"], a["recall"], a["support"]) == (pytest.approx(1 / 3), 1.0, 1)
    assert (b["precision"], b["recall"], b["f1"]) == (1.0, 0.5, pytest.approx(2 / 3))
    assert (c["precision"], c["recall"], c["f1"]) == (0.0, 0.0, 0.0)  # never predicted
    # Bins of 1/15: confidences .7 (right), .6 (wrong), .8 (right) and .5 (wrong) lie in one each.
    assert result.expected_calibration_error == pytest.approx((0.3 + 0.6 + 0.2 + 0.5) / 4)
    assert worst_mistakes(PROBABILITIES, TARGETS).tolist() == [1, 3]
    assert worst_mistakes(PROBABILITIES, TARGETS, 1).tolist() == [1]


def test_equal_probabilities_rank_by_index():
    even = np.full((2, 8), 1 / 8)
    result = evaluate(even, np.array([0, 5]), list("abcdefgh"))
    assert (result.top1, result.top5) == (0.5, 0.5)


def test_what_was_never_predicted_is_json_all_the_same():
    text = json.dumps(evaluate(np.eye(3)[[0]], np.array([0]), LABELS).to_json(), allow_nan=False)
    assert json.loads(text)["top1"] == 1.0


@settings(max_examples=60, deadline=None)
@given(some.integers(1, 40), some.integers(1, 12), some.integers(0, 2**32 - 1))
def test_for_any_predictions(n, classes, seed):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(classes), n)
    targets = rng.integers(0, classes, n)
    labels = [str(i) for i in range(classes)]
    result = evaluate(probabilities, targets, labels)
    assert result.confusion.sum() == n and np.trace(result.confusion) / n == pytest.approx(result.top1)
    assert result.top1 <= result.top5 <= 1 and (classes > 5 or result.top5 == 1)
    assert sum(row["support"] for row in result.per_class) == n
    order = rng.permutation(n)
    again = evaluate(probabilities[order], targets[order], labels)
    assert np.array_equal(again.confusion, result.confusion) and again.loss == pytest.approx(result.loss)
    wrong = worst_mistakes(probabilities, targets, n)
    assert len(wrong) == n - np.trace(result.confusion)
    assert np.all(np.diff(probabilities[wrong].max(-1)) <= 0)


def test_the_table_shows_the_worst_classes_first_when_there_are_too_many():
    targets = np.arange(40)
    probabilities = np.eye(40)
    probabilities[7] = np.eye(40)[8]
    lines = evaluate(probabilities, targets, [f"class {i}" for i in range(40)]).text_table(5).splitlines()
    assert len(lines) == 7 and "5 worst of 40" in lines[0] and lines[1].startswith("class 7 ")
    assert lines[-1].startswith("overall: top-1 97.50% (87.12 to 99.56)")


def test_shorten():
    assert shorten("a\nb", 9) == "a b" and shorten("abcdef", 4) == "abc…" and shorten("日本語", 4) == "日…"


@pytest.mark.parametrize(
    ("probabilities", "targets", "labels"),
    [
        (PROBABILITIES, TARGETS[:2], LABELS),
        (PROBABILITIES, TARGETS, LABELS[:2]),
        (PROBABILITIES, TARGETS + 1, LABELS),
        (PROBABILITIES * np.nan, TARGETS, LABELS),
        (PROBABILITIES[:0], TARGETS[:0], LABELS),
    ],
)
def test_refusals(probabilities, targets, labels):
    with pytest.raises(UserError):
        evaluate(probabilities, targets, labels)


@pytest.mark.parametrize(("classes", "shown"), [(2, False), (5, False), (6, True)])
def test_top5_is_shown_where_it_says_something(classes, shown):
    result = evaluate(np.eye(classes), np.arange(classes), [f"class {i}" for i in range(classes)])
    assert ("top5" in result.to_json()) is shown and ("top-5" in result.text_table()) is shown
