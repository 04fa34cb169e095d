"""python -m export.calibrate: the graphs can be run, times become the costs that made them, and nothing is left half-made."""

import json

import numpy as np
import pytest

from export import calibrate
from export.flatbuffer import runtime
from export.flatbuffer.graph import Graph
from export.optimize import resolve
from export.optimize.predict import operator_cost
from export.optimize.targets import HOST, Target, host, names
from export.optimize.targets.cost_model import CostModel
from export.optimize.targets.fitting import InvalidTimes
from export.optimize.targets.specimens import INVOKE, PARTITION, specimens
from shufflenet_tf.errors import UserError

ALL = {specimen.name: specimen for specimen in specimens()}
INVOCATION = 500.0  # of the made-up times, in the target's unit: what a run takes besides its operators


@pytest.fixture(scope="module")
def graphs() -> dict[str, Graph]:
    return {name: Graph(specimen.make()) for name, specimen in ALL.items()}


def times_of(graphs: dict[str, Graph], target: Target) -> dict[str, float]:
    """Returns what the specimens take, if the target is right."""
    model = CostModel(1, target)
    times = {}
    for name, graph in graphs.items():
        work = sum(operator_cost(graph, operator, model) for operator in graph.operators)
        pieces = ALL[name].sizes.get("partitions", 1)
        times[name] = INVOCATION + work + pieces * target.partition
    return times


@pytest.fixture(scope="module")
def times(graphs) -> dict[str, float]:
    return {name: round(time, 2) for name, time in times_of(graphs, Target.of("x86_avx2")).items()}


def run(*arguments) -> int:
    return calibrate.run(["export.calibrate", *map(str, arguments)])


def complaint(capsys) -> str:
    """Returns the only line that was told."""
    told = capsys.readouterr()
    lines = [line for line in told.err.splitlines() if line.startswith("export.calibrate: ")]
    assert len(lines) == 1 and "Traceback" not in told.err, told.err
    return lines[0]


def test_all_graphs_are_written_and_run(tmp_path, capsys):
    assert run(f"--write={tmp_path / 'graphs'}") == 0
    assert f"{len(ALL)} graphs are in" in capsys.readouterr().out
    written = {path.stem: path for path in (tmp_path / "graphs").iterdir()}
    assert written.keys() == ALL.keys() and len(ALL) > 300
    sample = {specimen.type + specimen.operator: name for name, specimen in ALL.items()}  # one of each operator and type
    for name in sample.values():
        runner = runtime.interpreter(written[name].read_bytes())
        outputs = runtime.run(runner, runtime.random_inputs(runner, 1)[0])
        assert all(np.isfinite(values).all() for values in outputs), name


def test_the_sizes_that_are_fitted_to_are_those_of_the_graphs(graphs):
    for name, specimen in ALL.items():
        graph = graphs[name]
        (x, *_), y = (graph.shape(int(t)) for t in graph.inputs), graph.shape(graph.outputs[0])
        if specimen.operator in ("depthwise", "max_pool", "average_pool", "add", "pad", "convolution"):
            assert np.prod(y[:3]) == specimen.sizes["pixels"], name
        if specimen.operator == "convolution":
            assert specimen.sizes["inputs"] * specimen.sizes["groups"] == x[3], name
            assert specimen.sizes["outputs"] * specimen.sizes["groups"] == y[3], name


@pytest.mark.parametrize("name", names())
def test_times_that_a_target_predicts_are_fitted_by_that_target(graphs, name):
    known = Target.of(name)
    found, fits = host.target(times_of(graphs, known), "again", "a processor", "2.3.0", gigahertz=2.0)
    assert (found.name, found.processor, found.litert, found.unit) == ("again", "a processor", "2.3.0", "cycles")
    before, after = CostModel(1, known), CostModel(1, found)
    for specimen in ALL.values():
        if specimen.operator not in (INVOKE, PARTITION):
            (operator,) = (graph := graphs[specimen.name]).operators
            expected = operator_cost(graph, operator, before)
            assert operator_cost(graph, operator, after) == pytest.approx(expected, rel=0.01), specimen.name
    assert {fit.type for fit in fits} == {"int8", "float32"}
    assert all(fit.count >= 3 and fit.median <= 0.01 for fit in fits)


