"""Files that LiteRT runs though they are unlike those of our own converter: open batches, weights elsewhere, rare operators."""

import io
import zipfile

import flatbuffers
import numpy as np
import pytest
import tensorflow as tf
import tflite_builder as build
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer import inspection, packed, refusal, runtime, validation
from export.flatbuffer.graph import Graph
from export.flatbuffer.model import Step
from export.measure.benchmarking import benchmark
from export.optimize import batch, equality, optimize, worker
from shufflenet_tf.errors import UserError


def _classifier(batch_size: int | None = 1, offsets: bool = False, flatten: bool = False) -> bytes:
    """A classifier of TensorFlow's converter with a shuffle in it; `flatten` leaves a shape that is computed at run time."""
    inputs = tf.keras.Input((16, 16, 3), batch_size=batch_size)
    x = tf.keras.layers.Conv2D(32, 3, 2, activation="relu")(inputs)
    x = tf.keras.layers.Reshape((49, 4, 8))(x)
    x = tf.keras.layers.Reshape((7, 7, 32))(tf.keras.layers.Permute((1, 3, 2))(x))
    x = tf.keras.layers.Conv2D(64, 3, 2, activation="relu")(x)
    x = tf.keras.layers.Flatten()(x) if flatten else tf.keras.layers.GlobalAveragePooling2D()(x)
    converter = tf.lite.TFLiteConverter.from_keras_model(tf.keras.Model(inputs, tf.keras.layers.Dense(5)(x)))
    converter._experimental_use_buffer_offset = offsets
    return converter.convert()


@pytest.fixture(scope="module")
def outside() -> bytes:
    return _classifier(offsets=True)


def test_weights_behind_the_flatbuffer_are_read_and_come_back_inside(outside, tmp_path):
    offsets = [b.offset for b in schema.ModelT.InitFromPackedBuf(bytearray(outside), 0).buffers if b.offset > 1]
    assert offsets
    result = optimize(outside)
    assert "TRANSPOSE" in result.before and "TRANSPOSE" not in result.after
    assert not any(b.offset for b in schema.ModelT.InitFromPackedBuf(bytearray(result.model), 0).buffers)
    assert equality.compare(outside, result.model).tolerable
    (tmp_path / "outside.tflite").write_bytes(outside)
    assert inspection.multiply_adds(inspection.read(tmp_path / "outside.tflite")) > 0
    assert benchmark([tmp_path / "outside.tflite"], runs=1, warmup=0)[0].partitions == 1


def test_labels_behind_weights_behind_the_flatbuffer_are_kept(outside):
    target = io.BytesIO(outside)
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr("labels.txt", "cat\ndog\n")
    result = optimize(target.getvalue()).model
    assert zipfile.ZipFile(io.BytesIO(result)).read("labels.txt") == b"cat\ndog\n"
    assert equality.compare(outside, result).tolerable


def _moved(data: bytes, change) -> bytes:
    model = schema.ModelT.InitFromPackedBuf(bytearray(data), 0)
    change(next(b for b in model.buffers if b.offset > 1), len(data))
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=packed.IDENTIFIER)
    return bytes(builder.Output()).ljust(len(data), b"\0")


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda b, size: setattr(b, "offset", size - b.size + 1), "it keeps weights at bytes .* and has"),
        (lambda b, size: setattr(b, "size", 1 << 40), "it keeps weights at bytes .* and has"),
        (lambda b, size: setattr(b, "offset", 40), "it keeps weights at byte 40, in the midst of the graph"),
    ],
)
def test_weights_that_are_not_where_the_file_says_are_refused(outside, change, reason):
    with pytest.raises(validation.InvalidModel, match=reason):
        validation.parse(_moved(outside, change))


def test_large_options_of_custom_operators_are_read_too():
    net = build.Net((1, 4, 4, 4), False)
    net.conv(net.input, 4)
    operator = net.graph.operators[0]
    operator.largeCustomOptionsOffset, operator.largeCustomOptionsSize = 1 << 16, 5
    data = net.done(int(operator.outputs[0])).ljust(1 << 16, b"\0") + b"hello"
    found = packed.parse(data).subgraphs[0].operators[0]
    assert bytes(found.customOptions) == b"hello" and found.largeCustomOptionsOffset == 0


@pytest.mark.parametrize("flatten", [False, True])
def test_an_open_batch_is_taken_as_one(flatten):
    model = _classifier(None, flatten=flatten)
    result = optimize(model)
    assert result.steps[0] == Step("batch", True, "taken as 1, where the input [-1, 16, 16, 3] leaves it open")
    assert "TRANSPOSE" in result.before and "TRANSPOSE" not in result.after
    assert not {"SHAPE", "PACK", "STRIDED_SLICE"} & result.after.keys()
    graph = Graph(result.model)
    assert all(graph.shape(t) is not None for t in range(len(graph.subgraph.tensors)))
    runner = runtime.interpreter(result.model)
    runner.resize_tensor_input(runner.get_input_details()[0]["index"], [1, 16, 16, 3])
    runner.allocate_tensors()
    assert equality.compare(model, result.model).tolerable


