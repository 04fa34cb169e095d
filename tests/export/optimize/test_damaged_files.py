"""Whatever bytes come, the command ends with a result or with one clear sentence."""

import dataclasses
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tflite_builder as build
from ai_edge_litert import schema_py_generated as schema

import export.optimize as optimizer
from export.flatbuffer import validation
from export.flatbuffer.graph import Graph
from export.flatbuffer.model import Step
from export.optimize import optimize, process
from export.optimize.targets import PHONE, Account, Target
from shufflenet_tf.errors import UserError

ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def model() -> bytes:
    net = build.Net((1, 8, 8, 4), True)
    x = net.shuffle(net.concat(net.conv(net.input, 6), net.conv(net.input, 6)), 2)
    return net.done(net.dense(net.mean(net.conv(net.pool(net.depthwise(x)), 8)), 5))


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "doesn't begin like a .tflite file"),
        (b"hello world, this is text", "doesn't begin like a .tflite file"),
        (b"\x1c\0\0\0TFL3" + b"\xff" * 40, "damaged or cut off"),
    ],
)
def test_bytes_that_are_no_model_are_refused(data, reason):
    with pytest.raises(UserError, match=reason):
        optimize(data)


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_truncated_model_is_refused(model, part):
    with pytest.raises(UserError, match="can't be optimized"):
        optimize(model[: int(part * len(model))])


def test_no_threads_are_refused(model):
    with pytest.raises(UserError, match="threads=0"):
        optimize(model, threads=0)


def _changed(model: bytes, change) -> bytes:
    graph = Graph(model)
    change(graph)
    return graph.pack()


def _of_kind(graph: Graph, kind: str) -> schema.OperatorT:
    return next(operator for operator in graph.operators if graph.kind(operator) == kind)


def _shrink_weights(graph):
    weights = int(_of_kind(graph, "CONV_2D").inputs[1])
    buffer = graph.model.buffers[graph.subgraph.tensors[weights].buffer]
    buffer.data = buffer.data[:-3]


def _read_later(graph):
    _of_kind(graph, "CONV_2D").inputs = [graph.outputs[0], *_of_kind(graph, "CONV_2D").inputs[1:]]


def _without_weights(graph):
    _of_kind(graph, "CONV_2D").inputs = _of_kind(graph, "CONV_2D").inputs[:1]


def _huge(graph):
    graph.subgraph.tensors[graph.inputs[0]].shape = [1, 1 << 20, 1 << 20, 4]


def _no_scale(graph):
    graph.subgraph.tensors[graph.inputs[0]].quantization.scale = np.array([np.nan], np.float32)


@pytest.mark.parametrize(
    "change, reason",
    [
        (_shrink_weights, "a constant of shape"),
        (_read_later, "reads a tensor before it is computed"),
        (_without_weights, "lacks its weights or its output"),
        (_huge, "would take"),
        (_no_scale, "a scale is not a positive number"),
    ],
)
def test_what_is_wrong_inside_is_named(model, change, reason):
    with pytest.raises(validation.InvalidModel, match=reason):
        validation.parse(_changed(model, change))


