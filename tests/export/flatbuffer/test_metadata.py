"""Metadata that TensorFlow's own tools read, and labels within the file."""

import zipfile

import flatbuffers
import numpy as np
import pytest
import tensorflow as tf

import shufflenet_tf as st
from export.flatbuffer import associated_files, metadata
from export.flatbuffer.graph import Graph, schema
from shufflenet_tf.errors import UserError
from shufflenet_tf.tflite_classifier import LiteClassifier

LABELS = ("Granny Smith", "жираф", "c")


@pytest.fixture(scope="module")
def plain() -> bytes:
    @tf.function(input_signature=[tf.TensorSpec((1, 32, 48, 3), tf.float32)])
    def classify(image):
        return tf.nn.softmax(tf.reduce_mean(image, (1, 2)) / 100)

    graph = Graph(tf.lite.TFLiteConverter.from_concrete_functions([classify.get_concrete_function()]).convert())
    pixels = graph.add_tensor((1, 32, 48, 3), schema.TensorType.UINT8, "pixels")
    graph.operators = [graph.operator("CAST", [pixels], graph.inputs, schema.CastOptionsT()), *graph.operators]
    graph.subgraph.inputs = [pixels]
    return graph.pack()


def attach(model: bytes, labels=LABELS, preprocessing=None) -> bytes:
    return metadata.attach(model, "tiny", "a test", labels, preprocessing or st.Preprocessing(crop=32, resize=36))


def content(model: bytes) -> bytes:
    graph = Graph(associated_files.separate(model)[0])
    (entry,) = [entry for entry in graph.model.metadata if entry.name in (metadata.BUFFER, metadata.BUFFER.encode())]
    return bytes(graph.model.buffers[entry.buffer].data)


def test_labels_and_preprocessing_travel_with_the_file(plain, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(attach(plain))
    classifier = LiteClassifier(path)
    assert classifier.labels == LABELS and classifier.preprocessing == st.Preprocessing(crop=32, resize=36)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 48, 3), np.uint8)
    (tmp_path / "plain.tflite").write_bytes(plain)
    np.testing.assert_array_equal(classifier(images), LiteClassifier(tmp_path / "plain.tflite")(images))
    with zipfile.ZipFile(path) as packed:
        assert packed.read("labels.txt").decode() == "Granny Smith\nжираф\nc\n"


def test_metadata_has_the_schemas_fields(plain):
    """Read by the slots of metadata_schema.fbs: model name, and the size and colours of the input image."""
    buffer = content(attach(plain))
    assert buffer[4:8] == b"M001"

    def table(position):
        return flatbuffers.table.Table(bytearray(buffer), position)

    def field(owner, slot):
        return owner.Pos + owner.Offset(4 + 2 * slot)

    root = table(flatbuffers.encode.Get(flatbuffers.packer.uoffset, buffer, 0))
    assert root.String(field(root, 0)) == b"tiny"

    def element(owner, slot):
        return table(owner.Indirect(owner.Vector(owner.Offset(4 + 2 * slot))))

    image = element(element(root, 3), 2)
    assert image.String(field(image, 0)) == b"image"
    described = table(image.Indirect(field(image, 3)))
    assert buffer[field(described, 0)] == 2, "ImageProperties"
    properties = table(described.Indirect(field(described, 1)))
    assert buffer[field(properties, 0)] == 1, "RGB"
    size = table(properties.Indirect(field(properties, 1)))
    width, height = (flatbuffers.encode.Get(flatbuffers.packer.uint32, buffer, field(size, slot)) for slot in (0, 1))
    assert (width, height) == (48, 32)


def test_attaching_twice_is_attaching_once(plain):
    assert attach(attach(plain)) == attach(plain)


@pytest.mark.parametrize("labels", [LABELS[:2], (*LABELS, "d"), ("a", "", "c"), ("a", "b\n", "c"), ("a", " b", "c")])
def test_labels_that_do_not_fit(plain, labels):
    with pytest.raises(UserError, match=r"labels were given|give each class a name"):
        attach(plain, labels)


def test_a_threshold_is_a_process_unit_of_the_output(plain, tmp_path):
    path = tmp_path / "model.tflite"
    about = ("tiny", "a test", LABELS, st.Preprocessing(crop=32, resize=36))
    for threshold in (None, 0.625):
        path.write_bytes(metadata.attach(plain, *about, threshold=threshold))
        assert LiteClassifier(path).threshold == st.load(path).threshold == threshold


def test_a_model_of_another_task(plain):
    graph = Graph(plain)
    graph.subgraph.inputs = [graph.outputs[0]]
    with pytest.raises(UserError, match="does not classify"):
        attach(graph.pack())


def test_mediapipe_reads_it(shared, tmp_path):
    """MediaPipe's own ImageClassifier takes the exported file as it is and gives our answers."""
    mediapipe = pytest.importorskip("mediapipe", reason="needs `pip install mediapipe`, in an environment of its own")
    from export.convert.from_keras import convert
    from export.convert.precision import Precision

    bundle = st.load(shared / "golden/onnx_zoo/shufflenet_v2_1.0x_bn_fused.npz")
    with np.load(shared / "golden/inputs/torchvision.npz") as file:
        images = file["image_uint8_rgb_nhwc"]
    vision = mediapipe.tasks.vision
    for kind in ("float32", "int8"):
        model = convert(bundle.model, Precision(kind, calibration=list(images)))
        path = tmp_path / f"{kind}.tflite"
        path.write_bytes(metadata.attach(model, "v2", kind, bundle.labels, bundle.preprocessing))
        options = vision.ImageClassifierOptions(mediapipe.tasks.BaseOptions(model_asset_path=str(path)), max_results=1)
        with vision.ImageClassifier.create_from_options(options) as classifier:
            ours = LiteClassifier(path)(images).argmax(-1)
            for image, index in zip(images, ours, strict=True):
                picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
                best = classifier.classify(picture).classifications[0].categories[0]
                assert (best.index, best.category_name) == (index, bundle.labels[index])
