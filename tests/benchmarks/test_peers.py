"""The comparison with other people's engines, of which none needs to be there: ratios, reasons, refusals, the network."""

import csv
import dataclasses
import json
import pathlib
import sys

import numpy as np
import pytest

from benchmarks.peers import __main__ as program
from benchmarks.peers import engines, measure, report
from benchmarks.peers.network import Weights, shufflenet_v2
from benchmarks.peers.prepare import folded, textured
from shufflenet_tf.cli import run
from shufflenet_tf.errors import UserError

SIDE = 32


def row(engine: str, wall: float = 0.0, cpu: float = 0.0, **given) -> report.Row:
    settings = {"model": "net", "precision": "int8", "threads": 1, "title": engine.title(), **given}
    times = {} if given.get("reason") else {"wall": (wall, 9.0, wall), "cpu": (cpu, cpu, 9.0), "version": "1.2"}
    return report.Row(engine=engine, **settings, **times)


ROWS = [
    row("ours", 2.0, 1.8),
    row("fast", 4.0, 1.5),
    row("slow", 3.0, 3.6),
    row("absent", reason="not installed: there is no module absent"),
    row("ours", 3.0, 5.0, threads=2),
    row("fast", 2.0, 9.0, threads=2),
]


def test_the_table_has_ratios_within_a_group_and_a_reason_for_each_missing_time():
    lines = [[cell.strip() for cell in line.split("|")[3:-1]] for line in report.table(ROWS).splitlines()[2:]]
    assert lines == [
        ["1", "Ours", "2.00 / 2.00", "1.80 / 1.80", "", "0.0e+00"],
        ["1", "Slow", "3.00 / 3.00", "3.60 / 3.60", "0.67", "0.0e+00"],
        ["1", "Fast", "4.00 / 4.00", "1.50 / 1.50", "0.50", "0.0e+00"],
        ["1", "Absent", "", "", "", "not installed: there is no module absent"],
        ["2", "Fast", "2.00 / 2.00", "9.00 / 9.00", "1.50", "0.0e+00"],
        ["2", "Ours", "3.00 / 3.00", "5.00 / 5.00", "", "0.0e+00"],
    ]


def test_cpu_time_chooses_another_best_for_one_thread_only():
    one, two = report.verdicts(ROWS)
    assert one == "net int8, 1 thread: ours takes 0.67 of the time of the best, Slow."
    assert two == "net int8, 2 threads: ours takes 1.50 of the time of the best, Fast."
    assert report.verdicts(ROWS, cpu_time=True) == [
        "net int8, 1 thread: ours takes 1.20 of the time of the best, Fast.",
        two,
    ]


def test_verdicts_without_a_rival_or_without_ours():
    assert report.verdicts([ROWS[0], ROWS[3]]) == ["net int8, 1 thread: there is nothing to compare with."]
    assert report.verdicts([row("ours", reason="broken"), ROWS[1]]) == ["net int8, 1 thread: ours was not timed."]
    assert report.ratio(ROWS[1], [ROWS[1]], False) is None


def test_csv_has_every_row_and_names_the_processor(tmp_path):
    report.write_csv(ROWS, tmp_path / "peers.csv")
    with open(tmp_path / "peers.csv", newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["engine"] for line in lines] == [r.engine for r in ROWS]
    assert lines[1]["ours_of_it"] == "0.5" and lines[1]["cpu_ms"] == "1.5" and lines[1]["wall_min_ms"] == "4.0"
    assert lines[3]["reason"] == ROWS[3].reason and lines[3]["wall_ms"] == lines[3]["ours_of_it"] == ""
    assert {line["processor"] for line in lines} == {report.processor()}