def test_a_file_of_times_becomes_a_target(times, tmp_path, capsys):
    (tmp_path / "times.json").write_text(json.dumps(times | {"of another version": 3.0}))
    given = [f"--times={tmp_path / 'times.json'}", "--processor=Some phone", "--litert=2.1.0"]
    assert run(*given, f"--output={tmp_path / 'new' / 'phone.json'}") == 0
    told = capsys.readouterr().out
    assert "Some phone, LiteRT 2.1.0" in told and "int8 convolution" in told and "float32 softmax" in told
    found = Target.of(str(tmp_path / "new" / "phone.json"))
    assert (found.name, found.processor, found.litert) == ("phone", "Some phone", "2.1.0")
    assert found.measured and not found.is_here() and "measured by export.calibrate" in found.source
    assert run(*given, f"--output={tmp_path / 'model.json'}", "--gigahertz=2.4") == 0
    modelled = Target.of(str(tmp_path / "model.json"))
    assert not modelled.measured and modelled.unit == "cycles" and "2.4 GHz" in modelled.source


def test_times_of_an_unnamed_processor_are_not_called_this_ones(times, tmp_path):
    (tmp_path / "times.json").write_text(json.dumps(times))
    assert run(f"--times={tmp_path / 'times.json'}", f"--output={tmp_path / 'phone.json'}") == 0
    assert host.processor() not in Target.of(str(tmp_path / "phone.json")).processor


@pytest.mark.parametrize(
    "content, reason",
    [
        (None, r"can't be read"),
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b'{"a": 1', "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1, 2]", "is not a table"),
        (b"{}", "is not a table"),
        (b"12", "is not a table"),
        (b'{"a": 12}', "There are 0 times of int8 invoke"),
        *(
            (b'{"invoke_1.int8": ' + value + b"}", "for 'invoke_1.int8': give microseconds, a number above 0")
            for value in (b"0", b"-1", b"Infinity", b"NaN", b'"12"', b"true", b"null", b"[1]", b"1e-300", b"9" * 400)
        ),
    ],
)
def test_times_that_are_none_are_refused_in_one_line(tmp_path, capsys, content, reason):
    if content is not None:
        (tmp_path / "times.json").write_bytes(content)
    (tmp_path / "out.json").write_text("old")
    assert run(f"--times={tmp_path / 'times.json'}", f"--output={tmp_path / 'out.json'}") == 2
    told = complaint(capsys)
    assert reason in told and len(told) < 400
    assert (tmp_path / "out.json").read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} <= {"times.json", "out.json"}


@pytest.mark.parametrize("operator", [INVOKE, PARTITION, "convolution", "softmax"])
def test_too_few_graphs_are_refused_by_operator(times, tmp_path, capsys, operator):
    few = {name: time for name, time in times.items() if (ALL[name].type, ALL[name].operator) != ("int8", operator)}
    (tmp_path / "times.json").write_text(json.dumps(few))
    assert run(f"--times={tmp_path / 'times.json'}", f"--output={tmp_path / 'out.json'}") == 2
    told = complaint(capsys)
    assert f"There are 0 times of int8 {operator}" in told and "--write=FOLDER" in told
    assert not (tmp_path / "out.json").exists()
    with pytest.raises(InvalidTimes):
        host.target(few)


def test_no_target_is_written_that_could_not_be_read(times, tmp_path, capsys):
    (tmp_path / "times.json").write_text(json.dumps(times))
    given = [f"--times={tmp_path / 'times.json'}", f"--output={tmp_path / 'out.json'}", "--processor=two\nlines"]
    assert run(*given) == 2
    assert "'processor' is not a text of one line" in complaint(capsys) and not (tmp_path / "out.json").exists()


