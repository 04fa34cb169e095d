"""The one kind of error that a person can mend."""

_CONTROL = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160), 0x2028, 0x2029)}


class UserError(ValueError):
    """A mistake in what the user gave; the message says in one sentence what came, what was expected, what to do.

    Line feeds and other control characters, which names of files may have, are escaped.

    Attributes:
      status: of a program that stops for it.
    """

    status = 2

    def __init__(self, message: str):
        super().__init__(message.translate(_CONTROL))
