"""What foreign .tflite files say of themselves: labels under any name, normalisation, the accelerator they are for."""

import dataclasses
import zipfile

import flatbuffers
import numpy as np
import pytest
from lite_models import COLOURS, SIDE, UINT8, colour_model, write

import shufflenet_tf as st
from export.flatbuffer import inspection
from export.flatbuffer import metadata as writer
from export.flatbuffer.graph import Graph
from shufflenet_tf import prediction
from shufflenet_tf.errors import UserError
from shufflenet_tf.tflite_classifier import LiteClassifier
from shufflenet_tf.tflite_metadata import MAX_UNPACKED, compiled_for, litert_reason, read_metadata

LINES = "\n".join(COLOURS) + "\n"
AXIS, VALUE, DESCRIPTIONS = 2, 3, 1


def described(model: bytes, files=(), mean=None, std=None, of_model=()) -> bytes:
    """A model with metadata of an image and of scores; `files`: (name, type, locale) that belong to the scores."""

    def table(name, kind, locale=""):
        return {0: name, 2: ("Int8", kind), 3: locale or "en"} if locale else {0: name, 2: ("Int8", kind)}

    image = {0: "image"}
    if mean is not None:
        image[4] = [{0: ("Uint8", 1), 1: {0: [float(x) for x in mean], 1: [float(x) for x in std]}}]
    scores = {0: "scores"} | ({6: [table(*file) for file in files]} if files else {})
    content = {0: "name", 3: [{2: [image], 3: [scores]}]} | ({6: [table(*file) for file in of_model]} if of_model else {})
    builder = flatbuffers.Builder(256)
    builder.Finish(writer._write(builder, content), file_identifier=b"M001")
    graph = Graph(model)
    writer._set_buffer(graph, bytes(builder.Output()))
    return graph.pack()


@pytest.mark.parametrize("kind", [AXIS, VALUE])
def test_labels_are_those_that_the_metadata_name(tmp_path, kind):
    model = described(colour_model("uint8"), [("words.csv", DESCRIPTIONS), ("farben", kind, "de"), ("colours", kind)])
    texts = {"farben": "rot\ngrün\nblau\n", "colours": LINES, "labels.txt": "a\nb\nc\n", "words.csv": "x\ny\nz\n"}
    assert LiteClassifier(write(tmp_path / "a.tflite", model, texts)).labels == COLOURS


def test_labels_of_the_whole_model(tmp_path):
    model = described(colour_model("uint8"), of_model=[("map.txt", VALUE)])
    assert LiteClassifier(write(tmp_path / "a.tflite", model, {"map.txt": LINES.encode("utf-16")})).labels == COLOURS


def test_without_metadata_the_only_text_of_as_many_lines_has_the_labels(tmp_path):
    model = colour_model("uint8")
    assert LiteClassifier(write(tmp_path / "a.tflite", model, {"x/my_labels.txt": LINES, "about.txt": "one"})).labels == COLOURS
    assert LiteClassifier(write(tmp_path / "b.tflite", model, {"a.txt": LINES, "b.txt": LINES})).labels is None
    assert LiteClassifier(write(tmp_path / "c.tflite", model, {"a.txt": "one\n"})).labels is None


def test_a_label_file_that_is_missing(tmp_path):
    model = described(colour_model("uint8"), [("colours", AXIS)])
    with pytest.raises(UserError, match="colours is missing, where its metadata say that the labels are"):
        LiteClassifier(write(tmp_path / "a.tflite", model, {"labels.txt": LINES}))


def test_normalization_options_are_applied(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), np.uint8)
    pixels = colour_model()  # of pixels, as floats
    for mean, std in (([0], [1]), ([0, 0, 0], [1, 1, 1]), ([127.5], [127.5]), ([1, 2, 3], [4, 5, 6])):
        classifier = LiteClassifier(write(tmp_path / "a.tflite", described(pixels, mean=mean, std=std)))
        contract = dataclasses.replace(st.Preprocessing(), scale=1.0, mean=np.resize(mean, 3), std=np.resize(std, 3))
        assert classifier.preprocessing == contract
        np.testing.assert_array_equal(classifier._fed(images[:1]), contract.normalize(images[:1]))
    for mean, std in (([0], [0]), ([0, 0], [1, 1]), ([float("nan")], [1])):
        with pytest.raises(UserError, match="has a NormalizationOptions that can't be used"):
            LiteClassifier(write(tmp_path / "a.tflite", described(pixels, mean=mean, std=std)))
    with pytest.raises(UserError, match="takes float32 and lacks"):
        LiteClassifier(write(tmp_path / "a.tflite", described(pixels)))


def test_a_foreign_model_of_1000_classes_has_numbers(tmp_path):
    bundle = st.load(write(tmp_path / "a.tflite", colour_model("uint8", 1000)))
    assert prediction.class_names(bundle, "a").labels[:2] == ("class 0", "class 1")


def test_damaged_metadata_are_told_in_one_sentence(tmp_path):
    sound = described(colour_model("uint8"), [("colours", AXIS)], mean=[0], std=[1])
    start = sound.index(b"M001") - 4
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(sound)
        for place in rng.integers(start, min(start + 400, len(sound)), 3):
            damaged[place] = rng.integers(256)
        try:
            assert read_metadata(bytes(damaged)).label_files is not None
        except ValueError as error:
            assert str(error).startswith("its metadata are")


def test_a_packed_file_without_a_name_is_no_reason_to_stop(tmp_path):
    """zipfile fails at it in its own way."""
    model = write(tmp_path / "a.tflite", colour_model("uint8"), {"?nothing": "x", "labels.txt": LINES})
    model.write_bytes(model.read_bytes().replace(b"?nothing", b"\0nothing"))  # a zero byte ends a name
    assert LiteClassifier(model).labels == COLOURS


def test_an_archive_in_parts_is_refused(tmp_path):
    """zipfile's own check for an archive fails at it."""
    path = write(tmp_path / "a.tflite", colour_model("uint8"), UINT8)
    content = path.read_bytes()
    end = content.rindex(b"PK\5\6")
    path.write_bytes(content[:end] + b"PK\6\7" + bytes(12) + b"\2\0\0\0" + content[end:])  # one of two parts
    with pytest.raises(UserError, match="is damaged where its labels are packed"):
        LiteClassifier(path)


def test_files_that_unpack_into_too_much_are_refused(tmp_path):
    model = write(tmp_path / "a.tflite", colour_model("uint8"))
    with zipfile.ZipFile(model, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.txt", bytes(MAX_UNPACKED + 1))
    with pytest.raises(UserError, match=r"\(the files in it have more than 16 MB\)"):
        LiteClassifier(model)
    with pytest.raises(UserError, match=r"\(the files in it have more than 16 MB\)"):
        inspection.read(model)


def test_compiled_files_are_named_as_what_they_are(shared):
    content = (shared / "cases/case26/person_detect_vela.tflite").read_bytes()
    assert compiled_for(content) == "compiled for Arm's Ethos-U by Vela"
    assert compiled_for(colour_model()) is None
    rng = np.random.default_rng(0)
    for _ in range(100):
        compiled_for(content[: rng.integers(8, len(content))])


def test_a_reason_is_told_once():
    reason = "range [0, 1). Was 3.Tensor 33 is invalid.range [0, 1). Was 3.Tensor 36 is invalid."
    assert litert_reason(ValueError(reason)) == "range [0, 1). Was 3. Tensor 33 is invalid"
    assert litert_reason(ValueError("")) == "ValueError"
    assert litert_reason(ValueError("0.5 is too much.")) == "0.5 is too much"
