"""Augmentation: the one-pass colour map is the papers' chain, crops keep to their limits, keras-cv's layers do their part."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as some

from shufflenet_tf.data import augment, mixing
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.data.trivial_augment import trivial_augment
from shufflenet_tf.errors import UserError
from shufflenet_tf.preprocessing import PREPROCESSINGS

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 10, 3)).astype(np.float32)
PLAIN = tf.zeros(6, tf.bool)
KEPT, MIRRORED = (
    next(seed for seed in range(50) if (tf.random.stateless_uniform((), [seed, 0]) < 0.5) == wanted) for wanted in (False, True)
)
SEED = tf.constant([1, 2], tf.int64)


def chain(image, order, brightness, contrast, saturation, light):
    """The four steps one after the other, as tensorpack's augmentors do them, without clipping."""
    luma = np.array([0.299, 0.587, 0.114])
    for step in order:
        if step == 0:
            image = image * brightness
        elif step == 1:
            image = image * contrast + (image @ luma).mean() * (1 - contrast)
        elif step == 2:
            image = image * saturation + (image @ luma)[..., None] * (1 - saturation)
        else:
            image = image + light
    return image


def test_colour_jitter_is_the_chain_of_its_steps():
    augmentation = Augmentation()
    # The same draws as inside, by the same seeds.
    order_seed, factor_seed, light_seed = tf.unstack(tf.random.split(SEED, 3))
    orders = tf.argsort(tf.random.stateless_uniform((6, 4), order_seed)).numpy()
    factors = tf.random.stateless_uniform((3, 6, 1), factor_seed, 0.6, 1.4).numpy()[..., 0]
    noise = tf.random.stateless_normal((6, 3), light_seed, stddev=0.1).numpy() * augment._PCA_STD
    lights = noise @ np.array(augment._PCA_DIRECTIONS).T
    for preprocessing in PREPROCESSINGS.values():
        got = augment.jitter_and_normalize(tf.constant(PIXELS), PLAIN, SEED, augmentation, preprocessing).numpy()
        for i in range(6):
            image = chain(PIXELS[i].astype(np.float64), orders[i], *factors[:, i], lights[i])
            np.testing.assert_allclose(got[i], preprocessing.normalize(image), rtol=1e-3, atol=2e-3)
    assert len({tuple(order) for order in orders}) > 1


def test_no_augmentation_is_normalisation():
    augmentation = Augmentation(jitter=0, lighting=0)
    for preprocessing in PREPROCESSINGS.values():
        got = augment.jitter_and_normalize(tf.constant(PIXELS), PLAIN, SEED, augmentation, preprocessing)
        np.testing.assert_allclose(got, preprocessing.normalize(PIXELS), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(jitter=0, lighting=0)])
@pytest.mark.parametrize("name", ["torchvision", "megvii"])
def test_mirrored_images_have_their_own_colours(name, augmentation):
    """Mirroring before all colour steps is mirroring after them."""
    image, preprocessing = tf.constant(PIXELS[0]), PREPROCESSINGS[name]
    mirrored, plain = (image for image, _ in (augment.mirror(image, [seed, 0]) for seed in (MIRRORED, KEPT)))
    results = []
    for pixels, flag in ((mirrored, True), (plain, False)):
        got = augment.jitter_and_normalize(pixels[None], tf.constant([flag]), SEED, augmentation, preprocessing)
        results.append(got.numpy()[0])
    np.testing.assert_allclose(results[0], results[1][:, ::-1], rtol=1e-4, atol=1e-3)


def test_about_half_of_the_images_are_mirrored():
    flags = [bool(augment.mirror(tf.zeros((2, 2, 3)), [seed, 1])[1]) for seed in range(200)]
    assert 70 < sum(flags) < 130


@settings(max_examples=60, deadline=None)
@given(
    height=some.integers(32, 400),
    width=some.integers(32, 400),
    min_area=some.sampled_from([0.08, 0.3, 0.49]),
    seed=some.integers(0, 2**40),
)
def test_a_random_crop_keeps_to_its_limits(height, width, min_area, seed):
    window = augment.random_window(tf.constant([seed, 1], tf.int64), Augmentation(min_area=min_area))
    top, left, h, w = (int(value) for value in window(tf.constant(height), tf.constant(width)))
    assert top >= 0 and left >= 0 and h > 0 and w > 0 and top + h <= height and left + w <= width
    whole = (h, w) == (height, width)  # what is left when ten draws do not fit
    rounding = 1 + 2 / min(h, w)
    assert whole or h * w * rounding**2 >= min_area * height * width
    assert whole or 3 / 4 / rounding <= w / h <= 4 / 3 * rounding