@pytest.mark.parametrize("same", [1e-6, 5, 1e12])
def test_times_without_rhyme_or_reason_end_in_a_target_or_a_line(tmp_path, capsys, same):
    (tmp_path / "times.json").write_text(json.dumps(dict.fromkeys(ALL, same)))
    output = tmp_path / "out.json"
    if run(f"--times={tmp_path / 'times.json'}", f"--output={output}"):
        told = complaint(capsys)
        assert ("No costs fit" in told or "no usable target" in told) and not output.exists()
    else:
        assert Target.of(str(output)).name == "out"


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (["extra"], "Unexpected argument 'extra'"),
        (["--output=laptop.txt"], "is not a .json file"),
        (["--times=times.json"], "--times comes from another machine"),
        (["--gigahertz=2.4", "--output=laptop.json"], "--gigahertz applies only to --times"),
        (["--gigahertz=-1"], "gigahertz"),
        (["--nonsense"], "nonsense"),
    ],
)
def test_wrong_flags_are_told_before_anything_is_measured(tmp_path, capsys, monkeypatch, arguments, reason):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(host, "measure", lambda progress: pytest.fail("measured"))
    assert run(*arguments) == 2
    assert reason in complaint(capsys) and not list(tmp_path.iterdir())


def test_an_interrupted_measurement_leaves_nothing(tmp_path, capsys, monkeypatch):
    def interrupted(progress):
        progress(1, 10, "slice")
        raise KeyboardInterrupt

    monkeypatch.setattr(host, "measure", interrupted)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert run(f"--output={tmp_path / 'laptop.json'}") == 130
    assert "Interrupted; nothing was left half-written" in complaint(capsys)
    assert run() == 130
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.fixture
def quick(times, tmp_path, monkeypatch) -> list[int]:
    """Makes measuring quick and the cache empty; one number stands in the list for each measurement."""
    measured = []

    def measure(progress=None):
        measured.append(len(times))
        return times

    monkeypatch.setattr(host, "measure", measure)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return measured


def test_this_machine_is_measured_once_and_kept(quick, tmp_path, capsys):
    first = resolve(HOST)
    assert "once (saved in " in capsys.readouterr().err
    assert resolve(HOST) == first and len(quick) == 1 and capsys.readouterr().err == ""
    assert first.is_here() and first.processor == host.processor() and first.litert == host.litert_version()
    (kept,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert kept == host.cache_path() and host.litert_version() in kept.name


@pytest.mark.parametrize("changed", ["processor", "litert_version"])
def test_another_processor_or_runtime_is_measured_anew(quick, monkeypatch, changed):
    resolve(HOST)
    monkeypatch.setattr(host, changed, lambda: "another (avx2)/..")
    resolve(HOST)
    assert len(quick) == 2 and host.cache_path().parent.name == "targets"


def test_calibrate_without_flags_is_what_host_reads(quick, capsys):
    assert run() == 0
    assert "--target=host" in capsys.readouterr().out
    assert resolve(HOST).name == HOST and len(quick) == 1


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"name": "host"'])
def test_a_damaged_cache_is_told_and_measured_anew(quick, content, capsys):
    host.cache_path().parent.mkdir(parents=True)
    host.cache_path().write_bytes(content)
    assert resolve(HOST).is_here() and len(quick) == 1
    assert str(host.cache_path()) in capsys.readouterr().err
    assert resolve(HOST).is_here() and len(quick) == 1


def test_a_cache_that_cannot_be_written_is_told_before_measuring(quick, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="XDG_CACHE_HOME"):
        resolve(HOST)
    assert quick == []


def test_measuring_covers_every_graph(monkeypatch):
    """With a few graphs in place of all, as all take a minute."""
    few = [ALL[name] for name in ("invoke_1.int8", "slice_7_960.float32", "add_7_960.int8")]
    monkeypatch.setattr(host, "specimens", lambda: iter(few))
    shown = []
    times = host.measure(lambda done, total, name: shown.append((done, total)))
    assert times.keys() == {specimen.name for specimen in few} and all(0 < time < 1e6 for time in times.values())
    assert shown[0][0] == 0 and shown[-1][0] == shown[-1][1] and shown == sorted(shown)
