"""Converted graphs compute what Keras computes, on raw pixels, and consist of what phones' delegates take."""

import numpy as np
import pytest
import tensorflow as tf
from photos import write_photos

import shufflenet_tf as st
from export.convert.calibration_images import read_calibration_images
from export.convert.from_keras import convert, trace
from export.convert.precision import Precision
from export.convert.stem import Stem, edge
from export.flatbuffer.graph import Graph, schema
from shufflenet_tf.errors import UserError
from shufflenet_tf.models import v1, v2
from shufflenet_tf.models.zoo import alexnet
from shufflenet_tf.tflite_classifier import LiteClassifier
from shufflenet_tf.weights import canonical

pytestmark = pytest.mark.kernels


@pytest.fixture(scope="module", autouse=True)
def few_units():
    with pytest.MonkeyPatch.context() as patch:
        for family in (v1, v2):
            patch.setattr(family, "REPEATS", (2, 1, 1))
        yield


def network(name, size=(48, 64), **kwargs):
    """A network whose statistics and biases are away from where they start, so that nothing is right by chance."""
    kwargs = {"labels": ["a", "b", "c", "d", "e"], **kwargs}
    model = st.create_model(name, input_shape=(*size, 3), classes=5, **kwargs)
    random = np.random.default_rng(0)
    for key, variable in canonical.named_variables(model).items():
        leaf = key.rsplit("/", 1)[-1]
        if leaf in ("gamma", "EMA") and not key.endswith("mean/EMA"):
            variable.assign(random.uniform(0.7, 1.3, variable.shape))
        elif leaf in ("beta", "b") or key.endswith("mean/EMA"):
            variable.assign(random.normal(0, 0.2, variable.shape))
    return st.Bundle(model, tuple(model.labels), model.preprocessing)


