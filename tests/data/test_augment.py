"""Augmentation: the one-pass colour map is the papers' chain, crops keep to their limits, keras-cv's layers do their part."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as some

from shufflenet_tf.data import augment
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.errors import UserError
from shufflenet_tf.preprocessing import PREPROCESSINGS, Preprocessing

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 10, 3), np.uint8)
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
    augmentation = Augmentation(flip=False)
    # The same draws as inside, by the same seeds.
    _, colours = tf.unstack(tf.random.split(SEED, 2))
    order_seed, factor_seed, light_seed = tf.unstack(tf.random.split(colours, 3))
    orders = tf.argsort(tf.random.stateless_uniform((6, 4), order_seed)).numpy()
    factors = tf.random.stateless_uniform((3, 6, 1), factor_seed, 0.6, 1.4).numpy()[..., 0]
    noise = tf.random.stateless_normal((6, 3), light_seed, stddev=0.1).numpy() * augment._PCA_STD
    lights = noise @ np.array(augment._PCA_DIRECTIONS).T
    for preprocessing in PREPROCESSINGS.values():
        got = augment.jitter_and_normalize(PIXELS, SEED, augmentation, preprocessing).numpy()
        for i in range(6):
            image = chain(PIXELS[i].astype(np.float64), orders[i], *factors[:, i], lights[i])
            np.testing.assert_allclose(got[i], preprocessing.normalize(image), rtol=1e-3, atol=2e-3)
    assert len({tuple(order) for order in orders}) > 1


def test_no_augmentation_is_normalisation():
    augmentation = Augmentation(flip=False, jitter=0, lighting=0)
    for preprocessing in PREPROCESSINGS.values():
        got = augment.jitter_and_normalize(PIXELS, SEED, augmentation, preprocessing)
        np.testing.assert_allclose(got, preprocessing.normalize(PIXELS), rtol=1e-5, atol=1e-5)


def test_flip_mirrors_about_half_of_the_images():
    augmentation = Augmentation(jitter=0, lighting=0)
    images = np.tile(PIXELS[:1], (400, 1, 1, 1))
    got = augment.jitter_and_normalize(images, SEED, augmentation, Preprocessing()).numpy()
    plain, mirrored = (Preprocessing().normalize(image).numpy() for image in (PIXELS[0], PIXELS[0][:, ::-1]))
    is_plain = np.isclose(got, plain, atol=1e-5).all((1, 2, 3))
    is_mirrored = np.isclose(got, mirrored, atol=1e-5).all((1, 2, 3))
    assert (is_plain ^ is_mirrored).all() and 150 < is_mirrored.sum() < 250


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


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixing_mixes_labels_as_it_mixes_images(kind):
    images = np.stack([np.full((16, 16, 3), float(i), np.float32) for i in range(4)])
    labels = np.eye(4, dtype=np.float32)
    mix = augment.mixing(Augmentation(**{kind: 1.0}))
    ((mixed, targets),) = tf.data.Dataset.from_tensors((images, labels)).map(mix)
    np.testing.assert_allclose(np.sum(targets, -1), 1, atol=1e-5)
    # The mean of an image of constant i is the mean label, because image i has the value i.
    np.testing.assert_allclose(np.mean(mixed, (1, 2, 3)), targets.numpy() @ np.arange(4), atol=0.02)
    assert augment.mixing(Augmentation()) is None


@pytest.mark.parametrize("bad", [{"min_area": 0}, {"jitter": 1.5}, {"rand_augment": 11}, {"mixup": -1}])
def test_out_of_range(bad):
    with pytest.raises(UserError, match="out of range"):
        Augmentation(**bad)
