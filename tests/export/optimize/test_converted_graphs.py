"""What converters leave behind: transposes between layouts, split convolutions, paddings and operators without effect."""

import nchw_builder
import numpy as np
import pytest
import tflite_builder as build
from ai_edge_litert import schema_py_generated as schema
from nchw_builder import Nchw

from export.flatbuffer import inspection, runtime
from export.flatbuffer.graph import Graph
from export.optimize import equality, pass_manager
from export.optimize.passes import PASSES
from export.optimize.targets.cost_model import CostModel

FIRST = ("leftovers", "layouts", "split convolutions", "padding", "ReLU")


def cleaned(model: bytes, names: tuple[str, ...] = FIRST) -> bytes:
    """Applies these passes, none of which may fail."""
    for p in PASSES:
        if p.name in names:
            model, step = pass_manager.apply(p, model, CostModel())
            assert not step.text.startswith(("undone", "left alone")), step
    return model


def counts(model: bytes, *kinds: str) -> dict[str, int]:
    """Returns the number of operators of these kinds, or of all."""
    found = Graph(model).counts()
    return {kind: n for kind, n in found.items() if kind in kinds} if kinds else found


def assert_equal(model: bytes, result: bytes) -> None:
    difference = equality.compare(model, result, count=6)
    assert difference.quanta == 0 and difference.relative <= 1e-5, difference


@pytest.mark.parametrize(
    "int8, split_first",
    [
        pytest.param(True, True, id="int8-split before"),
        pytest.param(False, False, id="float-split after"),
        pytest.param(True, False, id="int8-split after", marks=pytest.mark.long),
        pytest.param(False, True, id="float-split before", marks=pytest.mark.long),
    ],
)
def test_shufflenet_v1_of_a_channels_first_converter_becomes_small(int8, split_first):
    model = nchw_builder.shufflenet_v1(int8, size=32, split_first=split_first)
    assert sum(counts(model).values()) == (522 if split_first else 398)
    result = cleaned(model)
    # A transpose of the image, and one each of the 16 shuffles, which other passes eliminate.
    assert sum(counts(result).values()) <= 125, counts(result)
    assert counts(result, "CONV_2D", "SPLIT", "TRANSPOSE", "RELU") == {"CONV_2D": 33, "TRANSPOSE": 17}
    assert_equal(model, result)
    assert inspection.delegation(runtime.interpreter(result))[1].keys() <= {"AVERAGE_POOL_2D"}


def _with_constant(kind: str, opts):
    def make(net: Nchw, x: int) -> int:
        values = np.linspace(-1, 1, net.shape(x)[1], dtype=np.float32).reshape(-1, 1, 1)
        values = np.round(values * 100) if net.net.int8 else values
        constant = net.net.graph.add_constant(values, "c", net.net.tensor((1,), scale=0.01, zero_point=0))
        return net.net.op(kind, [x, constant], net.shape(x), opts)

    return make


def _unary(kind: str, opts=None, **quantization):
    return lambda net, x: net.net.op(kind, [x], net.shape(x), opts, **quantization)


def _slice(net: Nchw, x: int) -> int:
    n, c, h, w = net.shape(x)
    inputs = [x, net.net.ints(0, 1, 0, 0), net.net.ints(n, c - 2, h, w - 1)]
    return net.net.op("SLICE", inputs, (n, c - 2, h, w - 1), schema.SliceOptionsT(), like=x)


def _strided_slice(net: Nchw, x: int) -> int:
    n, c, h, w = net.shape(x)
    inputs = [x, net.net.ints(0, 1, 7, 0), net.net.ints(0, c, 7, w), net.net.ints(1, 2, 1, 1)]
    opts = build.options(schema.StridedSliceOptionsT, beginMask=0b0101, endMask=0b0101)
    return net.net.op("STRIDED_SLICE", inputs, (n, len(range(1, c, 2)), h, w), opts, like=x)