@pytest.fixture(scope="module")
def pixels():
    """Images with strong borders, where wrong padding shows."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (6, 49, 65, 3), np.uint8)
    images[1], images[2] = 0, 255
    images[3, :, -2:], images[4, :2] = 255, 0
    return images


def classified(content, images, tmp_path):
    (tmp_path / "model.tflite").write_bytes(content)
    return LiteClassifier(tmp_path / "model.tflite")(images)


@pytest.mark.parametrize(
    "name, size, given",
    [
        ("shufflenet_v2_0.5x", (48, 64), {"wiring": "tensorpack", "preprocessing": "tensorpack"}),
        ("shufflenet_v2_0.5x", (49, 65), {"wiring": "torchvision", "preprocessing": "torchvision"}),
        ("shufflenet_v2_0.5x", (49, 64), {"wiring": "tensorpack", "preprocessing": "torchvision"}),
        ("shufflenet_v1_0.25x_g3", (48, 65), {"wiring": "megvii", "preprocessing": "megvii"}),
        ("shufflenet_v1_0.25x_g8", (48, 64), {"wiring": "torchvision", "preprocessing": "tensorpack"}),
    ],
)
def test_float_graph_equals_keras(name, size, given, pixels, tmp_path):
    bundle = network(name, size, **given)
    before = [np.asarray(v) for v in bundle.model.weights]
    content = convert(bundle.model)
    assert all(np.array_equal(a, b) for a, b in zip(before, bundle.model.get_weights(), strict=True)), "the model is as it was"
    images = pixels[:, : size[0], : size[1]]
    np.testing.assert_allclose(classified(content, images, tmp_path), bundle.classify(images), atol=1e-5)
    graph = Graph(content)
    assert graph.type(graph.inputs[0]) == schema.TensorType.UINT8
    unwanted = {"SHAPE", "STRIDED_SLICE", "PACK", "CUSTOM", "CAST", "UNKNOWN", "MUL", "SUB"}
    assert not unwanted & graph.counts().keys(), "all static, and the preprocessing is folded"
    assert all(len(tensor.shape) <= 4 for tensor in graph.subgraph.tensors if tensor.shape is not None)
    assert all(graph.shape(output) is not None for operator in graph.operators for output in operator.outputs)


@pytest.mark.parametrize("side", range(32, 42))
@pytest.mark.parametrize("symmetric", [False, True])
def test_edge_is_that_of_the_convolution(side, symmetric):
    x = np.random.default_rng(0).normal(size=(1, side, side, 1)).astype(np.float32)
    kernel = np.random.default_rng(1).normal(size=(3, 3, 1, 1)).astype(np.float32)
    before, behind = edge(side, 3, 2, (1, 1) if symmetric else None)
    framed = tf.nn.conv2d(tf.pad(x, [[0, 0], [before, behind], [before, behind], [0, 0]]), kernel, 2, "VALID")
    padded = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]) if symmetric else x
    expected = tf.nn.conv2d(padded, kernel, 2, "VALID" if symmetric else "SAME")
    np.testing.assert_allclose(framed, expected, atol=1e-6)


@pytest.mark.parametrize(
    "name, size, contract",
    [
        ("alexnet", (63, 70), "torchvision"),  # padded by a layer, with a bias, 11x11 of stride 4
        ("alexnet", (70, 63), "megvii"),  # which has no mean, so that zeros beyond the border stay zeros
        ("mobilenet_v1_0.25x", (33, 40), "torchvision"),  # padded by itself, without a bias
        ("vgg_like_0.5x", (34, 35), "torchvision"),  # one of our own
        ("vgg_16", (32, 35), "torchvision"),  # of stride 1
        ("squeezenet_1.1", (33, 36), "torchvision"),  # without padding
        ("squeezenet_1.1", (36, 33), "megvii"),
    ],
)
def test_any_first_convolution_takes_the_preprocessing_in(name, size, contract, pixels, monkeypatch):
    monkeypatch.setattr(alexnet, "HIDDEN", 8)
    model = network(name, size, preprocessing=contract).model
    first = Stem.of(model)
    stem = tf.keras.Model(model.input, model.layers[1 + len(first.pads)].output)
    images = np.tile(pixels, (1, 2, 2, 1))[:, : size[0], : size[1]]
    expected = stem(model.preprocessing.normalize(images)).numpy()
    with first.taking_pixels():
        folded = stem(images.astype(np.float32)).numpy()
    np.testing.assert_allclose(folded, expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_array_equal(stem(model.preprocessing.normalize(images)), expected, "the model is as it was")


def test_a_network_must_begin_with_a_convolution():
    class Other(st.ImageClassifier):
        def __init__(self):
            pool = tf.keras.layers.MaxPooling2D(32)
            super().__init__(lambda images, wiring: {32: pool(images)}, network="other", config={}, input_shape=(32, 32, 3))

    with pytest.raises(UserError, match="does not begin with a convolution"):
        convert(Other())


@pytest.fixture(scope="module")
def once():
    """A network, traced and in float32, for all kinds that are made of it."""
    bundle = network("shufflenet_v2_0.5x", preprocessing="torchvision")
    traced = trace(bundle.model)
    return bundle, traced, convert(traced)


@pytest.mark.parametrize("kind, bound, smaller", [("float16", 0.01, 0.6), ("dynamic", 0.1, 0.45), ("int8", 0.15, 0.45)])
def test_smaller_kinds(kind, bound, smaller, once, pixels, tmp_path):
    bundle, traced, floats = once
    images = pixels[:, :48, :64]
    content = convert(traced, Precision(kind, calibration=list(images)))
    expected = bundle.classify(images)
    np.testing.assert_allclose(classified(content, images, tmp_path), expected, atol=bound)
    assert len(content) < smaller * len(floats)
    assert "CUSTOM" not in Graph(content).counts()


@pytest.mark.parametrize("output", ["uint8", "float32"])
def test_int8_takes_and_returns_what_it_says(output, once, pixels):
    graph = Graph(convert(once[1], Precision("int8", output, [pixels[0, :48, :64] // 2])))
    image, probabilities = graph.inputs[0], graph.outputs[0]
    assert graph.quantization(image).scale == (1.0,) and graph.quantization(image).zero_point == (0,), "a pixel is a pixel"
    assert graph.type(probabilities) == getattr(schema.TensorType, output.upper())
    if output == "uint8":
        assert graph.quantization(probabilities).scale == (1 / 256,)


def test_real_weights_in_int8(shared, tmp_path, monkeypatch):
    monkeypatch.setattr(v1, "REPEATS", (4, 8, 4))
    bundle = st.load(shared / "golden/megvii/shufflenetv1_0.5x_Group3.pth.tar")
    with np.load(shared / "golden/inputs/megvii.npz") as file:
        images = file["image_uint8_rgb_nhwc"]
    content = convert(bundle.model, Precision("int8", calibration=list(images)))
    assert (classified(content, images, tmp_path).argmax(-1) == bundle.classify(images).argmax(-1)).all()


def test_what_cannot_be_converted():
    model = st.create_model("shufflenet_v2_0.5x", input_shape=(None, None, 3))
    with pytest.raises(UserError, match="takes images of any size"):
        convert(model)
    with pytest.raises(UserError, match="does not end with probabilities"):
        convert(st.create_model("shufflenet_v2_0.5x", input_shape=(32, 32, 3), include_top=False))
    with pytest.raises(UserError, match="has no preprocessing of ours"):
        convert(tf.keras.Sequential([tf.keras.Input((32, 32, 3)), tf.keras.layers.Flatten()]))
    with pytest.raises(UserError, match="--calibration"):
        Precision("int8")
    with pytest.raises(UserError, match="no quantization 'int4'"):
        Precision("int4")


@pytest.mark.parametrize("spec", ["{}", "folder:{}"])
def test_calibration_images(spec, tmp_path):
    bundle = network("shufflenet_v2_0.5x", (32, 32))
    folder = write_photos(tmp_path / "photos")
    spec = spec.format(folder)
    images = read_calibration_images(spec, bundle, 20)
    assert len(images) == 20 and {(i.shape, i.dtype) for i in images} == {((32, 32, 3), np.dtype(np.uint8))}
    assert len({i.tobytes() for i in images}) == 20
    assert all(np.array_equal(a, b) for a, b in zip(images, read_calibration_images(spec, bundle, 20), strict=True))
    with pytest.raises(UserError, match=r"has \d+ images and 999 are asked for: give --calibration_images="):
        read_calibration_images(spec, bundle, 999)


def test_calibration_folder_that_is_empty_or_of_damaged_photos(tmp_path):
    bundle = network("shufflenet_v2_0.5x", (32, 32))
    with pytest.raises(UserError, match="no photo in"):
        read_calibration_images(str(tmp_path), bundle, 1)
    (tmp_path / "a.jpg").write_bytes(b"no photo")
    with pytest.raises(UserError, match="no photo in"):
        read_calibration_images(str(tmp_path), bundle, 1)
    with pytest.raises(UserError, match="There is no dataset"):
        read_calibration_images(str(tmp_path / "nowhere"), bundle, 1)