def test_rand_augment_changes_images_and_keeps_their_range():
    randomize = augment.rand_augment(Augmentation(rand_augment=9))
    (got,) = tf.data.Dataset.from_tensors(np.tile(PIXELS, (1, 4, 4, 1))).map(randomize)
    assert got.shape == (6, 32, 40, 3) and got.numpy().min() >= 0 and got.numpy().max() <= 255
    assert np.abs(got.numpy() - np.tile(PIXELS, (1, 4, 4, 1))).mean() > 1
    assert augment.rand_augment(Augmentation()) is None


def mixed(mixup=0.0, cutmix=0.0, seed=3):
    """Four images of the constants 0 to 3, mixed."""
    images = np.stack([np.full((16, 16, 3), float(i), np.float32) for i in range(4)])
    images, labels = mixing.mix(tf.constant(images), tf.eye(4), tf.constant([seed, 0], tf.int64), mixup, cutmix)
    np.testing.assert_allclose(np.sum(labels, -1), 1, atol=1e-5)
    return images.numpy(), labels.numpy()


def test_mixup_mixes_labels_as_it_mixes_images():
    images, labels = mixed(mixup=1.0)
    # The mean of a mixture is its mean label, because image i has the value i.
    np.testing.assert_allclose(images.mean((1, 2, 3)), labels @ np.arange(4), atol=1e-4)
    assert labels.max(-1).min() < 0.9 and np.array_equal(images, mixed(mixup=1.0)[0])


def test_cutmix_pastes_pixels_of_the_images_that_the_labels_name():
    images, labels = mixed(cutmix=1.0)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        assert set(np.unique(image)) <= {i, (i + 2) % 4}
        assert np.mean(image == i) == pytest.approx(label[i], abs=1e-5), "the label is counted"


def test_of_two_mixtures_a_batch_gets_one():
    """Only MixUp makes values that no image has."""
    kinds = [np.array_equal(images, np.round(images)) for images, _ in (mixed(1.0, 1.0, seed) for seed in range(12))]
    assert 2 <= sum(kinds) <= 10


def test_a_rectangle_of_some_images_is_erased():
    images = tf.ones((200, 16, 24, 3))
    erased = mixing.erase(images, tf.constant([1, 2], tf.int64), 0.5).numpy() == 0
    shares = erased.all(-1).mean((1, 2))
    assert np.array_equal(erased.any(-1), erased.all(-1)) and 70 < np.sum(shares > 0) < 130 and shares.max() < 0.4
    one = erased[int(shares.argmax()), ..., 0]
    assert np.array_equal(one, one.any(1)[:, None] & one.any(0)[None]), "it is a rectangle"
    np.testing.assert_array_equal(mixing.erase(images, tf.constant([1, 2], tf.int64), 0.0), images)


def test_trivial_augment_applies_each_of_its_operations_and_keeps_the_range():
    image = tf.constant(np.random.default_rng(0).uniform(0, 255, (24, 32, 3)), tf.float32)
    augmented = tf.function(trivial_augment)
    results = [augmented(image, tf.constant([i, 1], tf.int64)).numpy() for i in range(80)]
    assert all(result.shape == (24, 32, 3) and result.min() >= -1e-3 and result.max() <= 255.01 for result in results)
    unchanged = [np.array_equal(result, image) for result in results]
    assert 0 < sum(unchanged) < 30, "one operation of fourteen is none"
    edges = [edge for result in results for edge in (result[0], result[-1], result[:, 0], result[:, -1])]
    assert any((edge == 0).all() for edge in edges), "some are moved, and black comes in"
    np.testing.assert_array_equal(trivial_augment(image, tf.constant([5, 1], tf.int64)), results[5])


@pytest.mark.parametrize("bad", [{"min_area": 0}, {"jitter": 1.5}, {"rand_augment": 11}, {"mixup": -1}, {"erase": 2}])
def test_out_of_range(bad):
    with pytest.raises(UserError, match="out of range"):
        Augmentation(**bad)
