"""Standard TFLite metadata, so that MediaPipe and Android Studio take the file as it is; labels are packed in it.

The layout is that of TensorFlow Lite's metadata_schema.fbs (identifier M001). Its generated Python code comes only with
MediaPipe, so the few tables that an image classifier needs are written here field by field.
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
_PARSER = "1.0.0"  # the oldest parser that knows all of this
# Numbers of metadata_schema.fbs.
_TENSOR_AXIS_LABELS, _RGB, _IMAGE_PROPERTIES, _NORMALIZATION_OPTIONS = 2, 1, 2, 1

# A table: its fields by slot. Values: text, numbers as (type, value), tables, and lists of texts, tables or floats.
_Table = Mapping[int, object]


def attach(
    model: bytes, name: str, description: str, labels: Sequence[str], preprocessing: Preprocessing, version: str = "1"
) -> bytes:
    """Returns a .tflite file with metadata, labels.txt and preprocessing.json.

    Args:
      model: takes uint8 RGB images [1, H, W, 3] and returns probabilities [1, classes].
      name, description: for whoever opens the file.
      labels: names of the classes in order.
      preprocessing: how a photo is cut to the model's size.
      version: of the model.

    Raises:
      UserError: the model has other inputs or outputs, or another number of classes; or a label is empty or of two lines.
    """
    flatbuffer, _ = associated_files.separate(model)
    graph = Graph(flatbuffer)
    image, probabilities = _tensors(graph)
    classes = graph.shape(probabilities)[-1]
    if len(labels) != classes:
        raise UserError(f"{len(labels)} labels were given for a model of {classes} classes: the numbers must agree.")
    if bad := [label for label in labels if label.strip() != label or not label or "\n" in label]:
        raise UserError(f"The label {bad[0]!r} can't be packed in a model: give each class a name in one line.")
    _, height, width, _ = graph.shape(image)
    quantized = graph.type(probabilities) == schema.TensorType.UINT8
    content = _content(name, description, version, (height, width), quantized)
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
    raise UserError("The model is no classifier of one RGB image [1, height, width, 3] into [1, classes].")


def _content(name: str, description: str, version: str, size: tuple[int, int], quantized: bool) -> bytes:
    height, width = size
    image = {
        0: "image",
        1: f"RGB image of {width}x{height} pixels, 0 to 255.",
        3: {0: ("Uint8", _IMAGE_PROPERTIES), 1: {0: ("Int8", _RGB), 1: {0: ("Uint32", width), 1: ("Uint32", height)}}},
        # Pixels go in as they are: the graph has its own preprocessing.
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
    model = {0: name, 1: description, 2: version, 3: [{2: [image], 3: [scores]}], 7: _PARSER}
    builder = flatbuffers.Builder(1024)
    builder.Finish(_write(builder, model), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def _write(builder: flatbuffers.Builder, value: object) -> int:
    """Writes a text, a table or a list of floats, texts or tables; returns its offset."""
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
