"""Whatever the graph and whatever the target: the result computes the same, and is never predicted slower than what came in."""

from collections.abc import Iterable

import pytest
import random_converted_graphs
import random_graphs
import tflite_builder as build
from ai_edge_litert import schema_py_generated as schema
from amount import examples, sampled
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from export.flatbuffer.graph import Graph
from export.flatbuffer.model import Step
from export.measure import timing
from export.optimize import equality, optimize, pass_manager, summary
from export.optimize.pass_manager import Pipeline
from export.optimize.passes import Pass
from export.optimize.passes.fold_columns import reshape
from export.optimize.predict import account
from export.optimize.targets import PHONE, Target, names
from export.optimize.targets.cost_model import CostModel

# Graphs that the other property tests draw, and those whose maps shrink, so that pools, borders and later shuffles occur.
ANY = st.one_of(random_graphs.models(), random_converted_graphs.models())


@st.composite
def shrinking(draw) -> bytes:
    """A small network of strided operators and shuffles."""
    net = build.Net((1, draw(st.integers(4, 12)), draw(st.integers(4, 12)), draw(st.integers(1, 4))), draw(st.booleans()))
    x = net.conv(net.input, draw(st.sampled_from([8, 12])), 3, draw(st.integers(1, 2)), **draw(_QUANTIZATIONS))
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["average", "max", "shuffled depthwise", "grouped", "padded", "relu", "softmax"]))
        kernel, stride = draw(st.integers(1, 4)), draw(st.integers(1, 3))
        if kind in ("average", "max"):
            x = net.pool(x, "MAX" if kind == "max" else "AVERAGE", kernel, stride)
        elif kind == "shuffled depthwise":
            x = net.depthwise(net.shuffle(x, draw(st.sampled_from([2, 4])), draw(st.booleans())), 3, stride)
        elif kind == "grouped":
            x = net.conv(net.shuffle(net.conv(x, 8, groups=2), 2), 12, groups=4)
        elif kind == "padded":
            x = net.conv(net.pad(x), 8, 3, stride, padding=build.VALID)
        elif kind == "relu":
            x = net.relu(x, scale=0.04, zero_point=-128)
        else:
            beta = build.options(schema.SoftmaxOptionsT, beta=1.0)
            x = net.op("SOFTMAX", [x], net.shape(x), beta, scale=1 / 256, zero_point=-128)
    return net.done(x, net.dense(net.mean(x), 3))


_QUANTIZATIONS = st.sampled_from([{}, {"scale": 0.03, "zero_point": -128}, {"scale": 0.1, "zero_point": 12}])


def texts(steps: Iterable[Step]) -> dict[str, str]:
    return {step.name: step.text for step in steps}


def check(model: bytes, target: str, threads: int = 1) -> tuple[bytes, list[Step]]:
    """Optimizes and checks everything that is promised of the result."""
    cost = CostModel(threads, Target.of(target))
    limit = cost.target.growth * len(model)
    result, steps = Pipeline(cost, limit=limit).run(model)
    # The check at the end of each pass is a safety net: nothing may fall into it, but for what was made too large.
    caught = [s.text for s in steps if s.text.startswith(("undone", "left alone")) and "the limit is" not in s.text]
    assert not caught, caught
    before, after = account(Graph(model), cost), account(Graph(result), cost)
    assert after.cost < before.cost or result == model, steps
    assert len(result) <= limit or result == model
    if result == model:
        assert not any(s.changed for s in steps)
        assert all(s.text.startswith(("no gain on ", "left alone: the file would have")) for s in steps if s.text), steps
    else:
        rounding = {s.name for s in steps if "differs by at most" in s.text and "quanta" in s.text}
        difference = equality.compare(model, result, 4, threads)
        assert difference.tolerable or (rounding and rounding <= _ROUNDS), (str(difference), steps)
    return result, steps


_ROUNDS = {p.name for p in pass_manager.PASSES if p.rounds}


