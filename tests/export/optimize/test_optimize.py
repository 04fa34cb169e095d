"""Optimized graphs compute the same, are free of shuffles, and run in one piece."""

import io
import zipfile

import numpy as np
import pytest
import tflite_builder as build
from ai_edge_litert import schema_py_generated as schema
from amount import sampled

from export.flatbuffer import runtime
from export.flatbuffer.graph import Graph
from export.flatbuffer.model import Step
from export.optimize import equality, optimize, pass_manager
from export.optimize.passes import PASSES
from export.optimize.targets import PHONE, Target
from export.optimize.targets.cost_model import CostModel

pytestmark = pytest.mark.kernels

MOVING = {"TRANSPOSE", "SPLIT", "SPLIT_V", "GATHER", "STRIDED_SLICE"}


def optimized(model: bytes, threads: int = 1, target: str = PHONE) -> tuple[bytes, dict[str, Step]]:
    """Applies the passes in this process."""
    steps = {}
    for p in PASSES:
        model, steps[p.name] = pass_manager.apply(p, model, CostModel(threads, Target.of(target)))
    return model, steps


def delegated_whole(model: bytes) -> bool:
    """Whether XNNPACK takes all operators as one."""
    runner = runtime.interpreter(model)
    parts = [detail for detail in runner._get_ops_details() if detail["op_name"] == "DELEGATE"]
    ends = [detail["index"] for detail in (*runner.get_input_details(), *runner.get_output_details())]
    return len(parts) == 1 and {*parts[0]["inputs"], *parts[0]["outputs"]}.issuperset(ends)


CHANNELS = {"even": (12, 24, 48), "wide": (22, 44, 88), "odd halves": (10, 18, 34)}
WIRINGS = ("tensorpack", "megvii", "torchvision")


def each_wiring_at_another_width(int8: bool, channels: str, wiring: str) -> bool:
    return (list(CHANNELS).index(channels) + WIRINGS.index(wiring)) % 3 == int8


@pytest.mark.parametrize("int8, channels, wiring", sampled(each_wiring_at_another_width, (True, False), CHANNELS, WIRINGS))
def test_v2_has_no_shuffle_left_and_computes_the_same(wiring, channels, int8):
    model = build.shufflenet_v2(int8, CHANNELS[channels], wiring=wiring)
    result, steps = optimized(model)
    assert MOVING.isdisjoint(Graph(result).counts()), steps
    difference = equality.compare(model, result, count=12)
    assert difference.quanta == 0 and difference.relative <= 1e-5
    assert delegated_whole(result)


def one_order_of_each_number(int8: bool, groups: int, shuffle_first: bool) -> bool:
    return shuffle_first == (groups % 3 == 0)


@pytest.mark.parametrize(
    "int8, groups, shuffle_first", sampled(one_order_of_each_number, (True, False), (2, 3, 4, 8), (True, False))
)
def test_v1_computes_the_same(groups, shuffle_first, int8):
    model = build.shufflenet_v1(int8, groups, shuffle_first=shuffle_first, relu_after=False)
    result, steps = optimized(model)
    if int8:
        assert "bit-identical" in steps["channel movement"].text or steps["channel movement"] == Step("channel movement", False)
    if int8 and groups < 8:  # of 8 groups, dense convolutions cost a phone more than shuffles
        assert MOVING.isdisjoint(Graph(result).counts()), steps
    assert delegated_whole(result)
    difference = equality.compare(model, result, count=12)
    assert difference.quanta == 0 and difference.relative <= 1e-5


@pytest.mark.parametrize("rank", [4, 5])
@pytest.mark.parametrize("int8", [True, False], ids=["int8", "float"])
def test_a_shuffle_of_any_rank_before_a_convolution_vanishes(rank, int8):
    net = build.Net((1, 7, 7, 5), int8)
    model = net.done(net.conv(net.shuffle(net.conv(net.input, 12), 3, rank=rank), 4))
    result, _ = optimized(model)
    assert Graph(result).counts() == {"CONV_2D": 2}
    assert equality.compare(model, result).tolerable


def test_order_that_the_output_needs_is_restored_in_the_weights():
    net = build.Net((1, 7, 7, 5), True)
    model = net.done(net.shuffle(net.depthwise(net.conv(net.input, 12)), 3))
    result, _ = optimized(model)
    assert Graph(result).counts() == {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1}
    assert equality.compare(model, result).quanta == 0


def test_layouts_that_cancel_vanish():
    net = build.Net((1, 7, 7, 5), True)
    x = net.transpose(net.conv(net.input, 12), 0, 3, 1, 2)  # to channels first
    x = net.reshape(net.transpose(net.reshape(x, 1, 3, 4, 7, 7), 0, 2, 1, 3, 4), 1, 12, 7, 7)
    model = net.done(net.conv(net.transpose(x, 0, 2, 3, 1), 4))
    result, _ = optimized(model)
    assert Graph(result).counts() == {"CONV_2D": 2}
    assert equality.compare(model, result).quanta == 0