def test_processors_of_both_kinds_are_named(tmp_path):
    x86, arm = tmp_path / "x86", tmp_path / "arm"
    x86.write_text(
        "cpu family\t: 25\nmodel\t\t: 1\nmodel name\t: Some Server\nflags\t\t: fpu avx2 sse4a fma\nmodel name\t: other\n"
    )
    arm.write_text("Features\t: fp asimd asimddp\nCPU part\t: 0xd0b\n")
    assert report.processor(x86).startswith("Some Server, cpu family 25, model 1, ")
    assert report.processor(x86).endswith(", avx2 fma")
    assert report.processor(arm).endswith(", asimd asimddp")
    assert report.processor(tmp_path / "none").endswith("no known instruction sets")


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    np.save(tmp_path / "images.npy", np.zeros((1, SIDE, SIDE, 3), np.float32))
    np.save(tmp_path / "logits.npy", np.array([[1.0, -2.0, 3.0]], np.float32))
    return tmp_path


@pytest.fixture
def stub(monkeypatch):
    """Returns a function that adds an engine which gives certain logits, or raises an exception."""

    def add(name: str, outcome) -> None:
        def load(job):
            if isinstance(outcome, Exception):
                raise outcome
            return engines.Ready(lambda: None, lambda: np.array(outcome, np.float32))

        monkeypatch.setitem(engines.ENGINES, name, engines.Engine(name, "no-such-package", load))

    return add


def test_an_engine_that_computes_something_else_is_not_timed(stub, folder):
    stub("right", [1, -2, 3])
    stub("wrong", [1, -2, 2.99])
    stub("empty", [1, -2])
    stub("broken", [1, -2, np.nan])
    stub("missing", ModuleNotFoundError("No module named 'x'", name="x"))
    stub("failing", RuntimeError("no luck\nand a trace"))
    names = ["right", "wrong", "empty", "broken", "missing", "failing"]
    answers = dict(zip(names, measure.timed([(name, "float32") for name in names], folder, 1, 3), strict=True))
    assert len(answers["right"].pop("wall")) == len(answers["right"].pop("cpu")) == 3
    assert answers["right"] == {"difference": 0.0, "version": ""}
    assert answers["wrong"] == {"reason": "refused: its logits differ from Keras's by 0.0027, and 0.0001 is allowed"}
    assert all(answers[name]["reason"].startswith("refused: ") for name in ("empty", "broken"))
    assert answers["missing"] == {"reason": "not installed: there is no module x"}
    assert answers["failing"] == {"reason": "RuntimeError: no luck"}
    assert "reason" not in measure.timed([("wrong", "int8")], folder, 1, 1)[0]  # within what quantization may cost


def test_a_failed_conversion_is_told(stub, folder, monkeypatch):
    def convert(job):
        raise ValueError("unknown operator")

    stub("one", [1, -2, 3])
    assert measure.converted("one", engines.Job(folder, "float32")) == {}
    monkeypatch.setitem(engines.ENGINES, "one", dataclasses.replace(engines.ENGINES["one"], convert=convert))
    assert measure.converted("one", engines.Job(folder, "float32")) == {"reason": "ValueError: unknown operator"}


