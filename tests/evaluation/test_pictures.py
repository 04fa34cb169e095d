"""Pictures of every situation open as pictures with something on them, and none is left half-written."""

import numpy as np
import pytest
from PIL import Image

from shufflenet_tf.evaluation import pictures


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


@pytest.mark.parametrize("count", [0, 1, 48])
def test_mistakes(count, tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 64, 48, 3), np.uint8)
    true, predicted = rng.integers(0, 3, count), rng.integers(0, 3, count)
    pictures.mistakes(images, true, predicted, rng.random(count), ["a", "b" * 60, "c"], tmp_path / "mistakes.png")
    opened(tmp_path / "mistakes.png")


def test_nothing_is_left_behind_where_writing_fails(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError):
        pictures.training_curves([row(1)], tmp_path / "file" / "training.png")
    with pytest.raises(ValueError):
        pictures.confusion(np.zeros((2, 3)), ["a", "b"], tmp_path / "confusion.png")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
