"""What a finished run leaves behind, whatever happens to its photos meanwhile."""

import dataclasses
import json
import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tiny_classifier import PIXELS, network

from shufflenet_tf.data.folder import open_folder
from shufflenet_tf.evaluation import pictures
from shufflenet_tf.evaluation.metrics import worst_mistakes
from shufflenet_tf.loading import training_dataset
from shufflenet_tf.training import report
from shufflenet_tf.training.checkpoint import Progress


@pytest.fixture
def source(tmp_path):
    dice = np.random.default_rng(0)
    for side in ("train", "test"):
        for number in range(20):
            folder = tmp_path / "photos" / side / "abcde"[number % 5]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(dice.integers(0, 256, (4, 4, 3), np.uint8).repeat(8, 0).repeat(8, 1)).save(folder / f"{number}.png")
    return open_folder(tmp_path / "photos", log=lambda _: None)


@pytest.fixture
def model(monkeypatch):
    result = network()
    result.preprocessing = PIXELS
    monkeypatch.setattr(report.complexity, "multiply_adds", lambda network: 0)
    monkeypatch.setattr(pictures, "training_curves", lambda *_: None)
    return result


def test_a_photo_that_vanishes_is_left_out_of_figures_and_pictures(tmp_path, source, model, monkeypatch):
    """Whenever it does so: with two passes over the photos, the second would take others for it."""
    drawn = {}
    monkeypatch.setattr(pictures, "mistakes", lambda images, true, *_: drawn.update(zip(map(bytes, images), true, strict=True)))
    everything = {tf.io.decode_png(e["image"]).numpy().tobytes(): int(e["label"]) for e in source.test.examples(None)}
    name = os.fsdecode(b"folder:\xb2\xe2")  # a folder whose name is no UTF-8
    source = dataclasses.replace(source, name=name, spec=name)
    folder, examples = tmp_path / "photos" / "test", source.test.examples

    def vanishing(seed):
        next((folder / "a").iterdir()).unlink()  # one more at each pass
        return examples(seed)

    object.__setattr__(source.test, "examples", vanishing)
    evaluation = report.write_report(model, source, Progress(), tmp_path / "run", batch_size=3, saved_model=False)
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]["examples"] == 19
    assert evaluation.confusion.sum() == 19 and evaluation.confusion[0].sum() == 3 and len(os.listdir(folder / "a")) == 3
    assert training_dataset(tmp_path / "run") == name
    assert drawn and all(everything[image] == true for image, true in drawn.items())
    assert len(drawn) == 19 - np.trace(evaluation.confusion)


def test_the_worst_mistakes_of_all_batches_are_kept(source, model, monkeypatch):
    monkeypatch.setattr(report, "worst_mistakes", lambda *figures: worst_mistakes(*figures, 4))
    probabilities, targets, kept = report._predict(model, source, (32, 32), 3)
    assert list(kept) == worst_mistakes(probabilities, targets, 4).tolist() and len(kept) == 4
