"""Runs a .tflite file once in a process of its own: a damaged one can abort LiteRT, and with it the process that it is in."""

import contextlib
import hashlib
import os
import subprocess
import sys

SECONDS = 20.0  # of waiting; by then, a file that is only slow has got past most of what can go wrong
# The child process doesn't import this project, because TensorFlow takes seconds to load.
_CHILD = """
import sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except ImportError:
    pass
from ai_edge_litert.interpreter import Interpreter
with open(sys.argv[1], "rb") as file:
    interpreter = Interpreter(model_content=file.read(), num_threads=int(sys.argv[2]))
interpreter.allocate_tensors()
interpreter.invoke()
"""
COMMAND = (sys.executable, "-c", _CHILD)
# What Python, the loader of shared libraries and C++ say without memory.
MEMORY_WORDS = (b"MemoryError", b"Cannot allocate memory", b"failed to map segment", b"std::bad_alloc")
_tried: set[bytes] = set()  # digests of contents that crashed nothing


def trouble(path: str, content: bytes, threads: int = 1) -> str:
    """Returns why a .tflite file would end the process that runs it, in a few words; "": it would not, or is refused properly.

    Args:
      path: of the file.
      content: of the file; one that was tried before in this process is not run again.
      threads: of the interpreter.
    """
    digest = hashlib.sha256(content).digest()
    if digest in _tried:
        return ""
    ended = None
    with contextlib.suppress(subprocess.TimeoutExpired, OSError):  # it is slow; or no process can be started here
        ended = subprocess.run(
            [*COMMAND, os.path.abspath(path), str(threads)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=SECONDS,
            check=False,
        )
    if ended is None or ended.returncode in (0, 1):  # 1: an exception
        _tried.add(digest)
        return ""
    return "memory runs out" if any(word in ended.stderr for word in MEMORY_WORDS) else "it crashes"
