"""What a person can mend."""


class Unavailable(RuntimeError):
    """Something that emulation needs isn't there, or can't do what was asked; the message says in one sentence what to do."""
