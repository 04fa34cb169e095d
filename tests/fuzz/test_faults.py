"""What was complete stays complete: full disks, signals, too little memory; `python -m benchmarks.faults` has whole runs."""

import json
import os
import random
import resource
import signal
import time

import numpy as np
import pytest

from shufflenet_tf.cli import run_and_report
from shufflenet_tf.data import photos
from shufflenet_tf.errors import UserError, printable
from shufflenet_tf.files import atomic_path, check_writable, write_text


def write(path, number: int) -> None:
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, a=np.full(1000, number), b=np.full(30, number))


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    """The limit of a file's size stands for the disk's; 20 places where the write fails."""
    path, dice = tmp_path / "checkpoint.npz", random.Random(0)
    write(path, 1)
    size, limits = path.stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
    before = path.read_bytes()
    for _ in range(20):
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (dice.randrange(size), limits[1]))
            with pytest.raises(OSError):
                write(path, 2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert path.read_bytes() == before and os.listdir(tmp_path) == ["checkpoint.npz"]
    write(path, 3)
    with np.load(path) as arrays:
        assert (arrays["a"] == 3).all()


def test_two_processes_that_write_one_file_never_mix_their_halves(tmp_path):
    """The same command, given twice by mistake."""
    path = tmp_path / "checkpoint.npz"
    with pytest.raises(OSError, match="Another process is writing the same file"), atomic_path(path) as first:
        first.write_bytes(b"half of the first")
        with atomic_path(path) as second:
            second.write_bytes(b"half of the second")
            assert first != second
            second.write_bytes(b"the whole second")
    assert path.read_bytes() == b"the whole second" and os.listdir(tmp_path) == ["checkpoint.npz"]


def test_what_a_killed_process_has_left_is_removed_by_the_next_one(tmp_path):
    with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "a[1].npz") as temporary:
        temporary.write_bytes(b"half")
        left = temporary.rename(temporary.with_name(temporary.name.replace("tmp", "tmp0")))  # as if it had been killed
        raise KeyboardInterrupt
    assert left.exists()
    with atomic_path(tmp_path / "a[1].npz") as temporary:
        temporary.write_bytes(b"whole")
    assert os.listdir(tmp_path) == ["a[1].npz"]


@pytest.mark.parametrize("failing", range(3))
def test_a_folder_is_replaced_without_losing_the_old_one(tmp_path, monkeypatch, failing):
    """Whichever of the renames fails, a whole folder is there, or comes back with the next attempt."""

    def replaced(text) -> None:
        with atomic_path(tmp_path / "saved_model") as temporary:
            temporary.mkdir()
            (temporary / "part").write_text(text)

    replaced("old")
    real, calls = os.replace, []

    def rename(source, target):
        calls.append(target)
        if len(calls) > failing:  # so does what would undo it: as if the process had been killed
            raise OSError(30, "Read-only file system")
        real(source, target)

    monkeypatch.setattr(os, "replace", rename)
    if failing < 2:
        with pytest.raises(OSError):
            replaced("new")
        monkeypatch.setattr(os, "replace", real)
        with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "saved_model") as temporary:
            temporary.mkdir()
            1 / 0  # noqa: B018
        assert (tmp_path / "saved_model" / "part").read_text() == "old" and os.listdir(tmp_path) == ["saved_model"]
    replaced("new")
    assert (tmp_path / "saved_model" / "part").read_text() == "new" and os.listdir(tmp_path) == ["saved_model"]


def test_sigterm_ends_a_program_as_ctrl_c_does(capsys, tmp_path):
    def work() -> None:
        with atomic_path(tmp_path / "file") as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)

    handler = signal.getsignal(signal.SIGTERM)
    assert run_and_report("program", work, interrupted="Interrupted; go on.") == 130
    assert capsys.readouterr().err == "program: Interrupted; go on.\n"
    assert not list(tmp_path.iterdir()) and signal.getsignal(signal.SIGTERM) is handler


def test_too_little_memory_is_a_sentence(capsys):
    def work() -> None:
        raise MemoryError

    assert run_and_report("program", work, memory="give less.") == 1
    assert capsys.readouterr().err == "program: Memory ran out: give less.\n"


def test_folders_that_link_to_each_other_are_listed_once(tmp_path):
    """There are more than 10^12 paths along these links."""
    for i in range(16):
        (tmp_path / f"{i}").mkdir()
        (tmp_path / f"{i}" / "photo.jpg").write_bytes(b"")
        for j in range(16):
            (tmp_path / f"{i}" / f"link{j}").symlink_to(tmp_path / f"{j}")
    assert len(list(photos.walk(tmp_path))) == 16


def test_names_that_are_no_text_come_back_from_json(tmp_path):
    name = os.fsdecode(b"/photos/\xb2\xe2 \xc3\xa9")
    write_text(tmp_path / "metrics.json", json.dumps({"dataset": name}, ensure_ascii=False))
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8")) == {"dataset": name}


def test_an_output_folder_whose_name_is_no_text_is_refused(tmp_path):
    """TensorFlow makes no such files, and would say so hours later."""
    with pytest.raises(UserError, match=r"\\xb2\\xe2 has a name that is not UTF-8: choose another output folder\."):
        check_writable(os.fsdecode(os.fsencode(tmp_path) + b"/\xb2\xe2"))
    assert not list(tmp_path.iterdir())


def test_control_characters_of_names_are_escaped():
    assert str(UserError("no file a\nb\x1b[2J\u2028")) == r"no file a\nb\x1b[2J\u2028"
    assert str(UserError(os.fsdecode("no file é\n".encode() + b"\xff"))) == r"no file é\n\xff"
    assert printable("梨 \ud800") == r"梨 \ud800"
