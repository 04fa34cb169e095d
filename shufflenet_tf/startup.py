"""Loads TensorFlow only when it is needed, quietly if this project imports it, and registers our layers.

`import shufflenet_tf` loads no TensorFlow. `install` adds an import hook that runs when any code imports TensorFlow or
Keras:

* If a module of this project imports TensorFlow, the messages of its start-up are suppressed.
* When the load is complete, `shufflenet_tf.models` is imported too, so that `tf.keras.models.load_model` knows our classes.

Nothing else changes in a process that doesn't run one of this project's programs.
"""

import contextlib
import importlib
import importlib.abc
import importlib.util
import os
import pathlib
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from types import TracebackType

from shufflenet_tf import keras_settings

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_PACKAGES = ("shufflenet_tf", "export", "papers", "benchmarks", "train_main")
_HOOKED = ("tensorflow", "keras", "tf_keras")
SCRIPTS = "shufflenet-"  # prefix of the installed commands


def install() -> None:
    """Adds the import hook; in this project's programs, also sets TensorFlow's options."""
    if in_program():
        _open_streams()
        sys.excepthook = _without_traceback(sys.excepthook)
        choose_kernels()
        os.environ["KERAS_BACKEND"] = "tensorflow"
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # a name that the terminal can't show must not end a program
                stream.reconfigure(errors="backslashreplace")
        # TensorFlow's messages, some of them harmless at level "error", don't help users; failures are raised in Python.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if _keras() in sys.modules:
        importlib.import_module("shufflenet_tf.models")
    else:
        sys.meta_path.insert(0, _Hook())


def _open_streams() -> None:
    """Opens the standard streams where the caller has closed them (>&-), to nothing.

    Else the next file that is opened, such as a checkpoint, takes their place, and what C++ prints is written into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115


def _without_traceback(hook: Callable[..., None]) -> Callable[..., None]:
    """Returns a hook for uncaught exceptions that says of Ctrl-C, while TensorFlow is being loaded, what programs say of it."""

    def tell(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print("Interrupted.", file=sys.stderr)
        else:
            hook(kind, error, traceback)

    return tell


def in_program() -> bool:
    """Returns whether this process runs a program of this project; in others, the user chooses TensorFlow's options."""
    main = sys.modules["__main__"]
    if sys.argv[:1] == ["-m"]:  # Python is still looking for the module; this is its package
        words = iter(sys.orig_argv[1:])
        module = next((word[2:] or next(words, "") for word in words if word.startswith("-m")), "")
    else:
        module = getattr(main.__spec__, "name", "")
    script = pathlib.Path(getattr(main, "__file__", None) or ".").resolve()
    return (
        module.split(".")[0] in _PACKAGES
        or script in (_ROOT / "train_main.py", _ROOT / "benchmarks" / script.name)
        or script.name.startswith(SCRIPTS)
    )


def choose_kernels() -> None:
    """Enables oneDNN's kernels where they are faster, unless the user has set TF_ENABLE_ONEDNN_OPTS.

    On x86, TensorFlow enables them only if the processor has instructions for neural networks. But on AVX2, too, they reduce
    the time of a training step to 0.6 to 0.8 (benchmarks/train_throughput.py). On ARM, TensorFlow decides.
    """
    if platform.machine().lower() in ("x86_64", "amd64") and "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Suppresses output on standard error, also from C++; shows it if the block fails."""
    try:
        held = tempfile.TemporaryFile()  # noqa: SIM115
    except OSError:  # of a file system that is read-only throughout
        yield
        return
    sys.stderr.flush()
    saved = os.dup(2)
    with held:
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


def litert_held_back() -> contextlib.AbstractContextManager[None]:
    """Suppresses what LiteRT announces when it opens a file, such as its delegate, unless TensorFlow's messages are wanted."""
    wanted = os.environ.get("TF_CPP_MIN_LOG_LEVEL") in ("0", "1")
    return contextlib.nullcontext() if wanted else held_back()


class _Hook(importlib.abc.MetaPathFinder):
    """Finds TensorFlow, Keras and our own modules as Python does, and wraps their loaders in `_Loader`.

    Attributes:
      running: the modules that are being imported, the outermost first. They import each other, so ours may be imported from
        here only when the outermost one is complete.
    """

    def __init__(self):
        self.running: list[str] = []

    def find_spec(self, name, path=None, target=None):
        if name not in _HOOKED and not name.startswith("shufflenet_tf."):
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(self, spec.loader)
                return spec
        return None


class _Loader(importlib.abc.Loader):
    """Runs the module with Python's loader, which then replaces this one."""

    def __init__(self, hook: _Hook, loader: importlib.abc.Loader):
        self.hook, self.loader = hook, loader

    def __getattr__(self, name):
        return getattr(self.loader, name)

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        module.__loader__ = module.__spec__.loader = self.loader
        running = self.hook.running
        quiet = module.__name__ in _HOOKED and not any(name in _HOOKED for name in running) and _wanted_by_us()
        if quiet:
            keras_settings.check_before_loading(in_program())
        running.append(module.__name__)
        try:
            with _quiet() if quiet else contextlib.nullcontext():
                self.loader.exec_module(module)
        finally:
            running.pop()
        if not running and _keras() in sys.modules and self.hook in sys.meta_path:
            sys.meta_path.remove(self.hook)
            if in_program():
                keras_settings.choose()
            importlib.import_module("shufflenet_tf.models")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses TensorFlow's messages while it is loaded, unless the user asks for them with TF_CPP_MIN_LOG_LEVEL."""
    level = os.environ.get("TF_CPP_MIN_LOG_LEVEL")
    if level in ("0", "1"):
        yield
        return
    with held_back():
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = level or "1"  # TensorFlow reads it once; warnings and errors are shown later
        try:
            yield
            import tensorflow as tf

            tf.config.list_physical_devices()  # prints messages, too
        finally:
            if level is None:
                del os.environ["TF_CPP_MIN_LOG_LEVEL"]


def _wanted_by_us() -> bool:
    """Returns whether the import statement that is running is in a module of this project."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name != __name__ and not name.startswith("importlib"):
            module = frame.f_globals["__spec__"].name if name == "__main__" and frame.f_globals.get("__spec__") else name
            return module.split(".")[0] in _PACKAGES or (name == "__main__" and in_program())
        frame = frame.f_back
    return False


def _keras() -> str:
    """Returns the package that tf.keras is or will be."""
    return "tf_keras" if os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("1", "true") else "keras"
