"""The progress bar of a training run, as a terminal shows it."""

import re

import pytest
import tensorflow as tf

from shufflenet_tf.training.callbacks import Bar


@pytest.mark.parametrize("columns", [80, 120])
def test_the_progress_bar_stays_on_one_line(columns, monkeypatch, capsys):
    """Else each step leaves a line behind."""
    monkeypatch.setenv("COLUMNS", str(columns))
    bar = Bar()
    bar.set_model(tf.keras.Model())
    bar.set_params({"verbose": 1, "epochs": 2, "steps": 9999})
    bar.on_train_begin()
    bar.on_epoch_begin(0)
    for batch in range(3):
        bar.on_train_batch_end(batch, {"loss": 1.0, "top1": 1.0, "top5": 1.0})
        bar.progbar._last_update = 0  # it is drawn at most every 50 ms
    lines = re.split(r"[\r\n]", re.sub(r"\x1b\[\d+m|\x08", "", capsys.readouterr().out))
    assert 60 < max(map(len, lines)) < columns and any("3/9999" in line for line in lines)
