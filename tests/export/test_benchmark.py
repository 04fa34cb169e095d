"""What the benchmark says of .tflite files, and of files that it can't measure."""

import csv
import io
import os
import pathlib
import shutil
import sys

import numpy as np
import pytest
import tensorflow as tf
from tiny_classifier import convert, network

from export import benchmark as program
from export.flatbuffer import inspection
from export.measure import benchmarking, memory
from export.measure.benchmarking import benchmark
from export.measure.file_names import short_names
from export.measure.timing import take_turns
from shufflenet_tf.errors import UserError
from shufflenet_tf.tflite_classifier import LiteClassifier


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, model = tmp_path_factory.mktemp("models"), network()
    (folder / "float.tflite").write_bytes(convert(model))
    (folder / "int8.tflite").write_bytes(convert(model, int8=True))
    image = tf.keras.Input((None, None, 3), batch_size=1)
    anysize = tf.keras.Model(image, tf.keras.layers.Conv2D(2, 1)(image))
    (folder / "anysize.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(anysize).convert())
    whole = (folder / "float.tflite").read_bytes()
    (folder / "truncated.tflite").write_bytes(whole[: len(whole) // 2])
    (folder / "noname.tflite").write_bytes(whole.replace(b"/stem", b"/st\xff\xff"))
    (folder / "text.tflite").write_text("a text, and no model")
    return folder


@pytest.fixture(scope="module")
def results(folder):
    return benchmark([folder / "float.tflite", folder / "int8.tflite"], runs=9, warmup=1)


def run(*argv) -> int:
    return program.run(["benchmark", *map(str, argv)])


def test_figures_of_the_graph(results, folder):
    # stem 16x16x8 of 3x3x3, depthwise 3x3, 8 to 8, 16 to 16, 16 to 5
    assert [r.multiply_adds for r in results] == [256 * (8 * 27 + 8 * 9 + 8 * 8 + 16 * 16) + 16 * 5] * 2
    floats, int8 = (r.operators for r in results)
    assert floats["CONV_2D"] == int8["CONV_2D"] == 3
    assert floats["DEPTHWISE_CONV_2D"] == floats["FULLY_CONNECTED"] == 1
    assert "QUANTIZE" in int8 and "QUANTIZE" not in floats
    assert [r.file_size for r in results] == [(folder / f"{kind}.tflite").stat().st_size for kind in ("float", "int8")]
    assert all(r.peak_memory is None or 100_000 < r.peak_memory < 1e9 for r in results)


def test_all_of_a_float_graph_is_one_partition_and_the_int8_pool_splits_the_other(results):
    floats, int8 = results
    assert (floats.partitions, floats.outside) == (1, {})
    assert int8.partitions > 1 and int8.outside["AVERAGE_POOL_2D"] == 1
    assert not {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "CONCATENATION"} & int8.outside.keys()


def test_without_delegate_all_is_outside(folder):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(folder / "float.tflite"), experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    partitions, outside = inspection.delegation(interpreter)
    assert partitions == 0 and outside == inspection.read(folder / "float.tflite").counts()


def test_statistics_follow_from_the_times(results):
    first, second = results
    for r in results:
        assert len(r.milliseconds) == 9 and r.minimum <= r.median <= r.p90 <= max(r.milliseconds)
        assert r.rate == pytest.approx(r.multiply_adds / (r.median * 1e-3) / 1e9)
    assert first.ratio == first.ratio_of_minima == 1
    assert second.ratio == pytest.approx(second.median / first.median)
    assert second.ratio_of_minima == pytest.approx(second.minimum / first.minimum)


def test_runs_take_turns_in_changing_order():
    calls = []

    class Interpreter:
        def __init__(self, name):
            self.name = name

        def invoke(self):
            calls.append(self.name)

    times = take_turns([Interpreter(name) for name in "abc"], runs=20, warmup=2)
    rounds = [tuple(calls[i : i + 3]) for i in range(0, len(calls), 3)]
    assert len(rounds) == 22 and all(sorted(order) == ["a", "b", "c"] for order in rounds) and len(set(rounds)) > 3
    assert [len(milliseconds) for milliseconds in times] == [20, 20, 20]


def test_inputs_are_random_over_the_whole_range(folder):
    interpreter = benchmarking._ready(str(folder / "int8.tflite"), 1)
    (detail,) = interpreter.get_input_details()
    assert detail["dtype"] == np.uint8 and np.ptp(interpreter.get_tensor(detail["index"])) == 255


def test_the_program_prints_a_table_and_writes_csv_and_plot(folder, tmp_path, capsys):
    files = [folder / "float.tflite", folder / "int8.tflite", folder / "float.tflite"]
    table, plot = tmp_path / "new" / "out.csv", tmp_path / "new" / "out.svg"
    assert run(*files, "--runs=3", "--warmup=0", "--threads=2", f"--csv={table}", f"--plot={plot}") == 0
    printed = capsys.readouterr().out
    assert "int8.tflite" in printed and "3 CONV_2D" in printed and "not delegated" in printed
    assert f'make android MODEL="{folder}' in printed
    with open(table, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == list(map(str, files))
    assert {row["threads"] for row in rows} == {"2"} and {row["runs"] for row in rows} == {"3"}
    assert rows[0]["multiply_adds"] == rows[2]["multiply_adds"] and float(rows[0]["ratio"]) == 1
    assert plot.read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("missing", "can't be read"),
        ("text", "doesn't begin like a .tflite"),
        ("truncated", "can't be used"),
        ("noname", "a tensor name is not valid text"),
        ("anysize", "dynamic shape [1, ?, ?, 3]"),
    ],
)
def test_files_that_cannot_be_measured(name, sentence, folder, tmp_path, capsys):
    table = tmp_path / "out.csv"
    assert run(folder / "float.tflite", folder / f"{name}.tflite", f"--csv={table}") == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and sentence in printed and f"{name}.tflite" in printed
    assert not table.exists()


def test_wrong_use(folder, capsys):
    for argv in ([], [folder / "float.tflite", "--runs=0"], [folder / "float.tflite", "--plot=out.tflite"], ["--unknown"]):
        assert run(*argv) == 2
        assert capsys.readouterr().err.startswith("export.benchmark: ")
    with pytest.raises(UserError, match="threads=0"):
        benchmark([folder / "float.tflite"], threads=0)
    assert run("--help") == 0 and "--threads=" in capsys.readouterr().out


def test_a_crash_of_the_interpreter_is_told(folder, monkeypatch):
    monkeypatch.setattr(memory, "_CHILD", "import os; os.abort()")
    with pytest.raises(UserError, match="it crashes"):
        benchmark([folder / "float.tflite"])


def test_names_are_short_where_they_are_distinct():
    assert short_names(["a/x.tflite", "b/x.tflite", "b/y.tflite"]) == ["a/x.tflite", "b/x.tflite", "y.tflite"]
    assert short_names(["a/x.tflite", "a/x.tflite"]) == ["x.tflite", "x.tflite"]


def test_a_folder_whose_name_is_no_text(folder, tmp_path, monkeypatch):
    """LiteRT refuses its path, and matplotlib can't draw it."""
    said = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")  # as all programs' streams are
    monkeypatch.setattr(sys, "stdout", said)
    odd = pathlib.Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xb2\xe2"))
    shutil.copytree(folder, odd)
    (odd / "float.tflite").rename(odd / "\udcff.tflite")
    assert run(odd / "\udcff.tflite", odd / "int8.tflite", "--runs=1", f"--plot={tmp_path}/plot.png") == 0
    said.flush()
    assert rb"\xff.tflite" in said.buffer.getvalue() and LiteClassifier(odd / "int8.tflite").output_shape == (1, 5)


def test_cpu_time_is_of_one_thread(folder):
    (result,) = benchmark([folder / "float.tflite"], runs=2, warmup=0, cpu_time=True)
    assert result.minimum > 0
    with pytest.raises(UserError, match="2 threads"):
        benchmark([folder / "float.tflite"], threads=2, cpu_time=True)
