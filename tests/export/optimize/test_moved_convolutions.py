"""Convolutions of other shapes that compute the same: shuffles behind depthwise ones, columns as channels."""

import json

import numpy as np
import pytest
import tflite_builder as build
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer.graph import Graph
from export.optimize import equality, pass_manager
from export.optimize.passes import PASSES, fold_columns
from export.optimize.passes.shuffle_later import shuffle_later
from export.optimize.targets import Target
from export.optimize.targets.cost_model import CostModel


def equal(model: bytes, result: bytes) -> bool:
    difference = equality.compare(model, result, count=4)
    return difference.quanta == 0 and difference.relative <= equality.TOLERANCE


def order(graph: Graph) -> list[str]:
    return [graph.kind(operator) for operator in graph.operators]


@pytest.mark.parametrize("groups", [2, 3, 4, 8])
@pytest.mark.parametrize("rank", [4, 5])
@pytest.mark.parametrize("interleave", [True, False])
@pytest.mark.parametrize("int8", [True, False], ids=["int8", "float"])
def test_a_shuffle_moves_behind_a_depthwise_convolution_of_stride_2(int8, interleave, rank, groups):
    net = build.Net((1, 8, 6, 24), int8)  # its weights have a scale and a bias of their own for each channel
    x = net.shuffle(net.input, groups, interleave, rank)
    model = net.done(net.depthwise(x, 3, 2, act=build.RELU))
    graph = Graph(model)
    assert shuffle_later(graph, CostModel()) == "1 shuffles behind a depthwise convolution with fewer pixels"
    assert order(graph) == ["DEPTHWISE_CONV_2D", "RESHAPE", "TRANSPOSE", "RESHAPE"]
    result = graph.pack()
    assert equal(model, result) and graph.name(graph.outputs[0]) == Graph(model).name(Graph(model).outputs[0])


@pytest.mark.parametrize("case", ["stride 1", "read twice", "an output", "pixels move", "no shuffle", "weights of the caller"])
def test_other_shuffles_stay_where_they_are(case):
    net = build.Net((1, 8, 8, 12), True)
    x = net.shuffle(net.input, 3)
    if case == "pixels move":
        x = net.transpose(x, 0, 2, 1, 3)
    if case == "no shuffle":
        x = net.reshape(net.reshape(net.input, 1, 64, 12), 1, 8, 8, 12)
    y = net.depthwise(x, 3, 1 if case == "stride 1" else 2)
    outputs = [y]
    if case == "weights of the caller":
        weights = int(net.graph.operators[-1].inputs[1])
        net.graph.subgraph.tensors[weights].buffer = 0
        net.graph.subgraph.inputs = [net.input, weights]
    if case in ("read twice", "an output"):
        outputs.append(net.conv(x, 4) if case == "read twice" else x)
    graph = Graph(net.done(*outputs))
    before = order(graph)
    assert shuffle_later(graph, CostModel()) is None and order(graph) == before


def test_the_pipeline_takes_the_later_shuffle_where_it_pays():
    net = build.Net((1, 28, 28, 24), True)
    model = net.done(net.depthwise(net.shuffle(net.input, 3), 3, 2))  # nothing could take the shuffle up
    result, step = pass_manager.apply(next(p for p in PASSES if p.name == "later shuffles"), model, CostModel())
    assert step.text.startswith("1 shuffles behind") and "bit-identical" in step.text and result != model


def by_taps() -> CostModel:
    """A target on which only looking up pixels costs, so that fewer of them always pay."""
    fields = json.loads(Target.of("phone").to_json())
    for rows in fields["costs"].values():
        for row in rows.values():
            row.update({key: 1 if key in ("rows", "columns", "depth", "lanes") else 0 for key in row})
        rows["convolution"]["tap"] = 1
    return CostModel(1, Target.from_json(json.dumps(fields)))


def _concatenated(net: build.Net, height: int, width: int) -> int:
    """A border of constants below and to the right, as onnx2tf leaves it."""
    x, (_, h, w, c) = net.input, net.shape(net.input)
    for axis, shape in ((1, (1, height, w, c)), (2, (1, h + height, width, c))):
        values = np.full(shape, -7 if net.int8 else 0, np.int8 if net.int8 else np.float32)
        border = net.graph.add_constant(values, "border", like=x)
        size = list(net.shape(x))
        size[axis] += shape[axis]
        options = build.options(schema.ConcatenationOptionsT, axis=axis)
        x = net.op("CONCATENATION", [x, border], size, options, like=x)
    return x


@pytest.mark.parametrize("kernel", [2, 3, 5])
@pytest.mark.parametrize("width", [31, 32])
@pytest.mark.parametrize("border", ["SAME", "PAD", "CONCATENATION"])
@pytest.mark.parametrize("int8", [True, False], ids=["int8", "float"])
def test_pairs_of_columns_become_channels(int8, border, width, kernel, monkeypatch):
    monkeypatch.setattr(fold_columns, "_FACTORS", (1,))
    net = build.Net((1, 20, width, 3), int8)
    make = {"SAME": lambda: net.input, "PAD": lambda: net.pad(net.input), "CONCATENATION": lambda: _concatenated(net, 1, 1)}
    padded = make[border]()
    x = net.conv(padded, 8, kernel, 2, padding=build.SAME if border == "SAME" else build.VALID)
    pairs, columns = net.shape(x)[2] + (kernel - 1) // 2, net.shape(padded)[2]
    model = net.done(net.conv(x, 4))
    graph = Graph(model)
    told = fold_columns.fold_columns(graph, by_taps()) or ""
    assert equal(model, graph.pack())
    # With SAME all columns must be in pairs; a border may be widened, but an input that is too wide stays as it is.
    possible = width % 2 == 0 if border == "SAME" else 2 * pairs >= columns
    assert ("1 CONV_2D with neighbouring columns" in told) == possible
    if possible:
        convolution = graph.operators[order(graph).index("CONV_2D")]
        assert (convolution.builtinOptions.strideH, convolution.builtinOptions.strideW) == (2, 1)
        groups = graph.shape(int(convolution.inputs[1]))[2]
        assert graph.shape(int(convolution.inputs[1])) == (8, kernel, groups, 6) and 2 * groups >= kernel
        assert graph.counts()["RESHAPE"] == 1
