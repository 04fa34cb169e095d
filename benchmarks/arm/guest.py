"""The emulated program: runs .tflite files under LiteRT and marks one inference of each for counter.c.

    python guest.py OUTPUTS.npz INPUTS a.tflite b.tflite …

INPUTS is the number of random inputs. They are the same on every machine, because they are derived from random integers without
rounding. OUTPUTS.npz holds the arrays FILE.INPUT.OUTPUT, all numbered from 0. The program imports only NumPy and LiteRT:
TensorFlow isn't available for this ARM system, and needs AVX.
"""

import contextlib
import os
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter

MAGIC = 0x4C52  # as in counter.c


def mark(number: int) -> None:
    """Tells the plugin to reset its counts (0), or to write them."""
    with contextlib.suppress(OSError):
        os.getpriority(MAGIC, number)


def sample(detail: dict, rng: np.random.Generator) -> np.ndarray:
    """Returns a random input: any value of an 8-bit integer type, 0 or 1 of a wider one, float [-1, 1)."""
    shape, dtype = detail["shape"], np.dtype(detail["dtype"])
    if dtype.kind == "f":
        return (rng.integers(-1024, 1024, shape) / 1024).astype(dtype)
    narrow = dtype.kind in "iu" and dtype.itemsize == 1
    low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max + 1) if narrow else (0, 2)
    return rng.integers(low, high, shape).astype(dtype)


def main(target: str, count: str, *paths: str) -> None:
    arrays = {}
    for number, path in enumerate(paths):
        runner, rng = Interpreter(path, num_threads=1), np.random.default_rng(0)
        runner.allocate_tensors()
        for i in range(int(count)):
            for detail in runner.get_input_details():
                runner.set_tensor(detail["index"], sample(detail, rng))
            runner.invoke()
            if i == 0:  # count the second run, which excludes the setup
                mark(0)
                runner.invoke()
                mark(number + 1)
            for k, detail in enumerate(runner.get_output_details()):
                arrays[f"{number}.{i}.{k}"] = runner.get_tensor(detail["index"]).copy()
    np.savez(target, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
