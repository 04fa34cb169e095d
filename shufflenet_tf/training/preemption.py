"""SIGTERM, by which schedulers take a machine back: the training writes a checkpoint, and asks to be started again."""

import contextlib
import signal
import threading
from collections.abc import Iterator

from shufflenet_tf.cli import STATUS_RESTART
from shufflenet_tf.errors import UserError


class Preempted(UserError):
    """The training has stopped at a checkpoint, as it was asked to."""

    status = STATUS_RESTART


@contextlib.contextmanager
def noticed() -> Iterator[threading.Event]:
    """Yields an event that SIGTERM sets within the block; a second SIGTERM acts like Ctrl-C."""
    asked = threading.Event()

    def ask(number: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield asked
        return
    previous = signal.signal(signal.SIGTERM, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, previous)