def _gather(net: Nchw, x: int) -> int:
    n, c, h, w = net.shape(x)
    opts = build.options(schema.GatherOptionsT, axis=1)
    return net.net.op("GATHER", [x, net.net.ints(*range(c)[::-1])], (n, c, h, w), opts, like=x)


def _concat(axis: int):
    def make(net: Nchw, x: int) -> int:
        shape = list(net.shape(x))
        shape[axis] *= 2
        other = net.relu(x)
        return net.net.op(
            "CONCATENATION", [x, other], shape, build.options(schema.ConcatenationOptionsT, axis=axis - 4), like=x
        )

    return make


def _squeeze_excite(net: Nchw, x: int) -> int:
    y = net.conv(net.mean(x, keep=True), net.shape(x)[1])
    y = net.net.op("LOGISTIC", [y], net.shape(y), None, scale=1 / 256, zero_point=-128)
    return net.net.op("MUL", [x, y], net.shape(x), schema.MulOptionsT())


def _split(net: Nchw, x: int) -> int:
    a, b = net.split(x, 2)
    return net.concat(net.relu(b), a)


BETWEEN = {
    "pad": lambda net, x: net.pad(x),
    "batch normalization": lambda net, x: net.scale(x),
    "add": lambda net, x: net.add(x, net.relu(x)),
    "add a constant": _with_constant("ADD", schema.AddOptionsT()),
    "prelu": _with_constant("PRELU", None),
    "relu6": _unary("RELU6", scale=0.06),
    "hard swish": _unary("HARD_SWISH", schema.HardSwishOptionsT(), scale=0.04),
    "tanh": _unary("TANH", scale=1 / 128, zero_point=0),
    "leaky relu": _unary("LEAKY_RELU", build.options(schema.LeakyReluOptionsT, alpha=0.1)),
    "slice": _slice,
    "strided slice": _strided_slice,
    "gather": _gather,
    "split": _split,
    "shuffle": lambda net, x: net.relu(net.shuffle(net.relu(x), 3)),
    "squeeze and excite": _squeeze_excite,
    "concat of channels": _concat(1),
    "concat of rows": _concat(2),
    "mean": lambda net, x: net.mean(x, keep=True),
}


@pytest.mark.parametrize("name", BETWEEN)
@pytest.mark.parametrize("int8", [True, False], ids=["int8", "float"])
def test_transposes_vanish_around(name, int8):
    net = Nchw((1, 5, 6, 7), int8)
    x = net.conv(net.input, 6)
    model = net.done(net.conv(BETWEEN[name](net, x), 4))
    result = cleaned(model, ("leftovers", "layouts"))
    # One at either end of the graph, where the file's own layout begins; and a shuffle's.
    left = {"shuffle": 3, "mean": 1}.get(name, 2)  # with nothing but channels, it's a RESHAPE
    assert counts(result, "TRANSPOSE") == {"TRANSPOSE": left}, counts(result)
    assert_equal(model, result)


def test_a_softmax_over_channels_stays_where_it_is_right():
    net = Nchw((1, 5, 6, 7), False)
    x = net.conv(net.input, 6)
    softmax = net.net.op("SOFTMAX", [x], net.shape(x), build.options(schema.SoftmaxOptionsT, beta=1.0))  # along rows
    model = net.done(net.conv(softmax, 4))
    result = cleaned(model)
    assert counts(result, "TRANSPOSE") == {"TRANSPOSE": 4}
    assert_equal(model, result)


def test_a_tensor_that_both_layouts_need_is_transposed_once():
    net = Nchw((1, 5, 6, 7), True)
    x = net.relu(net.conv(net.input, 6))
    model = net.done(net.conv(x, 4), net.conv(x, 5), x)
    result = cleaned(model)
    assert counts(result, "TRANSPOSE") == {"TRANSPOSE": 4}  # of the input and of the three outputs
    assert_equal(model, result)


def test_a_mean_without_its_axes_ends_the_layout():
    net = Nchw((1, 5, 6, 7), True)
    model = net.done(net.net.dense(net.mean(net.relu(net.conv(net.input, 6))), 3))
    assert counts(cleaned(model), "TRANSPOSE") == {"TRANSPOSE": 1}
    assert_equal(model, cleaned(model))


