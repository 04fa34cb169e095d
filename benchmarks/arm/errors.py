"""Errors that the user can fix."""


class Unavailable(RuntimeError):
    """Emulation lacks a requirement or can't do the request; the message says in one sentence what to do."""
