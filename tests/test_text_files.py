"""Flag files and lists of labels, as editors of all systems write them."""

import codecs

import pytest

from shufflenet_tf.errors import UserError
from shufflenet_tf.seeds import fold
from shufflenet_tf.text_files import expand_flag_files, read_text

TEXT = "# Pears \u2013 and more\n\n--dataset=folder:/b\u00fccher/\u68a8\n  --steps=1  \n// end\n"
FLAGS = ["--dataset=folder:/b\u00fccher/\u68a8", "--steps=1"]
ENCODINGS = {
    "utf-8": b"",
    "utf-8 with a mark": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
}


def encoded(kind: str, text: str = TEXT) -> bytes:
    mark = ENCODINGS[kind]
    return mark + text.encode(kind.split(" ")[0])


@pytest.mark.parametrize("lines", ["\n", "\r\n"])
@pytest.mark.parametrize("kind", ENCODINGS)
def test_flag_files_of_every_unicode_encoding(tmp_path, kind, lines):
    (tmp_path / "a.flags").write_bytes(encoded(kind, TEXT.replace("\n", lines)))
    for spelling in ([f"--flagfile={tmp_path}/a.flags"], ["-flagfile", f"{tmp_path}/a.flags"]):
        assert expand_flag_files(["program", "--x", *spelling, "--steps=2"]) == ["program", "--x", *FLAGS, "--steps=2"]


@pytest.mark.parametrize("order", ["le", "be"])
def test_utf16_without_a_mark(tmp_path, order):
    (tmp_path / "a").write_bytes("--steps=1\n".encode(f"utf-16-{order}"))
    assert read_text(tmp_path / "a", "--flagfile") == "--steps=1\n"


def test_flag_files_in_flag_files(tmp_path):
    (tmp_path / "a").write_text(f"--one\n--flagfile={tmp_path}/b\n--three\n")
    (tmp_path / "b").write_text("--two\n")
    assert expand_flag_files(["p", f"--flagfile={tmp_path}/a"])[1:] == ["--one", "--two", "--three"]
    (tmp_path / "b").write_text(f"--flagfile={tmp_path}/a\n")
    with pytest.raises(UserError, match="names itself"):
        expand_flag_files(["p", f"--flagfile={tmp_path}/a"])
    assert expand_flag_files(["p", "--", "--flagfile=x"]) == ["p", "--", "--flagfile=x"]


def test_flag_files_that_multiply_end(tmp_path):
    """Thirty files, each of which names the next one twice, are 2^30 to be read."""
    for number in range(30):
        (tmp_path / f"{number}").write_text(f"--flagfile={tmp_path}/{number + 1}\n" * 2)
    (tmp_path / "30").write_text("--x\n")
    with pytest.raises(UserError, match="comes after 1,000 other flag files: name each of them once"):
        expand_flag_files(["p", f"--flagfile={tmp_path}/0"])


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"--name=B\xfccher\n", bytes(range(256)), b"--a\0b\n--c"])
def test_what_is_no_text(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UserError, match="is not a text file in UTF-8 or UTF-16: save it as UTF-8"):
        expand_flag_files(["p", f"--flagfile={tmp_path}/a"])


def test_what_cannot_be_read(tmp_path):
    for name in (tmp_path / "missing", tmp_path, ""):
        with pytest.raises(UserError, match="can't be read"):
            expand_flag_files(["p", f"--flagfile={name}"])
    (tmp_path / "photos.flags").touch()
    with pytest.raises(UserError, match=r"no such file: did you mean .*/photos\.flags\?"):
        expand_flag_files(["p", f"--flagfile={tmp_path}/photo.flags"])
    with pytest.raises(UserError, match="needs the name of a file"):
        expand_flag_files(["p", "--flagfile"])


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32, 20261126160000, 2**64 + 5, 10**40])
def test_a_seed_of_any_size_becomes_one_of_32_bits(seed):
    assert fold(seed) == seed % 2**32