def test_an_open_batch_stays_open_where_there_is_nothing_to_gain():
    net = build.Net((1, 7, 7, 4), False)  # an odd width can't be folded
    net.conv(net.input, 4)
    for tensor in net.graph.subgraph.tensors:
        tensor.shapeSignature = [-1, *tensor.shape[1:]] if len(tensor.shape) == 4 and tensor.buffer == 0 else None
    model = net.done(int(net.graph.operators[0].outputs[0]))
    result = optimize(model)
    assert result.model == model and result.steps[-1].name == "batch" and "left open after all" in result.steps[-1].text
    assert result.ratio == 1 and result.predicted[0].multiply_adds > 0


def test_other_open_sides_are_left_alone():
    net = build.Net((1, 8, 8, 4), True)
    y = net.shuffle(net.conv(net.input, 4), 2)
    for tensor in net.graph.subgraph.tensors:
        if len(tensor.shape) == 4 and tensor.buffer == 0:
            tensor.shapeSignature = [1, -1, *tensor.shape[2:]]
    model = net.done(y)
    result = optimize(model)
    assert result.model == model
    assert result.steps[0].text.startswith("left alone: the input [1, -1, 8, 4] has other open sides than the batch")


def test_a_size_that_depends_on_values_is_no_batch():
    net = build.Net((1, 8, 8, 4), False)
    size = net.graph.add_tensor((2,), schema.TensorType.INT32, "size")
    y = net.op("RESIZE_BILINEAR", [net.input, size], (1, 4, 4, 4), schema.ResizeBilinearOptionsT())
    net.graph.subgraph.inputs = [net.input, size]
    net.graph.subgraph.tensors[net.input].shapeSignature = [-1, 8, 8, 4]
    assert batch.close(net.done(y))[0] is None


@pytest.mark.parametrize("kind", ["ELU", "CEIL", "ROUND"])
def test_an_operator_that_the_reference_kernels_lack_is_no_refusal(kind):
    net = build.Net((1, 7, 7, 4), False)
    x = net.shuffle(net.conv(net.input, 6), 2)
    result = optimize(net.done(net.conv(net.op(kind, [x], net.shape(x), None), 4)))
    assert result.steps[0].name == "reference kernels" and f"they lack {kind}" in result.steps[0].text
    assert result.after == {"CONV_2D": 2, kind: 1}


def test_slow_reference_kernels_are_not_run_for_every_pass(monkeypatch):
    monkeypatch.setattr(worker, "SLOW_REFERENCE", -1.0)
    net = build.Net((1, 8, 8, 4), True)
    assert worker._reference(net.done(net.conv(net.input, 6))) == "a run takes them 0 seconds"


def _huge(net: build.Net) -> int:
    return net.conv(net.op("QUANTIZE", [net.input], net.shape(net.input), schema.QuantizeOptionsT(), scale=1e36), 4)


@pytest.mark.parametrize(
    "make, named",
    [
        (_huge, r"operator 1, CONV_2D, has 't\d+' of scale 1e\+36, so that input \* weight / output scale is \d\.\d+e\+3\d"),
        (lambda net: net.depthwise(net.input, scale=1e-7), r"operator 0, DEPTHWISE_CONV_2D, has 't\d+' of scale 1e-07"),
        (lambda net: net.dense(net.mean(net.input), 3, scale=1e-8), r"operator 1, FULLY_CONNECTED, has 't\d+' of scale 1e-08"),
        (
            lambda net: net.conv(net.input, 4, scale=1e-38),
            r"operator 0, CONV_2D, has 't\d+' of scale 1e-38, and nothing below 1.18e-38 is a scale",
        ),
    ],
)
def test_an_absurd_scale_is_told_by_operator_tensor_and_number(make, named):
    net = build.Net((1, 8, 8, 4), True)
    with pytest.raises(UserError, match=f"LiteRT refuses it: {named}.*quantize it again") as raised:
        optimize(net.done(make(net)))
    assert "\n" not in str(raised.value)


def test_other_refusals_keep_their_own_reason():
    net = build.Net((1, 8, 8, 4), True)
    wrong = net.op(
        "CONCATENATION", [net.input, net.input], (1, 8, 8, 8), build.options(schema.ConcatenationOptionsT, axis=3), scale=9.0
    )
    model = net.done(wrong)
    assert refusal.explain(Graph(model)) is None
    with pytest.raises(UserError, match=r"LiteRT refuses it \("):
        optimize(model)


@pytest.mark.parametrize("scale", [0.001, 0.05, 3.0])
def test_scales_that_can_be_computed_with_are_not_blamed(scale):
    net = build.Net((1, 8, 8, 4), True)
    x = net.conv(net.input, 4, scale=scale)
    model = net.done(net.op("ADD", [x, x], net.shape(x), schema.AddOptionsT(), scale=scale))
    assert refusal.explain(Graph(model)) is None
    assert len(np.ravel(runtime.run(runtime.interpreter(model), [np.zeros((1, 8, 8, 4), np.int8)])[0])) == 256
