"""Standard TFLite metadata with packed labels, so that MediaPipe and Android Studio accept the file directly.

The layout follows TensorFlow Lite's metadata_schema.fbs (identifier M001). Its generated Python code ships only with
MediaPipe, so this file writes the few tables that an image classifier needs field by field.
"""

import json
import zipfile
from collections.abc import Mapping, Sequence

import flatbuffers

from export.flatbuffer import associated_files
from export.flatbuffer.graph import Graph, schema
from shufflenet_tf.errors import UserError
from shufflenet_tf.preprocessing import Preprocessing
from shufflenet_tf.tflite_classifier import LABELS, PREPROCESSING

BUFFER = "TFLITE_METADATA"
_IDENTIFIER = b"M001"
_PARSER = "1.0.0"  # oldest parser version that supports all of these fields
# Enum values of metadata_schema.fbs.
_TENSOR_AXIS_LABELS, _RGB, _IMAGE_PROPERTIES, _NORMALIZATION_OPTIONS, _SCORE_THRESHOLDING_OPTIONS = 2, 1, 2, 1, 3

# A table maps slots to fields. Values: text, numbers as (type, value), tables, and lists of texts, tables or floats.
_Table = Mapping[int, object]


def attach(
    model: bytes,
    name: str,
    description: str,
    labels: Sequence[str],
    preprocessing: Preprocessing,
    version: str = "1",
    threshold: float | None = None,
) -> bytes:
    """Returns a .tflite file with metadata, labels.txt and preprocessing.json.

    Args:
      model: takes uint8 RGB images [1, H, W, 3] and returns probabilities [1, classes].
      name, description: shown to people who open the file.
      labels: names of the classes in order.
      preprocessing: how a photo is resized and cropped to the model's size.
      version: version of the model.
      threshold: probability below which a class doesn't count, in 0..1; None: all count. MediaPipe and the Task library
        leave out such classes; our own programs say "not sure" where that leaves none.

    Raises:
      UserError: the model has other inputs or outputs, or another number of classes; or a label is empty or spans lines.
    """
    flatbuffer, _ = associated_files.separate(model)
    graph = Graph(flatbuffer)
    image, probabilities = _tensors(graph)
    classes = graph.shape(probabilities)[-1]
    if len(labels) != classes:
        raise UserError(f"{len(labels)} labels were given for a model with {classes} classes: the numbers must agree.")
    if bad := [label for label in labels if label.strip() != label or not label or "\n" in label]:
        raise UserError(f"The label {bad[0]!r} can't be stored in a model: give each class a name of one line.")
    _, height, width, _ = graph.shape(image)
    quantized = graph.type(probabilities) == schema.TensorType.UINT8
    content = _content(name, description, version, (height, width), quantized, threshold)
    _set_buffer(graph, content)
    texts = {
        LABELS: "".join(f"{label}\n" for label in labels),
        PREPROCESSING: json.dumps(preprocessing.to_config(), indent=1) + "\n",
    }
    files = [(zipfile.ZipInfo(key), text.encode()) for key, text in texts.items()]
    return associated_files.attach(graph.pack(), files)


def _tensors(graph: Graph) -> tuple[int, int]:
    if len(graph.inputs) == len(graph.outputs) == 1:
        shapes = graph.shape(graph.inputs[0]), graph.shape(graph.outputs[0])
        if None not in shapes and len(shapes[0]) == 4 and shapes[0][3] == 3 and len(shapes[1]) == 2:
            return graph.inputs[0], graph.outputs[0]
    raise UserError("The model does not classify one RGB image [1, height, width, 3] into [1, classes].")


def _content(
    name: str, description: str, version: str, size: tuple[int, int], quantized: bool, threshold: float | None
) -> bytes:
    height, width = size
    image = {
        0: "image",
        1: f"RGB image of {width}x{height} pixels, 0 to 255.",
        3: {0: ("Uint8", _IMAGE_PROPERTIES), 1: {0: ("Int8", _RGB), 1: {0: ("Uint32", width), 1: ("Uint32", height)}}},
        # The graph contains its preprocessing, so callers pass raw pixels.
        4: [{0: ("Uint8", _NORMALIZATION_OPTIONS), 1: {0: [0.0], 1: [1.0]}}],
        5: {0: [255.0], 1: [0.0]},
    }
    labels = {0: LABELS, 1: "Names of the classes, one a line.", 2: ("Int8", _TENSOR_AXIS_LABELS)}
    scores = {
        0: "probability",
        1: "Probability of each class" + (", in 256 steps." if quantized else "."),
        5: {0: [255.0 if quantized else 1.0], 1: [0.0]},
        6: [labels],
    }
    if threshold is not None:
        scores[4] = [{0: ("Uint8", _SCORE_THRESHOLDING_OPTIONS), 1: {0: ("Float32", threshold)}}]
    model = {0: name, 1: description, 2: version, 3: [{2: [image], 3: [scores]}], 7: _PARSER}
    builder = flatbuffers.Builder(1024)
    builder.Finish(_write(builder, model), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def _write(builder: flatbuffers.Builder, value: object) -> int:
    """Writes a text, a table, or a list of floats, texts or tables; returns its offset."""
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, list):
        floats = isinstance(value[0], float)
        offsets = value if floats else [_write(builder, item) for item in value]
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            (builder.PrependFloat32 if floats else builder.PrependUOffsetTRelative)(offset)
        return builder.EndVector()
    offsets = {slot: _write(builder, item) for slot, item in value.items() if not isinstance(item, tuple)}
    builder.StartObject(max(value) + 1)
    for slot, item in value.items():
        if isinstance(item, tuple):
            kind, number = item
            getattr(builder, f"Prepend{kind}Slot")(slot, number, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, offsets[slot], 0)
    return builder.EndObject()


def _set_buffer(graph: Graph, content: bytes) -> None:
    """Replaces the metadata in the model."""
    others = [entry for entry in graph.model.metadata or [] if entry.name not in (BUFFER, BUFFER.encode())]
    buffer = schema.BufferT()
    buffer.data = bytearray(content)
    graph.model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = BUFFER, len(graph.model.buffers) - 1
    graph.model.metadata = [*others, entry]
