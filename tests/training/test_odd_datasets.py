"""Datasets as people have them, at the edges: each ends with a model and honest words, or with one sentence."""

import json

import numpy as np
import pytest
from PIL import Image

import train_main
from shufflenet_tf.models import v2


@pytest.fixture(scope="module", autouse=True)
def few_units():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(v2, "REPEATS", (2, 1, 1))
        yield


def write(folder, counts, noise=40):
    """Photos of a colour for each class, with noise; noise=0: all photos of a class are identical."""
    random = np.random.default_rng(0)
    for index, count in enumerate(counts):
        colour = np.random.default_rng(index).integers(0, 256, 3)
        place = folder / f"class_{index:03}"
        place.mkdir(parents=True)
        for number in range(count):
            pixels = np.clip(random.normal(0, noise, (36, 36, 3)) + colour, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(place / f"{number:04}.png")
    return folder


def run(photos, output, *more) -> int:
    arguments = ["--choose", f"--dataset=folder:{photos}", f"--output={output}", "--image_size=32", *more]
    return train_main.run(["train_main.py", *arguments, "--epochs=3", "--notensorboard", "--nosaved_model"])


@pytest.mark.long
@pytest.mark.parametrize(
    ("counts", "noise", "said"),
    [
        pytest.param([5] * 10, 40, "with some 50 of each, results are much better", id="few"),
        pytest.param([300, 6], 40, "rare classes count as much", id="unequal"),
        pytest.param([3] * 60, 40, "60 classes", id="many classes"),
        pytest.param([20] * 3, 0, "3 classes", id="identical photos of one colour"),
    ],
)
def test_odd_datasets_end_with_a_model_and_honest_words(counts, noise, said, tmp_path, capsys):
    assert run(write(tmp_path / "photos", counts, noise), tmp_path / "run") == 0
    assert said in capsys.readouterr().out
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert np.isfinite(metrics["test"]["loss"]) and (tmp_path / "run" / "model.keras").exists()
    assert metrics["test"]["examples"] >= len(counts)


def test_a_class_of_one_photo_is_told_in_one_sentence(tmp_path, capsys):
    assert run(write(tmp_path / "photos", [9, 1]), tmp_path / "run") == 2
    assert "class_001 has one usable image: it needs at least two" in capsys.readouterr().err