@pytest.mark.parametrize("int8", [True, False], ids=["int8", "float"])
@pytest.mark.parametrize("make", ["SPLIT", "SLICE", "STRIDED_SLICE"])
@pytest.mark.parametrize("groups, filters, kernel", [(3, 12, 1), (2, 8, 3), (6, 6, 3), (6, 12, 3)])
def test_split_convolutions_become_a_grouped_one(int8, make, groups, filters, kernel):
    net = build.Net((1, 9, 9, 6), int8)
    x, each = net.conv(net.input, 6), 6 // groups
    if make == "SPLIT":
        parts = net.split(x, groups)
    elif make == "SLICE":
        parts = [net.slice(x, g * each, each) for g in range(groups)]
    else:
        parts = [net.strided_slice(x, g * each, (g + 1) * each) for g in range(groups)]
    y = net.concat(*(net.conv(p, filters // groups, kernel, act=build.NONE) for p in parts))
    model = net.done(net.relu(y))
    result = cleaned(model)
    depthwise = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1}
    assert counts(result) == (depthwise if each == 1 else {"CONV_2D": 2})
    assert_equal(model, result)
    assert inspection.delegation(runtime.interpreter(result)) == (1, {})


def test_split_depthwise_convolutions_are_joined():
    net = build.Net((1, 9, 9, 6), True)
    parts = net.split_v(net.conv(net.input, 7), 2, 4, 1)
    model = net.done(net.concat(*map(net.depthwise, parts)))
    assert counts(cleaned(model)) == {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1}
    assert_equal(model, cleaned(model))


def test_other_tensors_may_stand_beside_the_parts():
    net = build.Net((1, 9, 9, 6), True)
    x = net.conv(net.input, 6)
    model = net.done(net.concat(x, *(net.conv(p, 4) for p in net.split(x, 2)), x))
    result = cleaned(model)
    assert counts(result) == {"CONV_2D": 2, "CONCATENATION": 1}
    assert_equal(model, result)


def _changed_stride(net, a, b):
    return net.concat(net.conv(net.pad(a), 4, 3, padding=build.VALID), net.conv(b, 4, 3))


def _read_twice(net, a, b):
    y = net.conv(a, 4)
    return net.add(net.concat(y, net.conv(b, 4)), net.concat(y, y))


@pytest.mark.parametrize("make", [_changed_stride, lambda net, a, b: net.concat(net.conv(b, 4), net.conv(a, 4)), _read_twice])
def test_what_is_no_grouped_convolution_stays(make):
    net = build.Net((1, 9, 9, 6), True)
    model = net.done(make(net, *net.split(net.conv(net.input, 6), 2)))
    result = cleaned(model, ("split convolutions",))
    assert counts(result)["CONV_2D"] == 3
    assert_equal(model, result)


def test_operators_without_effect_vanish():
    net = build.Net((1, 4, 6, 6), True)
    x = net.conv(net.input, 6)
    y = net.transpose(net.transpose(x, 0, 2, 1, 3), 0, 2, 1, 3)
    y = net.reshape(net.reshape(net.reshape(y, 1, 24, 6), 144), 1, 4, 6, 6)
    y = net.slice(net.pad(net.concat(y), by=0), 0, 6)
    real = net.graph.add_tensor(net.shape(y), build.FLOAT, "real")
    net.graph.operators.append(net.graph.operator("DEQUANTIZE", [y], [real], schema.DequantizeOptionsT()))
    y = net.op("QUANTIZE", [real], net.shape(y), schema.QuantizeOptionsT(), like=y)
    y = net.op("QUANTIZE", [y], net.shape(y), schema.QuantizeOptionsT(), like=y)
    model = net.done(net.conv(y, 3))
    assert counts(cleaned(model)) == {"CONV_2D": 2}
    assert_equal(model, cleaned(model))


def test_quantizations_there_and_back_vanish_where_they_do_not_round():
    net = build.Net((1, 4, 6, 6), True)
    x = net.conv(net.input, 6, scale=0.05, zero_point=-7)
    other = net.graph.add_tensor(net.shape(x), schema.TensorType.UINT8, "u", build.Quantization((0.05,), (121,)))
    net.graph.operators.append(net.graph.operator("QUANTIZE", [x], [other], schema.QuantizeOptionsT()))
    back = net.op("QUANTIZE", [other], net.shape(x), schema.QuantizeOptionsT(), scale=0.05, zero_point=-7)
    coarse = net.op("QUANTIZE", [back], net.shape(x), schema.QuantizeOptionsT(), scale=0.2)
    fine = net.op("QUANTIZE", [coarse], net.shape(x), schema.QuantizeOptionsT(), scale=0.05, zero_point=-7)
    model = net.done(net.conv(fine, 3))
    assert counts(cleaned(model)) == {"CONV_2D": 2, "QUANTIZE": 2}
    assert_equal(model, cleaned(model))


def test_equal_operators_are_done_once():
    net = build.Net((1, 4, 6, 6), True)
    x = net.conv(net.input, 6)
    a, b = (net.transpose(net.reshape(x, 1, 24, 6), 0, 2, 1) for _ in range(2))
    model = net.done(net.op("ADD", [a, b], net.shape(a), schema.AddOptionsT()))
    assert counts(cleaned(model)) == {"CONV_2D": 1, "RESHAPE": 1, "TRANSPOSE": 1, "ADD": 1}
    assert_equal(model, cleaned(model))


@pytest.mark.parametrize("kernel, stride, by, absorbed", [(3, 1, 1, 1), (5, 1, 2, 1), (3, 2, 1, 0), (3, 1, 2, 0), (5, 1, 1, 0)])
@pytest.mark.parametrize("kind", ["conv", "depthwise"])
def test_padding_is_absorbed_where_same_is_the_same(kind, kernel, stride, by, absorbed):
    net = build.Net((1, 8, 10, 6), True)
    padded = net.pad(net.conv(net.input, 6), by)
    if kind == "conv":
        model = net.done(net.conv(padded, 4, kernel, stride, padding=build.VALID))
    else:
        model = net.done(net.depthwise(padded, kernel, stride, padding=build.VALID))
    result = cleaned(model)
    assert counts(result, "PAD") == ({} if absorbed else {"PAD": 1})
    assert_equal(model, result)


@pytest.mark.parametrize("kind", ["RELU", "RELU6", "RELU_N1_TO_1"])
@pytest.mark.parametrize("int8", [True, False], ids=["int8", "float"])
@pytest.mark.parametrize("before", ["ADD", "SUB", "MUL", "CONV_2D", "CONCATENATION", "RESHAPE", "PAD"])
def test_clamping_is_fused(kind, int8, before):
    net = build.Net((1, 4, 6, 6), int8)
    x, y = net.conv(net.input, 6, act=build.NONE), net.depthwise(net.input)
    if before in ("ADD", "SUB", "MUL"):
        z = net.op(before, [x, y], net.shape(x), getattr(schema, f"{before.title()}OptionsT")())
    else:
        z = x if before == "CONV_2D" else net.concat(x, y)
        z = net.pad(z) if before == "PAD" else net.reshape(z, 1, 24, 12) if before == "RESHAPE" else z
    clamped = [net.op(kind, [z], net.shape(z), None, like=z) for _ in range(2)]  # as converters repeat it for each reader
    model = net.done(net.op("ADD", clamped, net.shape(z), schema.AddOptionsT()))
    result = cleaned(model)
    assert kind not in counts(result), counts(result)
    assert_equal(model, result)


def test_clamping_stays_where_somebody_reads_what_is_cut_off():
    net = build.Net((1, 4, 6, 6), False)
    x = net.conv(net.input, 6, act=build.NONE)
    model = net.done(net.op("RELU6", [x], net.shape(x), None), net.depthwise(x))
    assert counts(cleaned(model))["RELU6"] == 1
    assert_equal(model, cleaned(model))
