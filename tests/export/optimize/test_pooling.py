"""Average pooling as depthwise convolutions: the pieces cover the map, and each number is the very same."""

import itertools

import numpy as np
import pytest
import tflite_builder as build
from hypothesis import given, note, settings
from hypothesis import strategies as st

from export.flatbuffer import runtime
from export.flatbuffer.graph import Graph
from export.optimize import equality
from export.optimize.passes.integer_pooling import integer_average_pool, segments
from export.optimize.targets.cost_model import CostModel


@st.composite
def axes(draw) -> tuple[int, int, int, bool]:
    """Draws (size, kernel, stride, same) of an axis that has an output."""
    size, same = draw(st.integers(1, 12)), draw(st.booleans())
    kernel = draw(st.integers(1, 5 if same else min(size, 7)))
    return size, kernel, draw(st.integers(1, 4)), same


def outputs_of(size: int, kernel: int, stride: int, same: bool) -> int:
    return -(-size // stride) if same else (size - kernel) // stride + 1


def averages(values: np.ndarray, kernel: int, stride: int, same: bool) -> list[float]:
    """Averages of what each window sees, as TensorFlow defines SAME: padding counts for nothing."""
    outputs = outputs_of(len(values), kernel, stride, same)
    before = max((outputs - 1) * stride + kernel - len(values), 0) // 2 if same else 0
    padded = np.full(before + len(values) + kernel * stride, np.nan)
    padded[before : before + len(values)] = values
    return [float(np.nanmean(padded[i * stride : i * stride + kernel])) for i in range(outputs)]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(axes())
def test_segments_are_all_outputs_in_order_and_see_what_windows_see(axis):
    size, kernel, stride, same = axis
    values = np.random.default_rng(size).normal(size=size)
    outputs = outputs_of(*axis)
    found = segments(size, outputs, kernel, stride, same)
    made = []
    for segment in found:
        part = values[segment.start : segment.stop]
        own = [part[i * stride : i * stride + segment.taps] for i in range(segment.outputs)]
        assert all(len(window) == segment.taps for window in own), "all windows of a segment are whole"
        assert len(part) == (segment.outputs - 1) * stride + segment.taps, "nothing is left over"
        made += [float(window.mean()) for window in own]
    np.testing.assert_allclose(made, averages(values, kernel, stride, same))
    assert all(a.taps != b.taps or b.start != a.start + a.outputs * stride for a, b in itertools.pairwise(found))


def test_the_average_is_that_of_the_runtime():
    """The brute force above means what LiteRT means by SAME."""
    for size, kernel, stride in ((7, 3, 2), (8, 3, 2), (5, 4, 3), (3, 5, 1)):
        net = build.Net((1, size, 1, 1), False)
        x = net.pool(net.input, "AVERAGE", kernel, stride)
        runner = runtime.interpreter(net.done(x))
        values = np.random.default_rng(0).normal(size=size).astype(np.float32)
        (made,) = runtime.run(runner, [values.reshape(1, size, 1, 1)])
        np.testing.assert_allclose(made.ravel(), averages(values, kernel, stride, True), rtol=1e-5)


@st.composite
def pools(draw) -> tuple[bytes, bool]:
    """Draws an int8 network with an average pool in it, and whether the mean is of an odd number of values somewhere."""
    height, width = draw(st.integers(1, 11)), draw(st.integers(1, 11))
    padding = draw(st.sampled_from([build.SAME, build.VALID]))
    kernel = draw(st.integers(1, 7 if padding == build.SAME else min(height, width, 7)))
    stride, channels = draw(st.integers(1, 4)), draw(st.sampled_from([1, 3, 8, 24]))
    like = {"scale": draw(st.sampled_from([0.003, 0.05, 1.7])), "zero_point": draw(st.integers(-128, 127))}
    net = build.Net((1, height, width, channels), True)
    x = net.op("QUANTIZE", [net.input], net.shape(net.input), None, **like)
    if draw(st.booleans()):  # the pool's input may also be the model's
        x = net.input
    x = net.pool(x, "AVERAGE", kernel, stride, padding)
    note(f"{height}x{width}x{channels}, {kernel=}, {stride=}, {padding=}, {like}")
    return net.done(x)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(pools())
def test_pools_are_bit_equal_with_both_sets_of_kernels(model):
    graph = Graph(model)
    told = integer_average_pool(graph, CostModel())
    if told is None:
        assert graph.counts() == Graph(model).counts()
        return
    assert told == "1 AVERAGE_POOL_2D as depthwise convolutions" and "DEPTHWISE_CONV_2D" in graph.counts()
    result = graph.pack()
    assert equality.compare(model, result, count=4, reference=False).quanta == 0
    one, other = (runtime.interpreter(m, kernels=runtime.REFERENCE) for m in (model, result))
    for inputs in runtime.random_inputs(one, 4, seed=1):
        np.testing.assert_array_equal(runtime.run(one, inputs)[0], runtime.run(other, inputs)[0])


@pytest.mark.parametrize("size, kernel, stride", [(14, 3, 2), (7, 3, 2), (28, 3, 2), (9, 3, 1)])
def test_pools_of_an_odd_number_of_values_are_rewritten(size, kernel, stride):
    net = build.Net((1, size, size, 24), True)
    graph = Graph(net.done(net.pool(net.input, "AVERAGE", kernel, stride)))
    assert integer_average_pool(graph, CostModel()) is not None


@pytest.mark.parametrize("change", ["another scale", "a ReLU", "even", "float", "large"])
def test_other_pools_are_left_alone(change):
    net = build.Net((1, 26, 26, 4), change != "float")
    kernel = {"even": 2, "large": 13}.get(change, 3)
    x = net.pool(net.input, "AVERAGE", kernel, 2, build.VALID)
    operator = net.graph.operators[-1]
    if change == "another scale":
        net.graph.subgraph.tensors[x].quantization = net.graph.subgraph.tensors[net.tensor((1,), 0.07)].quantization
    if change == "a ReLU":
        operator.builtinOptions.fusedActivationFunction = build.RELU
    graph = Graph(net.done(x))
    assert integer_average_pool(graph, CostModel()) is None and graph.counts() == {"AVERAGE_POOL_2D": 1}
