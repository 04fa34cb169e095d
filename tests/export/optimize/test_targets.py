"""Targets are files: each that is shipped is whole, a new file is a new target, a bad one is told in one sentence."""

import copy
import json
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
import tflite_builder as build
from hypothesis import given, settings
from hypothesis import strategies as st

from export.flatbuffer.graph import Graph
from export.optimize import optimize, targets
from export.optimize.predict import account
from export.optimize.targets import COEFFICIENTS, INT8_ONLY, PHONE, InvalidTarget, Target
from export.optimize.targets.cost_model import CostModel
from shufflenet_tf.errors import UserError

ROOT = pathlib.Path(__file__).resolve().parents[3]
VALID = json.loads((targets.FOLDER / f"{PHONE}.json").read_text())
REMOVED = object()


def small() -> bytes:
    net = build.Net((1, 6, 6, 4), True)
    return net.done(net.conv(net.shuffle(net.conv(net.input, 6), 2), 4))


def changed(where: str, value) -> str:
    """Returns the text of a valid target with one value replaced; `where` names it, such as "costs.int8.add.call"."""
    fields = copy.deepcopy(VALID)
    *path, last = where.split(".")
    inside = fields
    for key in path:
        inside = inside[key]
    if value is REMOVED:
        del inside[last]
    else:
        inside[last] = value
    return json.dumps(fields)


