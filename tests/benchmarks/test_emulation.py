"""Files compute the same on phones' processors and old x86 ones as here; and what benchmarks.arm reads of QEMU and LLVM."""

import json
import os
import pathlib
import platform
import shutil

import numpy as np
import pytest
from lite_models import colour_model

from benchmarks import arm
from benchmarks.arm import blocks, cpus, cycles, emulate, equal, install
from benchmarks.arm.__main__ import main

NETWORKS = ("shufflenet_v1_0.25x_g3", "shufflenet_v2_0.5x")
SIDE, INPUTS = 32, 2


# Why a processor can't be emulated here; None: it can.
REASONS = {name: arm.available(name) for name in ("a76", "a72", "haswell", "nehalem")}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[pathlib.Path]:
    """Networks in int8 and float32, as converted and optimized: the whole files, and those that end with the logits."""
    from export.convert.precision import Precision
    from export.pipeline import export
    from papers.latency import untrained

    folder, found = tmp_path_factory.mktemp("networks"), []
    for name in NETWORKS:
        bundle, images = untrained(name, (SIDE, SIDE))
        for exported in export(bundle, [Precision("int8", calibration=images), Precision("float32")]):
            for version, model in exported.versions.items():
                stem = f"{name} {version.removesuffix('.tflite')}"
                for end, content in (("", model.content), (" logits", equal.logits(model.content))):
                    found.append(folder / f"{stem}{end}.tflite")
                    found[-1].write_bytes(content)
    return found


@pytest.fixture(scope="module")
def expected(files) -> list[arm.Record]:
    """What this machine computes."""
    records = arm.counts(files, "native", inputs=INPUTS)
    assert all(len(np.unique(record.outputs[0])) > 20 for record in records if "logits" in record.path.name)
    return records


def assert_none_needs_more(records: list[arm.Record]) -> None:
    """No optimized file takes more instructions than what it was made of, but for the noise of Python's part."""
    counts = {record.path.stem: record.instructions for record in records}
    for name in NETWORKS:
        for kind in ("int8", "float32"):
            before, after = counts[f"{name} {kind} as converted"], counts[f"{name} model_{kind}"]
            assert after <= 1.01 * before, f"{name}, {kind}: {before:,} instructions became {after:,}"


@pytest.mark.long
@pytest.mark.skipif(all(REASONS.values()), reason=str(REASONS["a76"]))
def test_files_compute_the_same_on_other_processors(files, expected):
    # One test, since each of pytest's workers would export the networks for itself.
    for cpu in (name for name, reason in REASONS.items() if reason is None):
        counted = arm.counts(files, cpu, inputs=INPUTS)
        if cpu == "a76":  # what the files were made for
            assert_none_needs_more(counted)
        for here, there in zip(expected, counted, strict=True):
            difference, about = equal.difference(here.outputs, there.outputs), f"{there.path.stem} on {cpu}"
            if "int8" in here.path.name:
                assert difference.equal, f"{about}: {difference}"
            elif "logits" in here.path.name:  # a softmax magnifies rounding
                assert difference.tolerable, f"{about}: {difference}"
            assert there.instructions > 100_000
    if missing := [reason for reason in REASONS.values() if reason is not None]:
        pytest.skip(f"The other processors agree. {missing[0]}")


@pytest.mark.long
@pytest.mark.skipif(bool(REASONS["a76"] or cycles.reason()), reason=str(REASONS["a76"] or cycles.reason()))
def test_the_program_prints_and_writes_its_table(tmp_path, capsys):
    paths, table = [tmp_path / "colours.tflite", tmp_path / "no_softmax.tflite"], tmp_path / "table.csv"
    for path in paths:
        path.write_bytes(colour_model("uint8", 40, softmax=path == paths[0]))
    assert main([*map(str, paths), "--cpu=a76", "--cycles", "--equal", f"--csv={table}"]) == 0
    _, _, first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("| bit-equal | bit-equal |") and second.endswith("| bit-equal |  |")
    assert "| 1.000 |" in first and "Cortex-A76" in second
    header, *rows = table.read_text().splitlines()
    assert header.startswith("file,cpu,instructions,") and len(rows) == 2
    for record, row in zip(arm.counts(paths, "a76"), rows, strict=True):
        _, _, instructions, _, modelled, *_ = row.split(",")
        assert int(instructions) == pytest.approx(record.instructions, abs=5_000)  # Python's part depends on what else ran
        assert 0.2 < int(instructions) / float(modelled) < 4  # an A76 decodes 4 instructions a cycle


def test_counted_blocks_are_read_and_added_up(tmp_path):
    path = tmp_path / "counts.txt"
    path.write_text("mark 1\n3 1000 aa aabb\n1 1004 cc\n2 1000 aa aabb\nmark 2\n")
    marks = blocks.read(path)
    assert marks == {1: {(0x1000, ("aa", "aabb")): 5, (0x1004, ("cc",)): 1}, 2: {}}
    assert [blocks.instructions(mark) for mark in marks.values()] == [11, 0]


@pytest.mark.parametrize("text", ["3 1000 aa\n", "mark 1\n3 1000\n"], ids=["no mark", "cut off"])
def test_damaged_counts_are_refused(text, tmp_path):
    (tmp_path / "counts.txt").write_text(text)
    with pytest.raises(ValueError, match=r"line \d of counts\.txt is no block"):
        blocks.read(tmp_path / "counts.txt")


