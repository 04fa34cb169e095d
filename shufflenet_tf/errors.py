"""The one kind of error that a person can mend."""


class UserError(ValueError):
    """A mistake in what the user gave; the message says in one sentence what came, what was expected, what to do.

    Attributes:
      status: of a program that stops for it.
    """

    status = 2