def refused(text: str | bytes, path: pathlib.Path) -> str:
    """Returns the sentence with which a file of that content is refused."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(InvalidTarget) as raised:
        Target.of(str(path))
    told = str(raised.value)
    assert "\n" not in told and str(path) in told and "export.calibrate" in told and len(told) < 400
    return told


@pytest.mark.parametrize("name", targets.names())
def test_each_target_is_whole_and_says_where_its_numbers_come_from(name):
    found = Target.of(name)
    assert found.name == name
    assert len(found.processor) > 10 and len(found.source) > 20 and found.unit in ("cycles", "microseconds")
    assert found.litert.split(".")[0] == "2" and found.growth >= 1 and found.per_millisecond > 0
    for type_ in ("int8", "float32"):
        for kind, keys in COEFFICIENTS.items():
            if type_ == "int8" or kind not in INT8_ONLY:
                assert found.costs[type_][kind].keys() == set(keys)
                assert any(found.costs[type_][kind][key] > 0 for key in keys)
    assert not found.is_here()
    assert Target.from_json(found.to_json()) == found
    assert account(Graph(small()), CostModel(1, found)).milliseconds > 0


def test_the_targets_that_the_documentation_names_are_there():
    assert {"phone", "phone_i8mm", "phone_old", "x86_avx2"} <= set(targets.names())
    assert all(Target.of(name).growth == 1.05 for name in targets.names() if name.startswith("phone"))


def test_a_new_file_is_a_new_target(tmp_path, monkeypatch):
    copied = tmp_path / "watch.json"
    shutil.copy(targets.FOLDER / "phone_old.json", copied)
    assert Target.of(str(copied)) == Target.of("phone_old")
    monkeypatch.setattr(targets, "FOLDER", tmp_path)
    assert targets.names() == ["watch"] and Target.of("watch") == Target.of(str(copied))


def test_a_file_that_was_made_anew_is_read_anew(tmp_path):
    path = tmp_path / "own.json"
    path.write_text(changed("partition", 1))
    assert Target.of(str(path)).partition == 1
    path.write_text(changed("partition", 2))
    assert Target.of(str(path)).partition == 2


@pytest.mark.parametrize("name", ["nonsense", "", "phone.jso", "PHONE", "../phone", "a\0.json"])
def test_an_unknown_name_is_answered_by_the_known_ones(name):
    with pytest.raises(InvalidTarget, match=r"There is no target .*phone, phone_i8mm, .*host, or a \.json file"):
        Target.of(name)


@pytest.mark.parametrize("path", ["missing.json", "."])
def test_a_file_that_cannot_be_read_is_told(tmp_path, path):
    (tmp_path / "folder.json").mkdir()
    path = tmp_path / path if path != "." else tmp_path / "folder.json"
    with pytest.raises(InvalidTarget, match=r"can't be read \(.+\): create one with export.calibrate"):
        Target.of(str(path))


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "is not JSON"),
        (json.dumps(VALID)[:-40], "is not JSON, or is cut off"),
        ("[" * 100_000, "is not JSON"),
        ('{"a":' * 100_000, "is not JSON"),
        (b"\xff\xfe{}", "is not a text file"),
        ("[]", "holds no table"),
        ("null", "holds no table"),
        ("12", "holds no table"),
        ("{}", "'name' is not a text"),
        ('{"slice_28_60.int8": 12.5}', "'name' is not a text"),
        (changed("name", ""), "'name' is not a text"),
        (changed("processor", "two\nlines"), "'processor' is not a text of one line"),
        (changed("source", "\ud800"), "'source' is not a text"),
        (changed("source", "x" * 200_000), "'source' is not a text"),
        (changed("litert", 2.3), "'litert' is not a text"),
        (changed("per_millisecond", 0), "'per_millisecond'"),
        (changed("per_millisecond", float("nan")), "'per_millisecond'"),
        (changed("partition", REMOVED), "'partition'"),
        (changed("synchronization", "much"), "'synchronization'"),
        (changed("growth", 0.5), "'growth'"),
        (changed("growth", float("inf")), "'growth'"),
        (changed("measured", 1), "'measured' is neither true nor false"),
        (changed("costs", REMOVED), "it has no 'costs'"),
        (changed("costs", []), "it has no 'costs'"),
        (changed("costs.float32", REMOVED), "'costs' of float32 convolution are missing"),
        (changed("costs.int8.recode", REMOVED), "'costs' of int8 recode are missing"),
        (changed("costs.int8.add", 3), "'costs' of int8 add are missing"),
        (changed("costs.int8.convolution.tile", REMOVED), "'costs' of int8 convolution have no number 'tile'"),
        *(
            (changed("costs.float32.slice.pixel", bad), "'costs' of float32 slice have no number 'pixel' from 0 to 1e\\+12")
            for bad in (float("nan"), float("inf"), -1, True, None, "3", [], 1e13, 10**400)
        ),
        *(
            (
                changed("costs.int8.convolution.rows", bad),
                "'costs' of int8 convolution: 'rows' is not a whole number of at least 1",
            )
            for bad in (0, 0.5, 1.5)
        ),
        (changed("costs.int8.transpose.lanes", 0), "'lanes' is not a whole number"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path, text, reason):
    assert re.search(reason, refused(text, tmp_path / "target.json"))


def test_remarks_in_a_file_do_no_harm(tmp_path):
    deep = [[]]
    for _ in range(300):
        deep = [deep]
    fields = copy.deepcopy(VALID) | {"remark": deep}
    fields["costs"]["int8"]["remark"] = fields["costs"]["remark"] = deep
    found = Target.from_json(json.dumps(fields))
    assert found == Target.of(PHONE) and "remark" not in found.to_json()


def _places(fields, path=()) -> list[tuple]:
    inside = [place for key, value in fields.items() if isinstance(value, dict) for place in _places(value, (*path, key))]
    return [(*path, key) for key in fields] + inside


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([10**400, -0.0, 1e-320]),
    lambda inside: st.lists(inside, max_size=2) | st.dictionaries(st.text(max_size=5), inside, max_size=2),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(_places(VALID)), _JSON | st.just(REMOVED)), min_size=1, max_size=3))
def test_a_changed_file_is_a_target_or_refused_in_a_sentence(changes):
    fields = copy.deepcopy(VALID)
    for (*path, last), value in changes:
        inside = fields
        for key in path:
            inside = inside.get(key) if isinstance(inside, dict) else None
        if isinstance(inside, dict):
            inside.pop(last, None)
            inside |= {} if value is REMOVED else {last: value}
    try:
        found = Target.from_json(json.dumps(fields))
    except InvalidTarget as error:
        assert "\n" not in str(error) and "is not a target" in str(error)
    else:
        assert Target.from_json(found.to_json()) == found
        assert 0 <= account(Graph(_SMALL), CostModel(2, found)).cost < 1e30


_SMALL = small()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode), st.integers(0, 3000))
def test_whatever_bytes_a_file_has_it_is_refused_in_a_sentence(tmp_path_factory, put, at):
    path = tmp_path_factory.mktemp("bytes") / "target.json"
    text = json.dumps(VALID).encode()
    path.write_bytes(text[:at] + put + text[at + 400 :])
    with pytest.raises(InvalidTarget) as raised:
        Target.of(str(path))
    assert "\n" not in str(raised.value)


def test_a_target_of_another_version_of_the_runtime_warns_and_works(tmp_path, capsys):
    path = tmp_path / "elderly.json"
    path.write_text(changed("litert", "1.4.0"))
    result = optimize(small(), target=str(path))
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "LiteRT 1.4.0" in told and told.startswith("Warning: ")
    assert "TRANSPOSE" not in result.after and result.ratio < 1


def test_optimize_refuses_an_unknown_target_before_it_reads_the_model():
    with pytest.raises(UserError, match="There is no target 'nonsense'"):
        optimize(b"no model either", target="nonsense")


def test_the_command_refuses_an_unknown_target_in_one_line(tmp_path):
    (tmp_path / "in.tflite").write_bytes(small())
    arguments = [str(tmp_path / "in.tflite"), "-o", str(tmp_path / "out.tflite"), "--target=nonsense"]
    command = [sys.executable, "-m", "export.optimize", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2 and done.stdout == "" and not (tmp_path / "out.tflite").exists()
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("export.optimize: There is no target 'nonsense': give ")
