"""What is predicted of a graph: what its operators are, how long their runs are, and in how many pieces it is delegated."""

import itertools
import math

import numpy as np
import pytest
import random_converted_graphs
import random_graphs
import tflite_builder as build
from ai_edge_litert import schema_py_generated as schema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from export.flatbuffer import inspection, runtime
from export.flatbuffer.graph import Graph
from export.optimize import predict
from export.optimize.delegate import is_left_out, partitions
from export.optimize.predict import account, collapsed, operator_cost
from export.optimize.targets import Target, names
from export.optimize.targets.cost_model import CostModel

SHAPES = st.lists(st.sampled_from([1, 1, 2, 3, 4]), min_size=1, max_size=6).map(tuple)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.data(), SHAPES)
def test_a_collapsed_transpose_is_the_same_one_of_fewest_axes(data, shape):
    permutation = data.draw(st.permutations(range(len(shape))))
    fewer, order = collapsed(shape, list(permutation))
    values = np.arange(math.prod(shape)).reshape(shape)
    expected = values.transpose(permutation).ravel()
    np.testing.assert_array_equal(values.reshape(fewer).transpose(order).ravel(), expected)
    assert len(fewer) == 1 or 1 not in fewer
    assert all(b != a + 1 for a, b in itertools.pairwise(order)), "what stays together is one axis"


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.data(), SHAPES)
def test_runs_are_those_of_a_part(data, whole):
    part = tuple(data.draw(st.integers(1, side)) for side in whole)
    begin = [data.draw(st.integers(0, side - size)) for side, size in zip(whole, part, strict=True)]
    taken = tuple(slice(b, b + size) for b, size in zip(begin, part, strict=True))
    places = np.arange(math.prod(whole)).reshape(whole)[taken].ravel()
    count, length = predict._runs(part, whole)
    assert count * length == len(places)
    rows = places.reshape(count, length)
    assert (np.diff(rows, axis=1) == 1).all(), "a run is consecutive"
    assert (rows[1:, 0] != rows[:-1, -1] + 1).all() or part == whole, "and as long as can be"


def test_parts_of_another_rank_are_taken_as_one_run():
    assert predict._runs((3, 4), (2, 3, 4)) == (1, 12)


SIZES = [(1, 1), (1, 2), (2, 1), (2, 3)]  # kernel, stride


def as_delegated(model: bytes) -> None:
    """Checks that LiteRT does what is predicted."""
    count, outside = inspection.delegation(runtime.interpreter(model))
    graph = Graph(model)
    left = [graph.kind(operator) for operator in graph.operators if is_left_out(graph, operator)]
    assert sorted(left) == sorted(kind for kind, n in outside.items() for _ in range(n))
    assert partitions(graph) == count


def _with_softmax(net: build.Net, x: int) -> int:
    beta = build.options(schema.SoftmaxOptionsT, beta=1.0)
    return net.op("SOFTMAX", [x], net.shape(x), beta, scale=1 / 256, zero_point=-128)


def _pieces(int8: bool) -> bytes:
    """A chain in which most operators of int8 are ones that XNNPACK does not take."""
    net = build.Net((1, 8, 8, 3), int8)
    x = net.pool(net.conv(net.input, 8), "AVERAGE")
    x = net.relu(net.conv(x, 8, act=build.NONE))
    x = net.op("HARD_SWISH", [net.depthwise(x)], net.shape(x), schema.HardSwishOptionsT())
    x = net.pool(net.pad(net.add(x, net.conv(x, 8))), "MAX")
    return net.done(_with_softmax(net, net.dense(net.mean(x), 5)))


BUILT = {
    **{f"v1 g{g}": lambda int8, g=g: build.shufflenet_v1(int8, g) for g in (2, 3)},
    "v1, shuffled later": lambda int8: build.shufflenet_v1(int8, 8, shuffle_first=False, relu_after=False),
    **{f"v2 {w}": lambda int8, w=w: build.shufflenet_v2(int8, wiring=w) for w in ("tensorpack", "megvii", "torchvision")},
    "pieces": _pieces,
}


@pytest.mark.parametrize("int8", [True, False], ids=["int8", "float"])
@pytest.mark.parametrize("network", BUILT)
def test_the_runtime_delegates_as_many_pieces_as_predicted(network, int8):
    as_delegated(BUILT[network](int8))


@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.one_of(random_graphs.models(), random_converted_graphs.models()))
def test_random_graphs_are_delegated_as_predicted(model):
    as_delegated(model)


