"""The error that users can fix themselves."""

_CONTROL = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160), 0x2028, 0x2029)}


class UserError(ValueError):
    """A mistake in the user's input; the message says in one sentence what came, what was expected and what to do.

    Line feeds and other control characters, which file names can contain, are escaped.

    Attributes:
      status: exit status of a program that ends with it.
    """

    status = 2

    def __init__(self, message: str):
        super().__init__(message.translate(_CONTROL))
