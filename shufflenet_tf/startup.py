"""How TensorFlow is loaded: by this project's programs with oneDNN, and quietly where TF_CPP_MIN_LOG_LEVEL >= 2 asks for it.

TensorFlow writes some of its start-up notes before it reads that variable.
"""

import contextlib
import os
import pathlib
import platform
import sys
import tempfile
from collections.abc import Iterator

_ROOT = pathlib.Path(__file__).resolve().parents[1]


def load_tensorflow() -> None:
    """Imports TensorFlow and finds its devices, quietly if that is wanted; what went wrong is shown all the same."""
    if in_program():
        choose_kernels()
    if sys.argv[:1] == ["-m"]:  # `python -m shufflenet_tf...`: the reader of its output did not ask for notes
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    wanted = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "0") in ("2", "3") and "tensorflow" not in sys.modules
    with held_back() if wanted else contextlib.nullcontext():
        import tensorflow as tf

        tf.config.list_physical_devices()


def in_program() -> bool:
    """Returns whether this process runs a program of this project; another one is its owner's, who chooses for it."""
    main = sys.modules["__main__"]
    if sys.argv[:1] == ["-m"]:  # Python looks for the module, and this is its package
        words = iter(sys.orig_argv[1:])
        module = next((word[2:] or next(words, "") for word in words if word.startswith("-m")), "")
    else:
        module = getattr(main.__spec__, "name", "")
    script = pathlib.Path(getattr(main, "__file__", None) or ".").resolve()
    return module.split(".")[0] in ("shufflenet_tf", "export", "papers") or script in (
        _ROOT / "train_main.py",
        _ROOT / "benchmarks" / script.name,
    )


def choose_kernels() -> None:
    """Turns oneDNN's kernels on where they are the faster ones, unless the user has chosen by TF_ENABLE_ONEDNN_OPTS.

    On x86 TensorFlow itself leaves them off unless the processor has instructions for neural networks, though a training
    step takes 0.6 to 0.8 of the time with them on AVX2 too (benchmarks/train_throughput.py). On ARM, TensorFlow decides.
    """
    if platform.machine().lower() in ("x86_64", "amd64") and "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


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