@pytest.mark.parametrize("int8", [True, False], ids=["int8", "float"])
@pytest.mark.parametrize(
    "make",
    [
        *(lambda net, n=n: net.split(net.input, n) for n in (1, 2, 4, 6)),
        *(lambda net, n=n: [net.concat(*[net.input] * n)] for n in (2, 5, 6)),
        *(lambda net, k=k, s=s, kind=kind: [net.pool(net.input, kind, k, s)] for kind in ("MAX", "AVERAGE") for k, s in SIZES),
        *(lambda net, step=step: [net.strided_slice(net.input, 1, 9, step)] for step in (1, 2)),
        lambda net: [net.gather(net.input, [1, 0])],
        lambda net: net.split_v(net.input, 5, 7),
        *(lambda net, kind=kind: [net.op(kind, [net.input], net.shape(net.input))] for kind in ("ABS", "ELU", "EXP", "NEG")),
    ],
)
def test_limits_of_the_delegate(make, int8):
    net = build.Net((1, 8, 8, 12), int8)
    as_delegated(net.done(*make(net)))


@pytest.mark.parametrize("source, made", [("INT8", "UINT8"), ("UINT8", "INT8"), ("INT8", "INT8"), ("FLOAT32", "INT8")])
def test_quantizing_is_delegated_unless_it_recodes(source, made):
    net = build.Net((1, 8, 8, 3), True)
    ends = []
    for name in (source, made):
        quantization = None if name == "FLOAT32" else build.Quantization((0.05,), (121 if name == "UINT8" else -7,))
        ends.append(net.graph.add_tensor((1, 8, 8, 3), getattr(schema.TensorType, name), name, quantization))
    net.graph.subgraph.inputs = ends[:1]
    net.graph.operators.append(net.graph.operator("QUANTIZE", ends[:1], ends[1:], schema.QuantizeOptionsT()))
    model = net.done(ends[1])
    expected = source != "UINT8" and made != "UINT8"
    assert partitions(Graph(model)) == inspection.delegation(runtime.interpreter(model))[0] == expected


@settings(max_examples=30, deadline=None, derandomize=True)
@given(random_graphs.models())
def test_multiply_adds_are_those_of_the_anatomy_and_constants_count_once(model):
    graph = Graph(model)
    found = account(graph, CostModel())
    assert found.multiply_adds == inspection.multiply_adds(graph) > 0
    read = {int(t) for operator in graph.operators for t in operator.inputs if graph.constant(int(t)) is not None}
    assert found.parameters == sum(graph.constant(t).nbytes for t in read) < len(model)
    assert found.milliseconds == pytest.approx(found.cost / Target.of("phone").per_millisecond)


def test_multiply_adds_by_hand():
    net = build.Net((1, 8, 6, 4), False)
    x = net.depthwise(net.conv(net.input, 6, 3, 2, groups=2), 5)
    model = net.done(net.dense(net.mean(x), 7))
    pixels = 4 * 3
    assert account(Graph(model), CostModel()).multiply_adds == pixels * 6 * 9 * 2 + pixels * 6 * 25 + 6 * 7


@pytest.mark.parametrize("target", names())
@pytest.mark.parametrize("int8", [True, False], ids=["int8", "float"])
def test_each_operator_costs_something_and_more_of_it_costs_more(target, int8):
    model = CostModel(1, Target.of(target))

    def costs(side: int) -> list[float]:
        net = build.Net((1, side, side, 8), int8)
        halves = net.split(net.conv(net.input, 16, groups=2), 2)
        x = net.concat(net.depthwise(net.pad(halves[0])), net.pad(net.slice(net.gather(halves[1], range(6)), 1, 4)))
        x = net.add(net.pool(net.shuffle(x, 2), "AVERAGE"), net.relu(net.pool(x)))
        graph = Graph(net.done(_with_softmax(net, x), net.mean(x)))
        return [operator_cost(graph, operator, model) for operator in graph.operators]

    assert all(0 < small < large for small, large in zip(costs(6), costs(24), strict=True))


def test_threads_share_the_work_and_pay_for_meeting():
    graph = Graph(build.shufflenet_v2(True, size=224))
    one, two, four = (account(graph, CostModel(n)).cost for n in (1, 2, 4))
    assert one / 2 < two < one and one / 4 < four < two
    target = Target.of("phone")
    assert two >= one / 2 + target.synchronization


def test_what_a_split_costs_is_near_what_slices_cost():
    net = build.Net((1, 28, 28, 60), True)
    whole = Graph(net.done(*net.split(net.input, 2)))
    net = build.Net((1, 28, 28, 60), True)
    parts = Graph(net.done(net.slice(net.input, 0, 30), net.slice(net.input, 30, 30)))
    for name in names():
        one, two = (account(graph, CostModel(1, Target.of(name))).cost for graph in (whole, parts))
        assert 0.4 < one / two < 1.6, name
