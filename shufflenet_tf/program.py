"""What programs have in common: whatever goes wrong is told in one sentence, and by the exit status."""

import os
import sys
from collections.abc import Callable

import tensorflow as tf
from absl import flags

from shufflenet_tf.errors import UserError


def told(
    name: str,
    work: Callable[[], int | None],
    path: Callable[[], str | None] = lambda: None,
    memory: str = "close other programs, or give a smaller model.",
    failed: str = "",
    interrupted: str = "Interrupted.",
) -> int:
    """Does a program's work and returns its exit status: 0, or what the work returns, 2 after wrong use, 1 after a failure.

    Args:
      name: the program's, before what it complains about.
      work: what it does.
      path: returns where it writes, for failures that don't say where they happened.
      memory: what to do if there was too little.
      failed: what to add where the system failed.
      interrupted: what to say after Ctrl-C, for which the status is 130.
    """

    def complain(sentence: str, status: int) -> int:
        print(f"{name}: {sentence}", file=sys.stderr)
        return status

    try:
        return work() or 0
    except flags.Error as error:
        return complain(" ".join(str(error).split()), 2)
    except UserError as error:
        return complain(str(error), error.status)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return complain(f"{error.strerror or error} ({error.filename or path()}){failed}.", 1)
    except tf.errors.ResourceExhaustedError:
        return complain(f"Memory ran out: {memory}", 1)
    except tf.errors.OpError as error:
        return complain(f"TensorFlow stopped: {(error.message.strip().splitlines() or [type(error).__name__])[0]}", 1)
    except KeyboardInterrupt:
        return complain(interrupted, 130)