def test_bytes_in_and_out_and_softmax_are_taken_by_the_delegate_too():
    net = build.Net((1, 8, 8, 3), True)
    pixels = net.graph.add_tensor((1, 8, 8, 3), schema.TensorType.UINT8, "pixels", build.Quantization((0.05,), (121,)))
    scores = net.graph.add_tensor((1, 5), schema.TensorType.UINT8, "scores", build.Quantization((1 / 256,), (0,)))
    net.graph.operators.append(net.graph.operator("QUANTIZE", [pixels], [net.input], schema.QuantizeOptionsT()))
    y = net.dense(net.mean(net.conv(net.input, 8)), 5)
    softmax = build.options(schema.SoftmaxOptionsT, beta=1.0)
    y = net.op("SOFTMAX", [y], (1, 5), softmax, scale=1 / 256, zero_point=-128)
    net.graph.operators.append(net.graph.operator("QUANTIZE", [y], [scores], schema.QuantizeOptionsT()))
    net.graph.subgraph.inputs = [pixels]
    model = net.done(scores)
    result, steps = optimized(model)
    assert not delegated_whole(model) and delegated_whole(result), steps
    assert equality.compare(model, result, count=20).quanta <= 1


def test_weights_in_half_precision_stay_so():
    net = build.Net((1, 7, 7, 4), False)
    x = net.conv(net.shuffle(net.conv(net.input, 6), 2), 5)
    for operator in [o for o in net.graph.operators if net.graph.kind(o) == "CONV_2D"]:
        weights = int(operator.inputs[1])
        like = net.graph.add_tensor((1,), schema.TensorType.FLOAT16, "like")
        half = net.graph.add_constant(net.graph.constant(weights).astype(np.float16), "half", like)
        full = net.tensor(net.shape(weights))
        operator.inputs[1] = full
        dequantize = net.graph.operator("DEQUANTIZE", [half], [full], schema.DequantizeOptionsT())
        net.graph.operators = [dequantize, *net.graph.operators]
    model = net.done(x)
    result, _ = optimized(model)
    assert Graph(result).counts() == {"DEQUANTIZE": 2, "CONV_2D": 2}
    assert len(result) < len(model) and equality.compare(model, result).tolerable


def test_what_is_not_understood_stays_as_it_is():
    net = build.Net((1, 4, 4, 4), False)
    x = net.shuffle(net.conv(net.input, 8), 2)
    y = net.op("SOFTMAX", [x], net.shape(x), build.options(schema.SoftmaxOptionsT, beta=1.0))  # mixes channels
    moved = net.transpose(y, 0, 2, 1, 3)  # mixes pixels
    model = net.done(net.conv(moved, 4), net.shuffle(y, 2))
    result, _ = optimized(model)
    assert equality.compare(model, result).tolerable
    assert Graph(result).counts()["SOFTMAX"] == 1


def test_a_channel_that_is_read_twice_counts_twice():
    net = build.Net((1, 4, 4, 4), True)
    x = net.conv(net.input, 6)
    model = net.done(net.conv(net.concat(x, net.gather(x, [0, 0, 5])), 4))
    result, _ = optimized(model)
    assert equality.compare(model, result).quanta == 0


def test_pieces_of_different_scale_are_not_joined():
    net = build.Net((1, 4, 4, 4), True)
    a, b = net.conv(net.input, 6, scale=0.02), net.conv(net.input, 6, scale=0.05)
    rescaled = net.op("QUANTIZE", [b], net.shape(b), schema.QuantizeOptionsT(), like=a)
    model = net.done(net.conv(net.shuffle(net.concat(a, rescaled), 2), 4))
    result, _ = optimized(model)
    assert equality.compare(model, result).quanta == 0
    assert "TRANSPOSE" not in Graph(result).counts()


@pytest.mark.parametrize("padding", [build.SAME, build.VALID])
@pytest.mark.parametrize("stride, kernel, size", [(2, 3, 32), (1, 3, 24), (2, 5, 32), (1, 1, 16), (2, 3, 31), (3, 3, 33)])
def test_folding_columns_changes_nothing(padding, stride, kernel, size):
    net = build.Net((1, size, size, 3), True)
    x = net.pad(net.input) if padding == build.VALID else net.input
    model = net.done(net.conv(x, 8, kernel, stride, padding=padding))
    fold = next(p for p in PASSES if p.name == "folded columns")
    result, step = pass_manager.apply(fold, model, CostModel())
    assert "undone" not in step.text and "left alone" not in step.text
    assert equality.compare(model, result).quanta == 0


