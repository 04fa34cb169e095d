"""ShuffleNet V2's guidelines measured again: the experiments are the paper's, and what is said follows from the figures."""

import csv
import importlib.util
import pathlib

import numpy as np
import pytest
from PIL import Image

import shufflenet_tf as st
from export.flatbuffer import runtime
from export.flatbuffer.graph import Graph
from papers.guidelines import draw, graphs, verdicts
from papers.guidelines.breakdown import Breakdown, alone, breakdown, category
from papers.guidelines.experiments import BLOCKS, EXPERIMENTS, SIZE

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.key)
def test_variants_cost_the_same(experiment):
    """As many multiply-adds as the first one's, but for whole channels: the premise of G1, G2 and G3 (G4 adds none)."""
    models = [graphs.network(experiment, variant, 2, size=2, blocks=1) for variant in experiment.variants]
    adds = np.array([st.complexity.multiply_adds(model) for model in models])
    assert np.abs(adds / adds[0] - 1).max() < 0.06


def test_the_papers_ratios():
    """As printed: G1's 1:12 on the GPU at x1, G4's both on ARM at c = 128."""
    g1, _, _, g4 = EXPERIMENTS
    assert g1.paper("gpu")[3, 0] == pytest.approx(1480 / 748)
    assert g4.paper("arm")[3, 2] == pytest.approx(5.4 / 5.0)
    assert (g1.paper("arm")[0] == 1).all()
    assert (SIZE, BLOCKS) == (56, 10)


@pytest.mark.parametrize(
    ("key", "row", "counts"),
    [
        (2, 2, {"CONV_2D": 8}),
        (2, 4, {"CONV_2D": 8, "ADD": 6}),
        (3, 1, {"CONV_2D": 6}),  # a ReLU is fused
        (3, 3, {"CONV_2D": 6, "ADD": 2}),
    ],
)
def test_graphs_hold_what_is_compared(key, row, counts):
    network = graphs.network(EXPERIMENTS[key], EXPERIMENTS[key].variants[row], 0, size=4, blocks=2)
    assert Graph(graphs.convert(network, "float32")).counts() == counts


def test_words():
    slower = np.array([[1.0, 1.0], [1.2, 1.1], [2.0, 1.5]])
    assert verdicts.verdict(slower) == "holds"
    assert verdicts.verdict(np.minimum(slower, 1.15)) == "holds"
    assert verdicts.verdict(np.array([[1.0], [1.01], [1.5]])) == "holds in part"
    assert verdicts.verdict(np.array([[1.0], [1.01], [0.7]])) == "does not hold"
    (said,) = verdicts.sentences(EXPERIMENTS[1:2], {("G2", "int8"): np.array([[1.0], [1.1], [1.2], [0.5]])})
    assert "G2" in said and "holds in part in int8" in said and "0.50 (8)" in said and "1.36" in said


def test_operators_alone_compute_what_they_do_in_the_graph():
    experiment = EXPERIMENTS[3]
    content = graphs.convert(graphs.network(experiment, experiment.variants[3], 0, size=4, blocks=1), "float32")
    whole = runtime.interpreter(content)
    (values,) = runtime.random_inputs(whole, 1)
    expected = runtime.run(whole, values)[0]
    kinds = [Graph(content).kind(operator) for operator in Graph(content).operators]
    assert kinds == ["CONV_2D", "CONV_2D", "CONV_2D", "ADD"]
    x = values[0]
    for i in range(3):
        (x,) = runtime.run(runtime.interpreter(alone(content, i)), [x])
    last = runtime.interpreter(alone(content, 3))
    np.testing.assert_allclose(runtime.run(last, [values[0], x])[0], expected, rtol=1e-5, atol=1e-5)


def test_breakdown(tmp_path):
    experiment = EXPERIMENTS[3]
    content = graphs.convert(graphs.network(experiment, experiment.variants[3], 0, size=8, blocks=2), "int8")
    found = breakdown(content, runs=3)
    assert set(found.milliseconds) == {"convolution", "element-wise"}
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.whole > 0
    assert (category("TRANSPOSE"), category("SOFTMAX")) == ("transpose, reshape", "other")
    draw.breakdowns({"a": found, "b": Breakdown({"transpose, reshape": 1.0, "other": 3.0}, 5.0)}, tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as image:
        assert min(image.size) > 200


def test_program(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("benchmarks_guidelines", ROOT / "benchmarks/guidelines.py")
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    given = ["--quick", "--parts=G4", "--runs=2", f"--output={tmp_path}", f"--files={tmp_path / 'files'}"]
    assert program.run(["guidelines.py", *given]) == 0
    assert len(list((tmp_path / "files").iterdir())) == 8
    rows = list(csv.DictReader((tmp_path / "guidelines.csv").open()))
    assert [(row["variant"], row["kind"]) for row in rows] == [
        (label, kind) for kind in ("float32", "int8") for label in ("none", "ReLU", "short-cut", "both")
    ]
    assert {row["delegated"] for row in rows} == {"all, in 1 partition"}
    assert rows[0]["ratio"] == "1.0" and float(rows[3]["paper_arm"]) == pytest.approx(66.3 / 56.7, abs=1e-4)
    assert (tmp_path / "guidelines.png").stat().st_size > 10_000
    said = capsys.readouterr().out
    assert "G4" in said and "in float32" in said and "in int8" in said
    assert program.run(["guidelines.py", "--parts=G5"]) == 2
