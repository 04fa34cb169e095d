"""What is read off a graph, also where a file says little."""

import pytest
import tflite_builder as build

from export.flatbuffer import inspection
from export.flatbuffer.graph import Graph


@pytest.fixture(scope="module")
def model() -> bytes:
    net = build.Net((1, 8, 8, 4), False)
    return net.done(net.dense(net.mean(net.conv(net.depthwise(net.input), 6)), 5))


def test_multiply_adds_are_those_of_convolutions_and_dense_layers(model):
    assert inspection.multiply_adds(Graph(model)) == 64 * 4 * 9 + 64 * 4 * 6 + 6 * 5


def test_a_tensor_without_a_shape_is_no_reason_to_stop(model):
    """A file may leave shapes out, which then count as those of single numbers."""
    graph = Graph(model)
    convolution = next(o for o in graph.operators if graph.kind(o) == "CONV_2D")
    graph.subgraph.tensors[convolution.outputs[0]].shape = None
    assert inspection.multiply_adds(Graph(graph.pack())) == 64 * 4 * 9 + 4 + 6 * 5