def test_columns_of_an_image_are_folded():
    net = build.Net((1, 64, 64, 3), True)
    result, told = optimized(net.done(net.conv(net.input, 24, 3, 2)))
    assert Graph(result).counts() == {"RESHAPE": 2, "CONV_2D": 1}, told


@pytest.mark.parametrize("target", ["phone", "phone_old", "x86_avx2"])
@pytest.mark.parametrize("zero_point", [-128, -7, 0, 60])
@pytest.mark.parametrize(
    "size, kernel, stride, padding",
    [(14, 3, 2, build.SAME), (7, 3, 2, build.SAME), (14, 3, 2, build.VALID), (14, 2, 1, build.SAME), (14, 7, 7, build.VALID)],
)
def test_average_pool_is_delegated_and_rounds_as_it_did(size, kernel, stride, padding, zero_point, target):
    net = build.Net((1, size, size, 24), True)
    quantization = {"scale": 0.05, "zero_point": zero_point}
    x = net.conv(net.input, 24, **quantization)
    model = net.done(net.conv(net.pool(x, "AVERAGE", kernel, stride, padding), 8))
    result, _ = optimized(model, target=target)
    assert equality.compare(model, result, count=20).quanta == 0
    assert not delegated_whole(model) and delegated_whole(result)


@pytest.mark.parametrize("int8", [True, False], ids=["int8", "float"])
def test_relu_goes_through_concat(int8):
    net = build.Net((1, 9, 9, 4), int8)
    positive = net.conv(net.input, 6)
    model = net.done(net.relu(net.concat(net.pool(positive), net.conv(net.input, 6, 3, 2, act=build.NONE))))
    result, steps = optimized(model)
    assert "RELU" not in Graph(result).counts(), steps
    assert equality.compare(model, result).tolerable


def test_relu_of_what_may_be_negative_stays():
    net = build.Net((1, 9, 9, 4), True)
    pooled = net.pool(net.input, stride=1)
    model = net.done(net.relu(net.concat(pooled, net.conv(net.input, 6, act=build.NONE))), pooled)
    result, _ = optimized(model)
    assert Graph(result).counts()["RELU"] == 1
    assert equality.compare(model, result).quanta == 0


def test_a_rescaling_relu_becomes_a_quantize():
    net = build.Net((1, 9, 9, 4), True)
    model = net.done(net.relu(net.conv(net.input, 6, act=build.NONE), scale=0.03, zero_point=-128))
    result, _ = optimized(model)
    assert Graph(result).counts() == {"CONV_2D": 1, "DEQUANTIZE": 1, "QUANTIZE": 1}
    assert equality.compare(model, result).quanta == 0


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_any_number_of_threads_is_planned_for_exactly(threads):
    model = build.shufflenet_v2(True)
    assert equality.compare(model, optimized(model, threads)[0]).quanta == 0


def test_metadata_signatures_and_files_are_kept():
    net = build.Net((1, 9, 9, 4), True)
    y = net.shuffle(net.conv(net.input, 6), 2)
    signature = schema.SignatureDefT()
    signature.signatureKey = "serving_default"
    signature.inputs, signature.outputs = [schema.TensorMapT()], [schema.TensorMapT()]
    for entry, name, tensor in ((signature.inputs[0], "image", net.input), (signature.outputs[0], "scores", y)):
        entry.name, entry.tensorIndex = name, tensor
    net.graph.model.signatureDefs = [signature]
    metadata, buffer = schema.MetadataT(), schema.BufferT()
    metadata.name, buffer.data = "min_runtime_version", np.frombuffer(b"1.14.0", np.uint8)
    net.graph.model.buffers.append(buffer)
    metadata.buffer = len(net.graph.model.buffers) - 1
    net.graph.model.metadata = [metadata]
    target = io.BytesIO(net.done(y))
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr("labels.txt", "cat\ndog\n")

    result = optimize(target.getvalue()).model
    with zipfile.ZipFile(io.BytesIO(result)) as archive:
        assert archive.read("labels.txt") == b"cat\ndog\n"
    graph = Graph(result)
    assert "TRANSPOSE" not in graph.counts()
    assert bytes(graph.model.buffers[graph.model.metadata[0].buffer].data) == b"1.14.0"
    runner = runtime.interpreter(result).get_signature_runner("serving_default")
    assert list(runner.get_input_details()) == ["image"] and list(runner.get_output_details()) == ["scores"]
    image = np.ones((1, 9, 9, 4), np.int8)
    before = runtime.interpreter(target.getvalue()).get_signature_runner("serving_default")(image=image)["scores"]
    np.testing.assert_array_equal(runner(image=image)["scores"], before)


def test_an_optimized_graph_may_be_optimized_again():
    once, _ = optimized(build.shufflenet_v2(True))
    assert equality.compare(once, optimized(once)[0]).quanta == 0
