"""TensorFlow's start-up notes, held back where the user has asked for that by TF_CPP_MIN_LOG_LEVEL >= 2.

TensorFlow writes some of them before it reads that variable.
"""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


def load_tensorflow() -> None:
    """Imports TensorFlow and finds its devices, quietly if that is wanted; what went wrong is shown all the same."""
    if sys.argv[:1] == ["-m"]:  # `python -m shufflenet_tf...`: the reader of its output did not ask for notes
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    wanted = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "0") in ("2", "3") and "tensorflow" not in sys.modules
    with held_back() if wanted else contextlib.nullcontext():
        import tensorflow as tf

        tf.config.list_physical_devices()


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Holds back what is written to the standard error, by C++ too; shows it if the block fails."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(saved, held.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
