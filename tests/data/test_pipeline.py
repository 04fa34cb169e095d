"""The pipelines: every example once an epoch, equal batches for equal seeds, going on in the middle, evaluation as promised."""

import dataclasses
import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf
from splits import grey_split

from shufflenet_tf.data import open_source, pipeline
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.errors import UserError
from shufflenet_tf.preprocessing import Preprocessing

PLAIN = Augmentation(min_area=1, jitter=0, lighting=0, flip=False)


def training(steps, augmentation=PLAIN, seed=7, start=0, batch_size=4):
    contract = Preprocessing(mean=(0, 0, 0), std=(1, 1, 1), scale=1)
    batches = pipeline.training_batches(grey_split(), contract, augmentation, (32, 32), batch_size, 3, seed, start)
    return [(images.numpy(), labels.numpy()) for images, labels in itertools.islice(batches, steps - start)]


@functools.cache
def uninterrupted(augmentation=PLAIN):
    """Ten batches of a run that tests compare others with."""
    return training(10, augmentation)


def test_every_example_once_an_epoch_in_another_order_each_time():
    seen = np.concatenate([np.round(images.mean((1, 2, 3)) / 20) for images, _ in uninterrupted()]).astype(int)
    epochs = [seen[i : i + 10].tolist() for i in range(0, 40, 10)]  # batches flow across the ends of epochs
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_labels_belong_to_their_images():
    for images, labels in uninterrupted():
        index = np.round(images.mean((1, 2, 3)) / 20).astype(int)
        np.testing.assert_array_equal(labels.argmax(-1), index % 3)


@pytest.mark.parametrize("start", [1, 3, 6])
def test_a_run_that_goes_on_sees_the_batches_that_it_would_have_seen(start):
    augmentation = Augmentation(min_area=0.3)
    for (a, b), (c, d) in zip(uninterrupted(augmentation)[start:], training(10, augmentation, start=start), strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)


def test_seeds_decide():
    augmentation = Augmentation(min_area=0.3)
    first, again, other = uninterrupted(augmentation), training(2, augmentation), training(2, augmentation, seed=8)
    np.testing.assert_array_equal(first[1][0], again[1][0])
    assert np.abs(first[1][0] - other[1][0]).max() > 1


@pytest.mark.parametrize("global_seed", [0, 5])
def test_the_global_seed_does_not_matter(global_seed):
    expected = uninterrupted()
    tf.random.set_seed(global_seed)
    np.testing.assert_array_equal(training(2)[1][0], expected[1][0])


def test_evaluation_is_in_file_order_and_complete():
    contract = Preprocessing(resize=36, crop=32)
    batches = list(pipeline.evaluation_batches(grey_split(), contract, (32, 32), 4, 3))
    assert [len(images) for images, _ in batches] == [4, 4, 2]
    expected = contract.normalize(np.arange(10)[:, None, None, None] * np.full((1, 32, 32, 3), 20))
    np.testing.assert_allclose(np.concatenate([images for images, _ in batches]), expected, atol=1e-5)
    assert np.concatenate([labels for _, labels in batches]).argmax(-1).tolist() == [i % 3 for i in range(10)]


@pytest.mark.parametrize(("most", "reads"), [(10 * 32 * 32 * 3, 10), (10 * 32 * 32 * 3 - 1, 30)])
def test_evaluation_images_are_kept_if_they_are_few(monkeypatch, most, reads):
    """Each time through them, batches are equal; images that are kept are read once."""
    monkeypatch.setattr(pipeline, "_MOST_KEPT", most)
    split, seen = grey_split(), []

    def counted(example):
        with tf.control_dependencies(
            [tf.numpy_function(lambda label: seen.append(label) or label, [example["label"]], tf.int64)]
        ):
            return {**example, "image": tf.identity(example["image"])}

    split = dataclasses.replace(split, examples=lambda *order: grey_split().examples(*order).map(counted))
    batches = pipeline.evaluation_batches(split, Preprocessing(resize=36, crop=32), (32, 32), 4, 3, keep=True)
    first, *others = [[images.numpy() for images, _ in batches] for _ in range(3)]
    assert len(seen) == reads and all(np.array_equal(a, b) for other in others for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("spec", ["shape", "folder", "tfds:", "imagenet", "folder:"])
def test_an_unknown_dataset_is_refused_with_what_there_is(spec):
    with pytest.raises(UserError, match=r"There is no dataset .*(did you mean|it can be)"):
        open_source(spec)


def test_an_unknown_tfds_name_is_refused_with_near_ones():
    with pytest.raises(UserError, match=r"'cifar11': did you mean cifar10"):
        open_source("tfds:cifar11")


def test_a_dataset_that_cannot_be_fetched(tmp_path, capsys):
    with pytest.raises(UserError, match=r"imagenet2012 must be fetched by hand|could not be fetched"):
        open_source("tfds:imagenet2012", data_dir=str(tmp_path))
    assert "downloading" in capsys.readouterr().out