def test_an_engine_that_takes_its_process_along_is_a_row(folder, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'assertion failed' >&2\nkill -ABRT $$\n")
    python.chmod(0o755)
    request = {"task": "time", "folder": str(folder), "rows": [], "threads": 1, "runs": 1}
    assert program.ask(str(python), request) == {"reason": "its process ended by signal 6: assertion failed"}
    assert program.ask(sys.executable, request) == []


def test_reasons_become_rows(monkeypatch, tmp_path):
    """The whole of `measure` but for TensorFlow's part and the measuring process."""

    def ask(python, request, timeout=0):
        if request["task"] == "convert":
            return {"reason": "no"} if request["rows"] == [("litert", "int8")] else {}
        return [{"wall": [1.0], "cpu": [1.0], "difference": 0.0, "version": "2"} for _ in request["rows"]]

    monkeypatch.setattr(program, "ask", ask)
    monkeypatch.setattr("benchmarks.peers.prepare.prepare", lambda *given: None)
    program.FLAGS(["peers", "--runs=1"])
    rows = program.measure("net", ["ours", "litert", "ncnn"], [1, 2], tmp_path)
    program.FLAGS.unparse_flags()
    assert len(rows) == 12
    reasons = {(r.engine, r.precision): r.reason for r in rows if r.reason}
    assert reasons == {("litert", "int8"): "no", ("ncnn", "int8"): engines.ENGINES["ncnn"].without}


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--engines=tvm", "names others"),
        ("--threads=1,x", "no list of numbers"),
        ("--size=100", "multiple of 32"),
        ("--models=resnet", "resnet"),
        ("--peers_python=no/python", "no Python at no/python"),
    ],
)
def test_wrong_flags_are_told_in_one_sentence(flag, told, capsys):
    assert run("benchmarks.peers", "", program.FLAGS, program.main, ["peers", *flag.split()]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("benchmarks.peers: ") and told in last


class _NumpyOperations:
    """The network's operations by the book, on [1, channels, height, width]."""

    def __init__(self, weights: Weights):
        self.weights = weights

    def conv(self, x, name, stride=1, relu=True):
        kernel, bias = (self.weights.arrays[f"{name}/{leaf}"] for leaf in "Wb")
        x = self._windows(x, kernel.shape[-1], stride, self.weights.padding(name, stride), 0.0)
        groups = len(x[0]) // kernel.shape[1]
        x = np.einsum("nchwyx,cyx->nchw", x, kernel[:, 0]) if groups > 1 else np.einsum("nihwyx,oiyx->nohw", x, kernel)
        x = x + bias[:, None, None]
        return np.maximum(x, 0) if relu else x

    def max_pool(self, x):
        return self._windows(x, 3, 2, self.weights.edge(3, 2), -np.inf).max((-2, -1))

    @staticmethod
    def _windows(x, kernel, stride, edge, border):
        x = np.pad(x, ((0, 0), (0, 0), edge, edge), constant_values=border)
        return np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), (2, 3))[:, :, ::stride, ::stride]

    def halves(self, x):
        return np.split(x, 2, 1)

    def concat(self, one, other):
        return np.concatenate([one, other], 1)

    def shuffle(self, x):
        order = np.arange(x.shape[1]).reshape((2, -1) if self.weights.interleave else (-1, 2)).T.ravel()
        return x[:, order]

    def classify(self, x, name):
        return x.mean((2, 3)) @ self.weights.arrays[f"{name}/W"].T + self.weights.arrays[f"{name}/b"]


@pytest.mark.parametrize("wiring", ["torchvision", "tensorpack"])
def test_the_network_of_the_peers_is_that_of_keras(wiring, tmp_path):
    import shufflenet_tf as st
    from shufflenet_tf.weights import canonical

    side = 64
    settings = {"input_shape": (side, side, 3), "classes": 7, "classifier_activation": None}
    model = st.create_model("shufflenet_v2_0.5x", wiring=wiring, **settings)
    images = textured(side, 4)
    model(images, training=True)  # moves the statistics of normalization away from 0 and 1
    folded(canonical.arrays(model), st.Wiring.of(wiring), side).save(tmp_path / "weights.npz")
    weights = Weights.load(tmp_path / "weights.npz")
    logits = shufflenet_v2(_NumpyOperations(weights), images[:1].transpose(0, 3, 1, 2))
    assert measure.difference(logits, model(images[:1]).numpy()) < 1e-5


def test_other_networks_and_wirings_are_refused():
    import shufflenet_tf as st
    from shufflenet_tf.weights import canonical

    for name, wiring in (("shufflenet_v1_0.5x_g3", "tensorpack"), ("shufflenet_v2_0.5x", "megvii")):
        model = st.create_model(name, input_shape=(SIDE, SIDE, 3), classes=2, wiring=wiring)
        with pytest.raises(UserError, match="plain ShuffleNet V2"):
            folded(canonical.arrays(model), st.Wiring.of(wiring), SIDE)


def test_requests_and_answers_are_plain_json(stub, folder, monkeypatch):
    stub("one", [1, -2, 3])
    request = {"task": "time", "folder": str(folder), "rows": [["one", "float32"]], "threads": 1, "runs": 2}
    (answer,) = json.loads(json.dumps(measure.main(request)))
    assert len(answer["wall"]) == 2 and answer["difference"] == 0
    assert measure.main({**request, "task": "convert"}) == {}
