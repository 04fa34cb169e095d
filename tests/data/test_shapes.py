"""The embedded dataset: the same pictures everywhere, ready without a network, and not too easy."""

import hashlib

import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import given, settings
from hypothesis import strategies as some
from PIL import Image

from shufflenet_tf.data import open_source, shapes


@settings(max_examples=20, deadline=None)
@given(indices=some.lists(some.integers(0, 10_000), min_size=2, max_size=4), split=some.sampled_from(shapes.SPLITS))
def test_a_picture_is_a_function_of_split_and_index(indices, split):
    first = [shapes.draw(split, i)[0] for i in indices]
    again = [shapes.draw(split, i)[0] for i in reversed(indices)]
    for a, b in zip(first, reversed(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(shapes.draw("train", indices[0])[0], shapes.draw("test", indices[0])[0])


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    # What a run that was killed leaves behind must not be taken for the dataset.
    (folder / "shapes" / "tiny" / "incomplete.ABC123_1.0.0").mkdir(parents=True)
    return str(folder)


def test_it_is_prepared_and_read_through_tfds(data_dir, capsys):
    source = open_source("shapes/tiny", data_dir=data_dir)
    assert "Drawing the dataset 'shapes' (300 images)" in capsys.readouterr().out
    assert source.labels == shapes.LABELS and len(set(source.labels)) == 10
    assert (source.train.size, source.test.size) == (200, 100)
    builder = shapes.prepare(data_dir, "tiny")
    for split, size in (("train", 200), ("test", 100)):
        examples = list(tfds.as_numpy(builder.as_dataset(split=split)))
        assert np.bincount([example["label"] for example in examples]).tolist() == [size // 10] * 10
        for i in (0, size - 1):
            drawn, label = shapes.draw(split, i)
            assert examples[i]["label"] == label
            assert np.abs(examples[i]["image"].astype(int) - drawn).mean() < 12  # JPEG


@pytest.mark.long
def test_the_same_bytes_every_time(data_dir, tmp_path):
    digests = []
    for folder in (data_dir, str(tmp_path)):
        examples = open_source("shapes/tiny", data_dir=folder).train.examples(None)
        digests.append(hashlib.sha256(b"".join(example["image"].numpy() for example in examples)).hexdigest())
    assert digests[0] == digests[1]


@pytest.mark.long
def test_a_linear_model_on_pixels_stays_under_60_percent():
    def pixels(split, count):
        drawn = [shapes.draw(split, i) for i in range(count)]
        small = [np.asarray(Image.fromarray(image).resize((24, 24), Image.Resampling.BOX)) for image, _ in drawn]
        return np.stack(small).reshape(count, -1) / 127.5 - 1, np.array([label for _, label in drawn])

    (x, y), (test_x, test_y) = pixels("train", 1000), pixels("test", 300)
    # Ridge regression on one-hot labels in its dual form, at the best of several strengths.
    x, test_x = np.c_[x, np.ones(len(x))], np.c_[test_x, np.ones(len(test_x))]
    kernel = x @ x.T
    best = 0.0
    for strength in (1e1, 1e2, 1e3, 1e4):
        weights = x.T @ np.linalg.solve(kernel + strength * np.eye(len(x)), np.eye(10)[y])
        best = max(best, np.mean((test_x @ weights).argmax(-1) == test_y))
    assert best < 0.6
