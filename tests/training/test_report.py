"""What a finished run leaves behind, whatever happens to its photos meanwhile."""

import csv
import dataclasses
import json
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tiny_classifier import PIXELS, network

from shufflenet_tf.data.folder import open_folder
from shufflenet_tf.loading import training_dataset, training_division
from shufflenet_tf.training import report, run_pictures
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
    result.preprocessing, result.certainty = PIXELS, None
    monkeypatch.setattr(report.complexity, "multiply_adds", lambda network: 0)
    monkeypatch.setattr(run_pictures, "training_curves", lambda *_: None)
    monkeypatch.setattr(run_pictures, "heat_maps", lambda network, images, classes: np.zeros((len(images), 2, 2), np.float32))
    return result


def test_a_photo_that_vanishes_is_left_out_of_figures_and_pictures(tmp_path, source, model, monkeypatch):
    """Whenever it does so: with a second pass over the photos, no other may be taken for it."""
    drawn = []
    monkeypatch.setattr(
        run_pictures, "mistakes", lambda images, true, *rest: drawn.extend(zip(map(bytes, images), true, strict=True))
    )
    everything = {tf.io.decode_png(e["image"]).numpy().tobytes(): int(e["label"]) for e in source.test.examples(None)}
    name = os.fsdecode(b"folder:\xb2\xe2")  # a folder whose name is no UTF-8
    source = dataclasses.replace(source, name=name, spec=name, keep_copies=True)
    folder, examples = tmp_path / "photos" / "test", source.test.examples

    def vanishing(seed, wanted=None):
        next((folder / "a").iterdir()).unlink()  # one more at each pass
        return examples(seed, wanted)

    object.__setattr__(source.test, "examples", vanishing)
    report.write_report(model, source, Progress(), tmp_path / "run", batch_size=3, saved_model=False)
    figures = json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]
    assert figures["examples"] == 19 and len(os.listdir(folder / "a")) < 4
    assert training_dataset(tmp_path / "run") == name
    assert training_division(tmp_path / "run", name) == {"keep_copies": True} and not training_division(tmp_path, name)
    assert not training_division(tmp_path / "run", "folder:other")
    grey = bytes([128]) * 32 * 32 * 3
    assert drawn and all(everything[image] == true for image, true in drawn if image != grey)
    with open(tmp_path / "run" / "mistakes.csv", newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 19 - np.trace(figures["confusion"])
    assert all(pathlib.Path(row["file"]).parent.name == row["true"] for row in rows)


def test_the_kept_weights_are_named_after_what_was_left_of_the_training():
    progress = Progress(best_epoch=7, best=0.9)
    assert report.kept(progress) == "those of epoch 7, the best one on the validation images"
    assert report.kept(progress, 0.0) == "the layers' first ones, with a recomputed classifier"
    assert report.kept(progress, 0.5).startswith(
        "the layers' at 50% of the way from their first ones to those of epoch 7, the best"
    )
