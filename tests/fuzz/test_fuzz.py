"""A share of `make fuzz`: every reader of files meets damaged and hostile ones, in this process."""

import json
import os
import pathlib
import signal
import time

import pytest

from benchmarks.fuzz import __main__ as fuzz
from benchmarks.fuzz import mutate
from benchmarks.fuzz.subjects import REFUSALS, SUBJECTS
from shufflenet_tf.errors import UserError
from shufflenet_tf.weights import published

COUNTS = {"pth": 160, "npz": 80, "progress": 40, "safetensors": 80, "image": 60, "folder": 10}
COUNTS |= {"tflite": 60, "metadata": 40, "target": 60, "flags": 30}


@pytest.fixture(scope="module")
def audit():
    return fuzz.Audit()


@pytest.mark.parametrize("name", COUNTS)
def test_damaged_files_are_refused_in_a_sentence(audit, tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    for number in range(COUNTS[name]):
        problem = fuzz.run_one(name, fuzz.make(name, 1, number), tmp_path / "input", audit)
        assert not problem, f"python -m benchmarks.fuzz --only={name} --seed=1 --first={number} --count=1\n{problem}"


@pytest.mark.parametrize("name", COUNTS)
def test_sound_files_are_read(audit, tmp_path, monkeypatch, name):
    """Without this, a reader that refuses everything would pass."""
    if name == "folder" or name == "flags":
        pytest.skip("its inputs are drawn, and some are sound")
    for seed in SUBJECTS[name].seeds():
        (tmp_path / "input").write_bytes(seed)
        try:
            SUBJECTS[name].read(tmp_path / "input")
        except REFUSALS:
            assert b"weight_map" in seed, "only the index of a checkpoint in parts is refused"


def test_inputs_depend_on_their_seed_and_number_alone():
    for name in COUNTS:
        one, again, other = fuzz.make(name, 3, 5), fuzz.make(name, 3, 5), fuzz.make(name, 4, 5)
        assert one == again and one != other


@pytest.mark.parametrize("count", [1, 7, 1000])
def test_no_fewer_inputs_than_asked_for_and_some_for_every_reader(count):
    jobs = fuzz.jobs_of(list(SUBJECTS), 3, count)
    assert len(jobs) >= count and len(set(jobs)) == len(jobs)
    assert {name for name, _ in jobs} == set(SUBJECTS) and min(number for _, number in jobs) == 3


def test_what_goes_wrong_is_noticed(audit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def found(read) -> str:
        monkeypatch.setitem(SUBJECTS, "pth", SUBJECTS["target"].__class__(lambda: [], lambda *_: b"", read))
        return fuzz.run_one("pth", b"", tmp_path / "input", audit)

    def refuse(sentence):
        raise REFUSALS[1](sentence)  # one that escapes nothing

    assert found(lambda path: 1 / 0).endswith("ZeroDivisionError: division by zero")
    assert "several lines" in found(lambda path: refuse("a\nb")) and not found(lambda path: refuse("a"))
    assert "os.system" in found(lambda path: os.system("touch trace")) and pathlib.Path("trace").exists()
    pathlib.Path("trace").unlink()
    assert "open" in found(lambda path: pathlib.Path("other").write_bytes(b""))


def test_crashes_hangs_and_findings_are_blamed_on_one_input(tmp_path, monkeypatch):
    bad = {
        3: lambda: os.kill(os.getpid(), signal.SIGKILL),
        5: lambda: 1 / 0,
        7: lambda: time.sleep(100),
        8: lambda: [0 for _ in iter(int, 1)],
    }
    monkeypatch.setattr(fuzz, "HANG", 1)
    monkeypatch.setattr(fuzz, "STUCK", 1)
    monkeypatch.setattr(fuzz, "make", lambda name, seed, number: str(number).encode())
    read = SUBJECTS["target"].__class__(lambda: [], lambda *_: b"", lambda path: bad.get(int(path.read_bytes()), int)())
    monkeypatch.setitem(SUBJECTS, "pth", read)
    jobs, problems = [("pth", number) for number in range(10)], {}
    while jobs:
        count, found = fuzz.run_batch(jobs, 0)
        problems |= {jobs[position][1]: problem for position, problem in found.items()}
        jobs = jobs[count:]
    assert problems.keys() == bad.keys()
    assert "ended the process" in problems[3] and "ZeroDivision" in problems[5] and "of the processor" in problems[8]
    assert problems[7] == "it waited for more than 1 s"
    fuzz.save(tmp_path, "pth", 5, 0, problems[5])
    assert (tmp_path / "pth-0-5" / "input").read_bytes() == b"5"
    assert "--only=pth --seed=0 --first=5 --count=1" in (tmp_path / "pth-0-5" / "finding.txt").read_text()


@pytest.mark.parametrize("payload", mutate.PAYLOADS)
def test_payloads_of_the_fuzz_do_run_when_they_are_unpickled(payload, tmp_path):
    """They are what a careless reader would run, and each is passed over or refused here."""
    import zipfile

    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x04" + payload + b".")
    with pytest.raises(UserError, match=r"asks for [\w.]+.*nothing was run|whole pickled model"):
        published.read(tmp_path / "w.pth")


def test_json_mutations_stay_json():
    import random

    dice = random.Random(0)
    for _ in range(100):
        json.dumps(mutate.mutate_json(dice, {"a": [1, {"b": None}], "c": "d"}))
