"""LiteClassifier: pixels go in as a model takes them, and one sentence for each file that can't be used."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as hs
from lite_models import COLOURS, CONTRACT, FLOAT32, SIDE, UINT8, colour_model, converted, write

import shufflenet_tf as st
from export.flatbuffer.graph import Graph
from shufflenet_tf import tflite_trial
from shufflenet_tf.errors import UserError
from shufflenet_tf.tflite_classifier import LABELS, PREPROCESSING, LiteClassifier, label_lines

MODELS = pathlib.Path(__file__).resolve().parents[1] / "android_demo/core/src/test/resources/models"


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Six of noise, of a red, green or blue cast; the lower halves are white."""
    noise = np.random.default_rng(0).integers(0, 128, (6, SIDE, SIDE, 3))
    noise += np.tile(np.eye(3, dtype=int), (2, 1))[:, None, None] * 100
    noise[:, SIDE // 2 :] = 255
    return noise.astype(np.uint8)


@pytest.fixture(scope="module")
def expected(images) -> np.ndarray:
    means = images[:, : SIDE // 2].mean((1, 2)) * 8 / 255
    return np.exp(means) / np.exp(means).sum(-1, keepdims=True)


def complaint(path: pathlib.Path, images: np.ndarray | None = None) -> str:
    """Returns the one sentence about a file, which must name it."""
    with pytest.raises(UserError) as caught:
        classifier = LiteClassifier(path)
        if images is not None:
            classifier(images)
    sentence = str(caught.value)
    assert sentence.count(path.name) == 1 and "\n" not in sentence and sentence.endswith(".")
    return sentence


def test_float32_is_fed_what_the_packed_preprocessing_makes_of_pixels(tmp_path, images, expected):
    classifier = LiteClassifier(write(tmp_path / "a.tflite", colour_model(order="bgr"), FLOAT32))
    assert classifier.labels == COLOURS and classifier.preprocessing == st.Preprocessing.of("megvii")
    assert classifier.input_shape == (1, SIDE, SIDE, 3) and classifier.output_shape == (1, 3)
    result = classifier(images)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_uint8_is_fed_raw_pixels_and_dequantized(tmp_path, images, expected):
    classifier = LiteClassifier(write(tmp_path / "a.tflite", colour_model("uint8"), UINT8))
    assert classifier.labels == COLOURS and classifier.preprocessing == st.Preprocessing()
    np.testing.assert_allclose(classifier(images), expected, atol=0.03)


def test_int8_is_fed_pixels_less_128(tmp_path, images):
    signed = LiteClassifier(write(tmp_path / "int8.tflite", colour_model("int8")))
    unsigned = LiteClassifier(write(tmp_path / "uint8.tflite", colour_model("uint8")))
    assert signed.labels is None
    np.testing.assert_allclose(signed(images), unsigned(images), atol=1e-6)


def test_int8_of_another_scale_is_fed_normalised_pixels(tmp_path, images, expected):
    def classify(normalised):  # pixels / 510: not 0-255, so that the scale is not 1
        return tf.nn.softmax(tf.reduce_mean(normalised[:, : SIDE // 2] * 16, (1, 2)))

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [tf.function(classify, [tf.TensorSpec((1, SIDE, SIDE, 3))]).get_concrete_function()]
    )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None] / np.float32(510)] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    content = converter.convert()
    contract = st.Preprocessing(scale=1 / 510, mean=(0, 0, 0), std=(1, 1, 1)).to_config()
    classifier = LiteClassifier(write(tmp_path / "a.tflite", content, {PREPROCESSING: json.dumps(contract)}))
    np.testing.assert_allclose(classifier(images), expected, atol=0.05)
    assert "takes int8 and lacks our preprocessing" in complaint(write(tmp_path / "b.tflite", content))


def test_the_number_of_images_is_free_but_nothing_else(tmp_path, images):
    path = write(tmp_path / "a.tflite", colour_model("uint8"))
    classifier = LiteClassifier(path)
    whole = classifier(images)
    np.testing.assert_array_equal(whole[2:3], classifier(images[2:3]))
    assert classifier(images[:0]).shape == (0, 3)
    for wrong in (images[0], images.astype(np.float32), images[:, 1:], images[..., :1]):
        assert "give uint8 [N, 32, 32, 3]" in complaint(path, wrong)


def test_a_model_of_an_open_batch(tmp_path, images):
    content = converted(lambda a: tf.nn.softmax(tf.reduce_mean(a, (1, 2))), (None, SIDE, SIDE, 3))
    assert LiteClassifier(write(tmp_path / "a.tflite", content, CONTRACT))(images).shape == (6, 3)


def test_float32_without_preprocessing_is_refused(tmp_path):
    assert "takes float32 and lacks our preprocessing" in complaint(write(tmp_path / "a.tflite", colour_model(), UINT8))


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\x89PNG" * 99, b"PK\3\4" * 9])
def test_what_is_no_tflite_file(tmp_path, content):
    assert "is no TFLite model" in complaint(write(tmp_path / "a.tflite", content))


def test_what_cannot_be_opened(tmp_path):
    assert complaint(tmp_path / "gone.tflite").startswith("There is no file")
    (tmp_path / "folder.tflite").mkdir()
    assert "can't be read (Is a directory)" in complaint(tmp_path / "folder.tflite")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_a_truncated_model(tmp_path, share):
    content = colour_model()
    path = write(tmp_path / "a.tflite", content[: int(len(content) * share)])
    assert "can't be run by LiteRT" in complaint(path)


@settings(max_examples=40, deadline=None)
@given(hs.data())
def test_a_file_cut_off_within_its_texts(tmp_path_factory, data):
    model = colour_model()
    whole = write(tmp_path_factory.mktemp("whole") / "a.tflite", model, FLOAT32)
    content = whole.read_bytes()
    # From behind the first name in the archive on, as there is nothing to tell it from padding before.
    cut = data.draw(hs.integers(len(model) + 30 + len(LABELS), len(content) - 1))
    whole.write_bytes(content[:cut])
    assert "truncated" in complaint(whole) or "damaged" in complaint(whole)


def test_a_flipped_bit_in_the_labels(tmp_path):
    path = write(tmp_path / "a.tflite", colour_model("uint8"), UINT8)
    path.write_bytes(path.read_bytes().replace(b"red\ngreen", b"rad\ngreen"))
    assert "is damaged where its labels are packed" in complaint(path)


def test_labels_that_are_not_text(tmp_path):
    path = write(tmp_path / "a.tflite", colour_model("uint8"), {LABELS: b"red\ngr\xfcn\nblau"})
    assert "is damaged where its labels are packed" in complaint(path)


@pytest.mark.parametrize("labels", ["red\ngreen", "red\ngreen\nblue\nother"])
def test_labels_of_another_number(tmp_path, labels):
    found = complaint(write(tmp_path / "a.tflite", colour_model("uint8"), {LABELS: labels}))
    assert f"has {len(labels.split())} labels for 3 classes" in found


@pytest.mark.parametrize("text", ["{", "[]", "3", '"unknown"', '{"crop": 0}', '{"speed": 1}', '{"std": [1, 1]}', '{"std": 1}'])
def test_a_preprocessing_that_cannot_be_used(tmp_path, text):
    found = complaint(write(tmp_path / "a.tflite", colour_model(), {PREPROCESSING: text}))
    assert "has a preprocessing.json that can't be used" in found


def test_what_is_no_image_classifier(tmp_path):
    image, small = (1, SIDE, SIDE, 3), (1, 8, 8, 3)
    functions = {
        "two inputs": converted(lambda a, b: tf.nn.softmax(tf.reduce_mean(a + b, (1, 2))), small, small),
        "two outputs": converted(lambda a: (tf.reduce_mean(a, (1, 2)), tf.reduce_max(a, (1, 2))), small),
        "grey": converted(lambda a: tf.nn.softmax(tf.reduce_mean(a, (1, 2))), (1, 8, 8, 1)),
        "a batch": converted(lambda a: tf.nn.softmax(tf.reduce_mean(a, (1, 2))), (2, 8, 8, 3)),
        "an image comes out": converted(lambda a: a * 2, image),
        "any size": converted(lambda a: tf.nn.softmax(tf.reduce_mean(a, (1, 2))), (1, None, None, 3)),
    }
    for name, content in functions.items():
        assert "is no image classifier" in complaint(write(tmp_path / f"{name}.tflite", content, CONTRACT))


def test_logits_are_no_probabilities(tmp_path, images):
    path = write(tmp_path / "a.tflite", colour_model(softmax=False), FLOAT32)
    assert "where probabilities are expected" in complaint(path, images)


@pytest.mark.parametrize("text", ["a\nb c\nd", "\ufeffa\nb c\nd\n", "a\r\nb c \r\nd\r\n\r\n", "a\rb c\rd\r"])
def test_label_lines_of_any_editor(text):
    assert label_lines(text) == ("a", "b c", "d")


def test_an_empty_line_within_counts_as_a_label():
    assert label_lines("a\n\nb\n") == ("a", "", "b")


def test_a_file_that_would_end_the_process(tmp_path, images):
    """LiteRT aborts on a fully connected layer whose quantized output has no scale."""
    graph = Graph((MODELS / "scaled.tflite").read_bytes())
    (layer,) = [operator for operator in graph.operators if graph.kind(operator) == "FULLY_CONNECTED"]
    graph.subgraph.tensors[layer.outputs[0]].quantization.scale = None
    for _ in range(2):
        assert "can't be run by LiteRT (it crashes)" in complaint(write(tmp_path / "a.tflite", graph.pack()))


def test_a_model_is_tried_once_however_slow_it_is(tmp_path, monkeypatch):
    path, tried = write(tmp_path / "a.tflite", colour_model(), FLOAT32), []

    def run(command, timeout, **_):
        tried.append(command)
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(tflite_trial, "_tried", set())
    monkeypatch.setattr(subprocess, "run", run)
    for _ in range(2):
        assert LiteClassifier(path).labels == COLOURS
    assert len(tried) == 1


@pytest.mark.parametrize(("said", "reason"), [("std::bad_alloc", "memory runs out"), ("", "it crashes")])
def test_a_trial_that_ends_says_why(tmp_path, monkeypatch, said, reason):
    child = f"import os, sys; sys.stderr.write({said!r}); sys.stderr.flush(); os.abort()"
    monkeypatch.setattr(tflite_trial, "_tried", set())
    monkeypatch.setattr(tflite_trial, "COMMAND", (sys.executable, "-c", child))
    assert f"can't be run by LiteRT ({reason})" in complaint(write(tmp_path / "a.tflite", colour_model(), FLOAT32))
