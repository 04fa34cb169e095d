"""On how many threads TensorFlow computes an operation: it takes the number once, before it computes anything."""

import contextlib
import os
from collections.abc import Sequence

import tensorflow as tf

from shufflenet_tf import startup

_LARGEST = 128  # pixels: the longer side of small images


def choose(size: Sequence[int]) -> None:
    """Has each operation of a training at small images run on one thread, on two processors and in our own programs.

    Such an operation takes less than a millisecond, of which dividing it between two threads is a good part. Both processors
    still have work: the gradients of input and weights are computed beside each other, and so are the next images. A step at
    64 px takes 0.5 to 0.6 of the time, one at 128 px as much, with less work for the processors (docs/speed.md). At larger
    images, and without oneDNN, two threads are faster. TensorFlow chooses where there are more processors, and where
    TF_NUM_INTRAOP_THREADS is set.

    Args:
      size: height and width of the network's input, pixels.
    """
    # TensorFlow's own kernels take 0.9 of the time at 64 px, but 1.4 at 128 px.
    onednn = os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "1"
    if max(size) > _LARGEST or _processors() != 2 or not onednn or not startup.in_program():
        return
    if "TF_NUM_INTRAOP_THREADS" in os.environ:
        return
    with contextlib.suppress(RuntimeError):  # TensorFlow has computed something
        tf.config.threading.set_intra_op_parallelism_threads(1)


def _processors() -> int:
    """Returns how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
