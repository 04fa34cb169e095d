"""The 1000 classes in the order of the outputs, and the two helpers as keras.applications has them."""

import re

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as hs

import shufflenet_tf as st
from shufflenet_tf import imagenet
from shufflenet_tf.errors import UserError


def test_a_thousand_classes_each_of_a_name_of_its_own():
    synsets, labels = imagenet.synsets(), imagenet.labels()
    assert len(synsets) == len(labels) == imagenet.CLASSES == 1000
    assert all(re.fullmatch(r"n\d{8}", synset) for synset in synsets)
    assert list(synsets) == sorted(set(synsets))  # the order of the outputs is that of the ids
    assert len({label.casefold() for label in labels}) == 1000
    assert all(label and label == label.strip() for label in labels)


@pytest.mark.parametrize(
    ("index", "synset", "label"),
    [
        (0, "n01440764", "tench"),
        (281, "n02123045", "tabby"),
        (954, "n07753592", "banana"),
    ],
)
def test_known_classes(index, synset, label):
    assert (imagenet.synsets()[index], imagenet.labels()[index]) == (synset, label)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.uint8, np.int64, bool])
def test_decode_predictions_of_one_hot(kind):
    one_hot = np.eye(1000, dtype=kind)[[954, 0, 281]]
    for given_ in (one_hot, tf.constant(one_hot)):
        tops = imagenet.decode_predictions(given_, top=1)
        assert tops == [[("n07753592", "banana", 1.0)], [("n01440764", "tench", 1.0)], [("n02123045", "tabby", 1.0)]]
        assert type(tops[0][0][2]) is float


def test_decode_predictions_breaks_ties_by_index():
    predictions = np.zeros((1, 1000), np.float32)
    predictions[0, [281, 5, 954]] = 0.25
    (top,) = imagenet.decode_predictions(predictions)
    synsets = imagenet.synsets()
    assert [synset for synset, *_ in top] == [synsets[index] for index in (5, 281, 954, 0, 1)]
    assert [probability for *_, probability in top] == [0.25] * 3 + [0] * 2


@given(hs.integers(0, 2**32 - 1), hs.integers(1, 1000))
def test_decode_predictions_is_a_descending_selection(seed, top):
    predictions = np.random.default_rng(seed).dirichlet(np.full(1000, 0.1), 1)
    (found,) = imagenet.decode_predictions(predictions, top)
    probabilities = [probability for *_, probability in found]
    assert probabilities == sorted(predictions[0], reverse=True)[:top]
    assert len({synset for synset, *_ in found}) == top


@pytest.mark.parametrize("shape", [(1000,), (1, 999), (1, 1001), (1, 1, 1000), ()])
def test_decode_predictions_refuses_another_shape(shape):
    with pytest.raises(UserError, match=r"give probabilities \[N, 1000\]"):
        imagenet.decode_predictions(np.zeros(shape))


@pytest.mark.parametrize("top", [0, -1, 1001])
def test_decode_predictions_refuses_a_top_out_of_range(top):
    with pytest.raises(UserError, match="give 1 to 1000"):
        imagenet.decode_predictions(np.zeros((1, 1000)), top=top)


@pytest.mark.parametrize("name", ["torchvision", "tensorpack", "megvii"])
@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64])
def test_preprocess_input_is_the_contract_of_that_name(name, kind):
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3)).astype(kind)
    expected = st.Preprocessing.of(name).normalize(images).numpy()
    result = imagenet.preprocess_input(images, name)
    assert isinstance(result, np.ndarray) and result.dtype == np.float32
    np.testing.assert_array_equal(result, expected)
    tensor = imagenet.preprocess_input(tf.constant(images), name)
    assert tf.is_tensor(tensor) and tensor.dtype == tf.float32
    np.testing.assert_array_equal(tensor, expected)


def test_preprocess_input_is_torchvisions_by_default():
    grey = np.full((5, 3), 255)
    np.testing.assert_allclose(
        imagenet.preprocess_input(grey)[0], (1 - np.array(st.preprocessing.IMAGENET_MEAN)) / st.preprocessing.IMAGENET_STD, 1e-5
    )


def test_preprocess_input_within_a_tf_function():
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    traced = tf.function(imagenet.preprocess_input)(tf.constant(images))
    np.testing.assert_allclose(traced, imagenet.preprocess_input(images), atol=1e-6)


@pytest.mark.parametrize("shape", [(), (4,), (2, 4, 4, 1), (3, 4, 4)])
def test_preprocess_input_refuses_what_is_not_rgb(shape):
    with pytest.raises(UserError, match="give RGB images"):
        imagenet.preprocess_input(np.zeros(shape))


def test_preprocess_input_refuses_an_unknown_name():
    with pytest.raises(UserError, match="'caffe' is unknown"):
        imagenet.preprocess_input(np.zeros((4, 4, 3)), "caffe")