def test_mutated_models_never_get_past_the_checks_and_crash_the_parser(model):
    rng = np.random.default_rng(1)
    for _ in range(300):
        data = bytearray(model)
        for _ in range(rng.integers(1, 6)):
            data[rng.integers(8, len(data))] ^= 1 << rng.integers(0, 8)
        try:
            validation.parse(bytes(data[: rng.integers(len(data) // 2, len(data) + 1)]))
        except validation.InvalidModel as error:
            assert "\n" not in str(error)


def test_mutated_models_never_crash_the_caller(model):
    rng = np.random.default_rng(2)
    for _ in range(5):
        data = bytearray(model)
        for _ in range(4):
            data[rng.integers(8, len(data))] ^= 1 << rng.integers(0, 8)
        try:
            assert optimize(bytes(data)).steps
        except UserError as error:
            assert str(error).count("\n") == 0


def test_a_pass_at_which_the_process_dies_is_left_out(model, monkeypatch):
    asked = []
    undone = Step("softmax", False, "undone")

    def work(data, threads, skipped, *_):
        asked.append(dict(skipped))
        if not skipped:
            return -11, [{"pass": "ReLU"}, {"pass": "softmax"}], b""
        predicted = [dataclasses.asdict(Account(1.0, 1.0, 1, 1))] * 2
        return (
            0,
            [{"steps": [dataclasses.asdict(undone)], "before": {}, "after": {}, "predicted": predicted, "measured": None}],
            data,
        )

    monkeypatch.setattr("export.optimize._work", work)
    assert optimize(model).steps == (undone,)
    assert asked == [{}, {"softmax": "made the interpreter crash"}]


def test_a_model_at_which_the_process_dies_is_refused(model, monkeypatch):
    monkeypatch.setattr("export.optimize._work", lambda *_: (-11, [], b""))
    with pytest.raises(UserError, match="the interpreter crashes on it; give"):
        optimize(model)


def test_too_little_memory_is_not_the_file_s_fault(model, monkeypatch):
    """The worker can't even load its libraries, or ends within a pass."""
    monkeypatch.setattr(optimizer, "_work", lambda *_: (process.NO_MEMORY, [], b""))
    with pytest.raises(MemoryError):
        optimize(model)


@pytest.mark.parametrize("said", ["MemoryError", "x.so: failed to map segment from shared object", "std::bad_alloc"])
def test_a_worker_without_memory_is_recognized(said, monkeypatch):
    start, script = subprocess.Popen, f"import sys; print({said!r}, file=sys.stderr); sys.exit(1)"
    monkeypatch.setattr(process.subprocess, "Popen", lambda _, **options: start([sys.executable, "-c", script], **options))
    assert process.work(b"", [], lambda step: 60.0, time.monotonic() + 60)[0] == process.NO_MEMORY


def test_a_scale_that_crashes_the_interpreter_is_named():
    net = build.Net((1, 8, 8, 4), True)
    x = net.conv(net.input, 4)
    model = net.done(net.op("ADD", [x, x], net.shape(x), schema.AddOptionsT(), scale=1e-9))
    with pytest.raises(UserError, match=r"crashes on it, and operator 1, ADD, has 't\d+' of scale 1e-09, so .* 5e\+07"):
        optimize(model)


@pytest.mark.parametrize("step", ["reference kernels", "ReLU"])
def test_a_step_that_takes_too_long_is_left_out_and_blamed(model, monkeypatch, step):
    limit = optimizer._limit
    monkeypatch.setattr(optimizer, "_limit", lambda name: 0.0 if name == step else limit(name))
    result = optimize(model)
    assert "took more than 0 seconds" in next(s.text for s in result.steps if s.name == step)
    assert "TRANSPOSE" not in result.after


def test_when_all_time_is_over_the_file_stays_as_it_was(model, monkeypatch):
    monkeypatch.setattr(optimizer, "_work", lambda *_: (process.TIMED_OUT, [{"counts": {"ADD": 1}}, {"pass": "ReLU"}], b""))
    monkeypatch.setattr(optimizer, "TIMEOUT", 0.0)
    result = optimize(model)
    assert result.model == model and result.before == result.after == {"ADD": 1}
    assert result.steps == (
        Step("all", False, "left alone: the time limit of 0 seconds for all passes was reached during 'ReLU'"),
    )


def test_an_interruption_ends_all_workers(monkeypatch):
    """Else Ctrl-C would wait for them, up to 15 minutes."""
    processes, start = [], subprocess.Popen

    def wait_for_ever(command, **options):
        processes.append(start([sys.executable, "-c", "import time; time.sleep(300)"], **options))
        return processes[-1]

    monkeypatch.setattr(process.subprocess, "Popen", wait_for_ever)
    with pytest.raises(KeyboardInterrupt), optimizer.in_background(1, Target.of(PHONE), timed=False) as begin:
        jobs = [begin(b"a"), begin(b"b")]
        while len(processes) < 2:
            time.sleep(0.01)
        raise KeyboardInterrupt
    assert [job.exception().__class__ for job in jobs] == [process.Stopped] * 2
    assert [process.returncode for process in processes] == [-signal.SIGKILL] * 2


def _run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "export.optimize", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_tells_what_it_did(model, tmp_path):
    (tmp_path / "in.tflite").write_bytes(model)
    done = _run(str(tmp_path / "in.tflite"), "-o", str(tmp_path / "out.tflite"))
    assert done.returncode == 0, done.stderr
    assert "channel movement: 2 RESHAPE, 1 TRANSPOSE, 1 CONCATENATION ->" in done.stdout
    assert "TRANSPOSE" not in Graph((tmp_path / "out.tflite").read_bytes()).counts()


def test_the_command_refuses_in_one_sentence_and_leaves_the_output_alone(tmp_path):
    (tmp_path / "in.tflite").write_bytes(b"nonsense")
    (tmp_path / "out.tflite").write_bytes(b"old")
    done = _run(str(tmp_path / "in.tflite"), "-o", str(tmp_path / "out.tflite"))
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("export.optimize: ") and done.stderr.count("\n") == 1
    assert (tmp_path / "out.tflite").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 2
