"""Heat maps are the class activation maps where theory has one, lie on the object, and are refused where there is none."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tiny_classifier import convert, network
from zoo_networks import REPRESENTATIVES, least_size, light

import shufflenet_tf as st
from shufflenet_tf.attention import MIN_CELLS, heat_maps
from shufflenet_tf.errors import UserError
from shufflenet_tf.evaluation.heat import MAX_SHOWN, Look, attention
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.tflite_classifier import LiteClassifier

SIDE, CELL = 64, 8
PLAIN = st.Preprocessing(scale=1.0, mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0), resize=SIDE, crop=SIDE)


def colours() -> ImageClassifier:
    """A network that sees three colours, each of them a class: its map is the image in cells of 8 px."""

    def trunk(images, wiring):
        return {CELL: tf.keras.layers.AveragePooling2D(CELL, name="cells")(images)}

    model = ImageClassifier(
        trunk, network="colours", config={}, classes=3, input_shape=(SIDE, SIDE, 3), preprocessing=PLAIN, labels=["r", "g", "b"]
    )
    model.get_layer("linear").set_weights([3 * np.eye(3, dtype=np.float32) - 1, np.zeros(3, np.float32)])
    return model


def scene() -> np.ndarray:
    """A dark image with a red square at the top left and a blue one at the bottom right, of 2 x 2 cells each."""
    image = np.full((SIDE, SIDE, 3), 20, np.uint8)
    image[: 2 * CELL, : 2 * CELL] = (220, 20, 20)
    image[-2 * CELL :, -2 * CELL :] = (20, 20, 220)
    return image


@pytest.mark.both_generations
def test_the_heat_lies_on_the_object_that_is_asked_about():
    red, blue = heat_maps(colours(), np.stack([scene()] * 2), np.array([0, 2]))
    assert red.shape == (8, 8) and red.dtype == np.float32
    assert (red[:2, :2] == 1).all() and red.sum() < 4 + 1e-4  # grey is no colour
    np.testing.assert_allclose(blue, red[::-1, ::-1], atol=1e-6)


@pytest.mark.both_generations
@pytest.mark.parametrize("name", ["shufflenet_v1_0.25x_g3", "shufflenet_v2_0.5x"])
def test_behind_a_pool_and_a_dense_layer_it_is_the_class_activation_map(name, monkeypatch):
    light(monkeypatch)
    model = st.create_model(name, classes=4, input_shape=(128, 160, 3))
    rng = np.random.default_rng(0)
    kernel = rng.normal(0.2, size=(model.last_map.shape[-1], 4)).astype(np.float32)
    model.get_layer("linear").set_weights([kernel, *model.get_layer("linear").get_weights()[1:]])
    model.trainable = False  # frozen layers have gradients too
    images, classes = rng.integers(0, 256, (3, 128, 160, 3), np.uint8), np.array([3, 0, 1])
    maps = tf.keras.Model(model.input, model.last_map)(model.preprocessing.normalize(images), training=False).numpy()
    expected = np.maximum(np.einsum("nhwc,cn->nhw", maps, kernel[:, classes]), 0)
    expected /= expected.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(heat_maps(model, images, classes), expected, atol=1e-4)


@pytest.mark.parametrize(
    "name",
    [*(name if name == "squeezenet_1.1" else pytest.param(name, marks=pytest.mark.long) for name in sorted(REPRESENTATIVES))],
)
def test_networks_of_other_heads(name, monkeypatch):
    """A last map of less than 4 cells gives way to one before it, as long as there is a finer one."""
    light(monkeypatch)
    side = max(least_size(name), 64)
    model = st.create_model(name, classes=5, input_shape=(side, side, 3))
    images = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), np.uint8)
    heat = heat_maps(model, images, np.array([0, 4]))
    assert heat.shape[0] == 2 and min(heat.shape[1:]) >= MIN_CELLS and np.isfinite(heat).all() and heat.max() <= 1


def test_a_network_for_images_of_any_size():
    model = st.create_model("shufflenet_v2_0.5x", classes=3, input_shape=(None, None, 3))
    shapes = [heat_maps(model, np.zeros((1, side, side, 3), np.uint8), np.array([0])).shape for side in (64, 128)]
    assert shapes == [(1, 4, 4), (1, 4, 4)]  # of strides 16 and 32


def test_what_has_no_heat(tmp_path):
    (tmp_path / "model.tflite").write_bytes(convert(network()))
    with pytest.raises(UserError, match="no gradients"):
        heat_maps(LiteClassifier(tmp_path / "model.tflite"), scene()[None], np.array([0]))
    headless = st.create_model("shufflenet_v2_0.5x", include_top=False, input_shape=(SIDE, SIDE, 3))
    with pytest.raises(UserError, match="no classifier"):
        heat_maps(headless, scene()[None], np.array([0]))
    dark = heat_maps(colours(), np.zeros((1, SIDE, SIDE, 3), np.uint8), np.array([1]))
    assert (dark == 0).all()  # nothing speaks for it


@pytest.mark.parametrize("count", [1, MAX_SHOWN + 1])
def test_the_picture(count, tmp_path):
    heat = heat_maps(colours(), scene()[None], np.array([0]))[0]
    looks = [Look(scene(), heat, "r" * 60, 0.5, "b" if i % 2 else None, "a $name.jpg" * 9) for i in range(count)]
    attention(looks, tmp_path / "attention.png")
    with Image.open(tmp_path / "attention.png") as image:
        assert 300 < image.width < 2000 and len(np.unique(np.asarray(image.convert("L")))) > 10
    with pytest.raises(UserError, match="no photo"):
        attention([], tmp_path / "none.png")
