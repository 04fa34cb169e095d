"""Cross-validation: what is made of the folds' figures, and what can't be divided."""

import json
import pathlib

import numpy as np
import pytest

from shufflenet_tf.data import Source, Split
from shufflenet_tf.errors import UserError
from shufflenet_tf.evaluation.metrics import evaluate
from shufflenet_tf.training import folds


def figures(right: int, total: int) -> dict:
    """Of a test of two classes."""
    targets = np.zeros(total, int)
    predicted = np.where(np.arange(total) < right, 0, 1)
    return evaluate(np.eye(2)[predicted], targets, ["a", "b"]).to_json()


def test_each_fold_is_trained_once_and_the_run_gets_the_result(tmp_path):
    (tmp_path / "metrics.json").write_text('{"model": "m"}')
    calls = []

    def train(fold: str, output: str) -> None:
        calls.append(fold)
        pathlib.Path(output).mkdir()
        right = {"1/3": 8, "2/3": 10, "3/3": 9}[fold]
        (pathlib.Path(output) / "metrics.json").write_text(json.dumps({"test": figures(right, 10)}))

    text = folds.cross_validate(train, tmp_path, 3)
    assert calls == ["1/3", "2/3", "3/3"]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    result = metrics[folds.KEY]
    assert metrics["model"] == "m" and result["top1"] == [0.8, 1.0, 0.9]
    assert (result["mean"], result["spread"]) == pytest.approx((0.9, 0.1))
    assert (result["right"], result["examples"], result["confusion"]) == (27, 30, [[27, 3], [0, 0]])
    assert "top-1 90.0% ± 10.0%" in text and "of all 30 photos 90.0% (74.4 to 96.5)" in text


def test_what_can_not_be_divided():
    source = Source("shapes", ("a", "b"), Split(2, None), Split(1, None))
    with pytest.raises(UserError, match="a folder of photos"):
        folds.check(5, source)
    with pytest.raises(UserError, match="2 or more"):
        folds.check(1, source)
    folds.check(0, source)
    assert folds.parsed("") is None and folds.parsed("2/5") == (2, 5)
