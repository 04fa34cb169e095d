"""Names of classes: one form of each, or a sentence before anything is done with it."""

import os

import pytest

from shufflenet_tf.data.labels import name_of, normalize
from shufflenet_tf.errors import UserError, printable


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat ", "cat"),
        ("  cat\u00a0", "cat"),
        ("\u3000cat\u200b ", "cat"),
        ("\u202acat\u200f", "cat"),
        ("cafe\u0301", "café"),
        ("big  cat", "big  cat"),
        ("cat.", "cat."),
        ("梨", "梨"),
        ("שלום\u200fא", "שלום\u200fא"),
        ("👩\u200d🌾", "👩\u200d🌾"),
        ("ﬁsh", "ﬁsh"),
    ],
)
def test_a_name_is_composed_and_stripped(name, expected):
    assert normalize(name) == expected == normalize(expected)


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "a\x07", "a\x85b", "a\u2028b", "\r", "a\0"])
def test_line_breaks_and_control_characters_are_refused(name):
    with pytest.raises(UserError, match="a line break or another control character"):
        normalize(name)


@pytest.mark.parametrize("name", ["", " ", "\u200f \ufeff"])
def test_nothing_visible_is_refused(name):
    with pytest.raises(UserError, match="no visible name"):
        normalize(name)


def test_bytes_that_are_no_utf8_are_refused_and_shown():
    name = os.fsdecode(b"\xb2\xe2 pear")
    with pytest.raises(UserError, match=r"Class folder '\\xb2\\xe2 pear' has a name that is not UTF-8: rename it\."):
        normalize(name, "Class folder")
    assert printable("梨") == "梨"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_names_of_files_are_utf8_whatever_the_locale_says(encoding, monkeypatch):
    monkeypatch.setattr(os, "fsencode", lambda name: name.encode(encoding, "surrogateescape"))
    for name in ("café", "梨", "pear"):
        assert name_of(name.encode().decode(encoding, "surrogateescape")) == name