@pytest.mark.parametrize("target", names())
@settings(max_examples=examples(12), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(model=st.one_of(ANY, shrinking()), threads=st.sampled_from([1, 1, 2]))
def test_no_random_graph_becomes_slower(target, model, threads):
    note(str([f"{Graph(model).kind(o)}{list(o.inputs)}->{list(o.outputs)}" for o in Graph(model).operators]))
    check(model, target, threads)


NETWORKS = {
    **{f"v1 g{g}": lambda int8, g=g: build.shufflenet_v1(int8, g, size=24) for g in (2, 3, 8)},
    "v1 g3, rank 5": lambda int8: build.shufflenet_v1(int8, 3, 24, rank=5, shuffle_first=False, relu_after=False),
    **{
        f"v2 {wiring}": lambda int8, wiring=wiring: build.shufflenet_v2(int8, (16, 32), (2, 2), wiring, size=24)
        for wiring in ("tensorpack", "megvii", "torchvision")
    },
}
# Floats are alike on all phones.
CASES = [(True, PHONE), *((True, name) for name in names() if name != PHONE), (False, PHONE), (False, "x86_avx2")]
SAMPLE = ("v1 g3", "v2 tensorpack")  # on every target; the others on the default one


@pytest.mark.parametrize("network, case", sampled(lambda network, case: network in SAMPLE or case == CASES[0], NETWORKS, CASES))
def test_no_network_becomes_slower(network, case):
    int8, target = case
    model = NETWORKS[network](int8)
    result, steps = check(model, target)
    difference = equality.compare(model, result, 4)
    assert difference.quanta == 0 and difference.relative <= equality.TOLERANCE
    cost = CostModel(1, Target.of(target))
    # In floating point a shuffle may cost less than what would replace it, or the file would grow too much.
    assert not int8 or account(Graph(result), cost).cost < 0.97 * account(Graph(model), cost).cost, steps


def test_where_nothing_helps_the_bytes_come_back_and_it_is_said():
    net = build.Net((1, 7, 7, 16), True)
    model = net.done(net.conv(net.depthwise(net.conv(net.input, 16)), 16))
    for target in names():
        assert check(model, target)[0] == model
    for target in (PHONE, "x86_avx2"):
        result = optimize(model, target=target)
        assert result.model == model and result.ratio == 1
        told = "\n".join(summary.lines(result))
        assert f"predicted for {target} " in told and "(1.00) ms" in told and "measured on this machine: " in told


def test_the_report_tells_predictions_from_measurements():
    result = optimize(build.shufflenet_v2(True), target="phone")
    work, predicted, measured = summary.lines(result)
    before, after = result.predicted
    assert f"multiply-adds: {before.multiply_adds:,} -> {after.multiply_adds:,}" in work and f"{after.parameters:,}" in work
    assert predicted.startswith("predicted for phone (Arm Cortex-A76") and "modelled, not measured" in predicted
    assert f"({after.milliseconds / before.milliseconds:.2f}) ms" in predicted and result.ratio < 1
    assert measured.startswith("measured on this machine: ") and f"{result.measured[1]:.2f}" in measured


def _in_vain(graph: Graph, model: CostModel) -> str:
    """Puts a needless RESHAPE before each convolution."""
    for operator in [o for o in graph.operators if graph.kind(o) == "CONV_2D"]:
        x = int(operator.inputs[0])
        same = graph.add_tensor(graph.shape(x), graph.type(x), "same", graph.quantization(x))
        graph.operators.insert(0 if x in graph.inputs else graph.producers()[x] + 1, reshape(graph, x, same))
        operator.inputs = [same, *map(int, operator.inputs[1:])]
    return "in vain"


@pytest.mark.parametrize("role", ["prepares", "delegates", "neither"])
def test_a_pass_that_does_not_pay_is_left_out_and_the_others_stay(small, monkeypatch, role):
    passes = (Pass("vanity", _in_vain, **{role: True} if role != "neither" else {}), *pass_manager.PASSES)
    expected, _ = Pipeline(CostModel()).run(small)
    monkeypatch.setattr(pass_manager, "PASSES", passes)
    result, steps = Pipeline(CostModel()).run(small)
    assert result == expected != small
    # Of a pass that prepares others the whole way decides, on which another one took the RESHAPE away again.
    assert texts(steps)["vanity"].startswith("in vain" if role == "prepares" else "no gain on phone")
    monkeypatch.setattr(pass_manager, "PASSES", passes[:1])
    result, steps = Pipeline(CostModel()).run(small)
    assert result is small and [(s.changed, s.text.startswith("no gain on phone")) for s in steps] == [(False, True)]


@pytest.fixture(scope="module")
def small() -> bytes:
    net = build.Net((1, 9, 9, 3), True)
    x = net.conv(net.shuffle(net.pool(net.conv(net.input, 12), "AVERAGE"), 3), 8)
    return net.done(net.dense(net.mean(x), 4))


def test_where_the_original_is_measured_fastest_it_comes_back(small, monkeypatch):
    monkeypatch.setattr(timing, "medians", lambda models, threads: [1.0 + (model != small) for model in models])
    ways = Pipeline(CostModel())
    assert ways.run(small)[0] != small
    result, steps = ways.fastest_here(small)
    assert result is small and steps[-1].name == "measurement" and "the file stays unchanged" in steps[-1].text
    assert "1.00 ms unchanged" in steps[-1].text and not any(s.changed for s in steps)


def test_the_candidate_that_is_measured_fastest_comes_back(small, monkeypatch):
    tried = []

    def medians(models, threads):
        tried[:] = models
        return [3.0, 2.0, *[1.0] * (len(models) - 2)]

    monkeypatch.setattr(timing, "medians", medians)
    result, steps = Pipeline(CostModel()).fastest_here(small)
    assert len(set(tried)) == len(tried) >= 3 and tried[0] == small
    assert result == tried[2] and "of " in steps[-1].text and "2.00, 1.00" in steps[-1].text
    assert any("slower on this machine" in s.text for s in steps)
    assert equality.compare(small, result).tolerable


def test_nothing_is_measured_where_there_is_no_alternative(monkeypatch):
    monkeypatch.setattr(timing, "medians", lambda *_: pytest.fail("measured"))
    net = build.Net((1, 6, 6, 16), True)
    model = net.done(net.conv(net.input, 16))
    assert Pipeline(CostModel()).fastest_here(model)[0] == model


def test_the_measurement_has_the_last_word_only_on_the_target_that_is_this_machine(small):
    made = Target.of("x86_avx2")
    here = Target.from_json(made.to_json().replace('"x86_avx2"', '"host"'))
    assert here.is_here() and not made.is_here()
    assert "measurement" not in texts(optimize(small, target=made).steps)
    assert "ms unchanged" in texts(optimize(small, target=here).steps)["measurement"]
