"""Normalizes names of classes where they are read: from a folder, a dataset or a text file."""

import os
import unicodedata

from shufflenet_tf.errors import UserError, printable

# Invisible marks that copying from a properties window leaves at the ends: byte order, direction, joiners.
_INVISIBLE = "\ufeff\u200b\u200e\u200f\u061c\u2060\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_BREAKS = ("Cc", "Zl", "Zp")  # control characters, separators of lines and of paragraphs


def normalize(name: str, of: str = "Class") -> str:
    """Returns a class's name in Unicode's composed form (NFC), without blanks and invisible marks at its ends.

    Args:
      name: the original name; bytes that are not UTF-8 are escaped as in Python's file names.
      of: what has the name, for messages.

    Raises:
      UserError: it is not text, has line breaks or other control characters, or nothing remains of it.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UserError(f"{of} '{printable(name)}' has a name that is not UTF-8: rename it.") from None
    ends, text = None, unicodedata.normalize("NFC", name)
    while ends != text:
        ends, text = text, text.strip(" \u00a0\u3000").strip(_INVISIBLE)
    if any(unicodedata.category(character) in _BREAKS for character in text):
        raise UserError(f"{of} {text!r} has a line break or another control character in its name: rename it.")
    if not text.strip():
        raise UserError(f"{of} {name!r} has no visible name: rename it.")
    return text.strip()


def name_of(file: str) -> str:
    """Returns a file's name as text: in UTF-8, which names are in, also where the locale (LC_ALL=C) has another encoding."""
    try:
        return os.fsencode(file).decode()
    except UnicodeError:
        return file
