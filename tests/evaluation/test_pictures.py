"""Pictures of every situation open as pictures with something on them, and none is left half-written."""

import csv

import numpy as np
import pytest
from PIL import Image

from shufflenet_tf.evaluation import pictures
from shufflenet_tf.evaluation.mistakes import mistakes, mistakes_table


def opened(path):
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG" and min(image.size) > 100 and max(image.size) < 6000
        assert len(np.unique(np.asarray(image.convert("L")))) > 10
        return image.size


def row(epoch, **more):
    return {
        "epoch": epoch,
        "step": 10 * epoch,
        "learning_rate": 0.1 / epoch,
        "loss": 1 / epoch,
        "top1": 1 - 0.5 / epoch,
        **more,
    }


@pytest.mark.parametrize(
    "history",
    [
        [row(1)],
        [row(i, val_loss=2 / i, val_top1=0.9 - 0.4 / i, val_top5=0.99) for i in range(1, 200)],
        [row(1, val_loss=float("nan"), val_top1=0.1), row(2)],
        [],
    ],
)
def test_training_curves(history, tmp_path):
    pictures.training_curves(history, tmp_path / "training.png")
    opened(tmp_path / "training.png")


@pytest.mark.parametrize("classes", [2, 10, 100, 1000])
def test_confusion(classes, tmp_path, recwarn):
    rng = np.random.default_rng(0)
    matrix = rng.integers(0, 3, (classes, classes)) + 20 * np.eye(classes, dtype=int)
    labels = [f"a rather long name of class {i} ☃ 猫" for i in range(classes)]
    pictures.confusion(matrix, labels, tmp_path / "confusion.png")
    opened(tmp_path / "confusion.png")
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def drawn(monkeypatch, draw, *arguments) -> str:
    """All texts of a picture."""
    texts = []
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", _saver(texts))
    draw(*arguments)
    return "\n".join(texts)


def _saver(texts):
    from matplotlib.text import Text

    def save(figure, path, **kwargs):
        texts.extend(text.get_text() for text in figure.findobj(Text))
        path.write_bytes(b"-")

    return save


def test_layers_that_did_not_keep_what_they_learned_are_named(tmp_path, monkeypatch):
    history = [row(i, val_loss=2 / i, val_top1=0.9 - 0.4 / i, val_top5=0.99) for i in range(1, 9)]
    text = drawn(monkeypatch, pictures.training_curves, history, tmp_path / "training.png", 4, 10, 0.0)
    assert "The layers' first weights are kept; the trained ones of epoch 4 had top-1 80.0 % on validation" in text
    assert "best: epoch 4" in text and "kept: epoch 4" not in text
    text = drawn(monkeypatch, pictures.training_curves, history, tmp_path / "training.png", 4, 10, 0.5)
    assert "The layers are left 50% of the way; the trained ones of epoch 4" in text


def test_the_kept_epoch_is_named(tmp_path, monkeypatch):
    history = [row(i, val_loss=2 / i, val_top1=0.9 - 0.4 / i, val_top5=0.99) for i in range(1, 9)]
    path = tmp_path / "training.png"
    text = drawn(monkeypatch, pictures.training_curves, history, path, 4, 10)
    assert "Epoch 4 is kept: top-1 80.0 % on validation" in text and "kept: epoch 4" in text and "top-5" in text
    text = drawn(monkeypatch, pictures.training_curves, history, path, 0, 5)
    assert "top-1 85.0 % on validation, best at epoch 8" in text
    assert "top-5" not in text  # of five classes it is always 100 %
    without = [row(i) for i in range(1, 9)]
    assert "Epoch 8 is kept: top-1 93.8 % on train" in drawn(monkeypatch, pictures.training_curves, without, path, 8)


@pytest.mark.parametrize("count", [0, 1, 48])
def test_mistakes(count, tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 64, 48, 3), np.uint8)
    true, predicted = rng.integers(0, 3, count), rng.integers(0, 3, count)
    names = [f"$photo_{i}.jpg" * 5 for i in range(count)]
    mistakes(images, true, predicted, rng.random(count), ["a", "b" * 60, "c"], tmp_path / "mistakes.png", names, 99 * count)
    opened(tmp_path / "mistakes.png")


def test_the_table_of_mistakes_names_the_files_the_surest_first(tmp_path):
    probabilities = np.array([[0.4, 0.6, 0], [0.1, 0.9, 0], [0.1, 0.2, 0.7], [0.05, 0.95, 0]])
    targets, labels = np.array([0, 0, 2, 1]), ["a, b", "b", "c"]
    files = ["x/1.jpg", "x/2, two.jpg", "x/3.jpg", "x/4.jpg"]
    mistakes_table(probabilities, targets, labels, tmp_path / "mistakes.csv", files)
    with open(tmp_path / "mistakes.csv", newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["x/2, two.jpg", "x/1.jpg"]
    assert rows[0] == {
        "file": "x/2, two.jpg", "true": "a, b", "predicted": "b", "probability": "0.9000", "probability_of_true": "0.1000"
    }  # fmt: skip
    mistakes_table(probabilities, targets, labels, tmp_path / "mistakes.csv")
    with open(tmp_path / "mistakes.csv", newline="", encoding="utf-8-sig") as file:
        assert [row["index"] for row in csv.DictReader(file)] == ["1", "0"]


def test_nothing_is_left_behind_where_writing_fails(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError):
        pictures.training_curves([row(1)], tmp_path / "file" / "training.png")
    with pytest.raises(ValueError):
        pictures.confusion(np.zeros((2, 3)), ["a", "b"], tmp_path / "confusion.png")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
