"""The preprocessing contract, eagerly and inside tf.data, which do differ at times."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as some
from PIL import Image

from shufflenet_tf.errors import UserError
from shufflenet_tf.preprocessing import PREPROCESSINGS, Preprocessing


def both_modes(function, *arguments):
    """Returns the result of `function` eagerly and inside tf.data, after checking that they are the same."""
    eager = function(*arguments).numpy()
    (mapped,) = tf.data.Dataset.from_tensors(arguments).map(function)
    np.testing.assert_array_equal(eager, mapped)
    return eager


@pytest.mark.parametrize("name", ["tensorpack", "torchvision", "megvii"])
def test_each_source_sees_what_its_own_code_gave_it(shared, name):
    files = np.load(shared / "golden" / "inputs" / f"{name}.npz")
    expected = next(files[key] for key in files if "float32" in key).transpose(0, 2, 3, 1)
    got = both_modes(PREPROCESSINGS[name].normalize, tf.constant(files["image_uint8_rgb_nhwc"]))
    np.testing.assert_allclose(got, expected, atol=2e-6)


def test_resizing_is_close_to_pillows(shared):
    """Pillow's antialiased bilinear is what torchvision's weights were trained with."""
    photo = Image.open(sorted((shared / "golden" / "images").glob("*.jp*g"))[0]).convert("RGB")
    width, height = photo.size
    factor = 256 / min(photo.size)
    resized = photo.resize((round(width * factor), round(height * factor)), Image.Resampling.BILINEAR)
    left, top = (resized.width - 224) // 2, (resized.height - 224) // 2
    expected = np.asarray(resized.crop((left, top, left + 224, top + 224))).astype(int)
    got = Preprocessing().resize_and_crop(tf.constant(np.asarray(photo)), (224, 224)).numpy().astype(int)
    assert np.abs(got - expected).mean() < 0.5 and np.abs(got - expected).max() <= 3


@settings(max_examples=25, deadline=None)
@given(
    height=some.integers(1, 200),
    width=some.integers(1, 200),
    size=some.tuples(some.integers(32, 96), some.integers(32, 96)),
    margin=some.integers(0, 20),
)
def test_any_photo_fills_any_input(height, width, size, margin):
    image = tf.fill((height, width, 3), tf.constant(77, tf.uint8))
    contract = Preprocessing(resize=100 + margin, crop=100)
    got = contract.resize_and_crop(image, size)
    assert got.shape == (*size, 3) and got.dtype == tf.uint8 and np.all(got == 77)


def test_the_crop_is_central():
    image = np.zeros((64, 128, 3), np.uint8)
    image[16:48, 48:80] = 255  # the central 32x32
    got = both_modes(lambda x: Preprocessing(resize=64, crop=32).resize_and_crop(x, (32, 32)), tf.constant(image))
    assert (got == 255).all()


def test_configurations_come_back():
    for contract in PREPROCESSINGS.values():
        assert Preprocessing.of(contract.to_config()) == contract
    assert Preprocessing.of(None) == Preprocessing()


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ({"channel_order": "gbr"}, "'rgb' or 'bgr'"),
        ({"std": (1, 0, 1)}, "positive standard deviations"),
        ({"resize": 200}, "crop <= resize"),
        ({"interpolation": "nearest"}, "bilinear, bicubic"),
    ],
)
def test_refusals(bad, sentence):
    with pytest.raises(UserError, match=sentence):
        Preprocessing(**bad)