def test_a_loop_that_a_page_ends_within_is_one_block():
    head, loop, tail = ("11111111",) * 2, ("22222222",), ("33333333", "eeeeeeee")
    counted = {(0x0FF4, head): 1, (0x0FFC, loop): 9, (0x1000, tail): 10, (0x2000, tail): 4}
    joined = blocks.joined(counted, lambda word: word == "eeeeeeee")
    assert joined == {head + loop + tail: 1, loop + tail: 8, tail: 5}
    assert sum(len(block) * n for block, n in joined.items()) == blocks.instructions(counted)


def test_disassembly_has_a_line_for_each_instruction_but_the_unknown():
    output = "\t.text\n\tadd\tx0, x1, x2\n\tb.ne\t#-8\n"
    warning = "<stdin>:2:1: warning: invalid instruction encoding\n[0x00]\n^\n"
    assert cycles.texts(["a", "b", "c"], output, warning) == {"a": "add\tx0, x1, x2", "b": "nop", "c": "b.ne\t#-8"}
    with pytest.raises(ValueError, match="another number of lines"):
        cycles.texts(["a", "b"], output + "\tret\n", "")


@pytest.mark.parametrize("text", ["b\t#8", "b.ne\t#-8", "bl\t#4", "blr\tx8", "ret", "cbz\tx0, #8", "tbnz\tw0, #3, #8"])
def test_branches_are_known(text):
    assert cycles.is_branch(text)
    assert not any(
        map(cycles.is_branch, ("bic\tx0, x1, x2", "bfi\tx0, x1, #2, #3", "rev\tx0, x0", "bsl\tv0.16b, v1.16b, v2.16b"))
    )


def test_calls_are_timed_as_jumps_and_system_instructions_left_out():
    assert cycles.region(3, ["bl\t#64", "mrs\tx0, TPIDR_EL0"]) == ["# LLVM-MCA-BEGIN 3", "b\t#64", "# LLVM-MCA-END 3"]
    assert cycles.region(0, ["blr\tx8"])[1] == "br\tx8" and cycles.region(0, ["svc\t#0"])[1] == "nop"


def test_cycles_are_read_from_the_report():
    regions = [{"Name": str(i), "SummaryView": {"TotalCycles": 10 * i}} for i in range(2)]
    assert cycles.total_cycles(json.dumps({"CodeRegions": regions})) == {0: 0, 1: 10}


def test_differences_tell_bits_quanta_and_rounding_apart():
    a, b = np.array([0, 100], np.uint8), np.array([1, 100], np.uint8)
    assert equal.difference([a], [a]).equal and str(equal.difference([a], [b])) == "off by 1"
    x = np.array([-4, 2], np.float32)
    near = equal.difference([x], [np.nextafter(x, np.float32(9))])
    assert not near.equal and near.tolerable and not equal.difference([x], [x * np.float32(1.001)]).tolerable
    assert not equal.difference([x], [x * np.float32("nan")]).tolerable
    with pytest.raises(ValueError, match="can't be compared"):
        equal.difference([a], [x])


def test_a_file_without_softmax_has_no_logits():
    assert equal.logits(colour_model("uint8", softmax=False)) is None
    assert equal.logits(colour_model("uint8")) is not None


def test_an_emulated_core_describes_itself(tmp_path):
    (tmp_path / "system/usr").mkdir(parents=True)
    (tmp_path / "root").mkdir()
    cpus.make_root(cpus.CPUS["a72"], tmp_path / "system", tmp_path / "root")
    text = (tmp_path / "root/proc/cpuinfo").read_text()
    assert "CPU part\t: 0xd08\n" in text and "asimddp" not in text
    assert (tmp_path / "root/usr").resolve() == tmp_path / "system/usr"
    assert (tmp_path / "root/sys/devices/system/cpu/possible").read_text() == "0\n"


def test_what_is_missing_is_told_in_one_sentence(tmp_path, monkeypatch, capsys):
    assert emulate.available("native", tmp_path) is None
    assert "benchmarks.arm.install" in arm.available("a76", tmp_path) or "needs Linux" in arm.available("a76", tmp_path)
    assert main(["nowhere.tflite", f"--folder={tmp_path}"]) == 1  # the processor's name and the reason
    assert capsys.readouterr().err.count("\n") == 2
    (tmp_path / "damaged.tflite").write_bytes(b"TFL3")
    assert main([str(tmp_path / "damaged.tflite"), "--equal"]) == 1
    assert "damaged.tflite can't be read: it doesn't begin like a .tflite file." in capsys.readouterr().err
    with pytest.raises(arm.Unavailable, match="There is no CPU 'm4'"):
        arm.counts([], "m4")


def test_installing_says_why_it_can_not(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"ID": "ubuntu", "PRETTY_NAME": "Ubuntu 24.04"})
    assert install.main([f"--folder={tmp_path}"]) == 1
    assert "Debian 12" in (message := capsys.readouterr().err) and message.count("\n") == 1
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"ID": "debian", "VERSION_ID": "12"})
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert install.main([f"--folder={tmp_path}"]) == 1
    assert "must be installed by root: apt-get install" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"lock"}
