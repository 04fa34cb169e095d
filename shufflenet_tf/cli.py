"""What programs have in common: whatever goes wrong is told in one sentence, and by the exit status."""

import os
import re
import sys
from collections.abc import Callable

import tensorflow as tf
from absl import flags

from shufflenet_tf.errors import UserError

# Lines of TensorFlow's message that tell where, not why; Python's traceback, which may follow the reason, is cut off.
_WHERE = re.compile(r"Graph execution error:$|Detected at node |\s+File \"|<stack traces unavailable>|\s*$")
_NOISE = re.compile(
    r"\{\{function_node [^}]*\}\}\s*|\s*\[\[(\{\{node |Iterator|Stateful).*|\s*\[Op:\w+\].*"
    r"|( compatible with node )?\{\{node [^}]*\}\}"
    r"|Error in user-defined function passed to .*? with iterator: [\w:\[\]]*: "
)
_REMEDIES = {
    r"filter_size does not have enough|[Gg]radients for grouped conv": "TensorFlow without oneDNN can't differentiate a "
    "grouped convolution: set TF_ENABLE_ONEDNN_OPTS=1, or build it with shufflenet_tf.models.kernels.GroupedConv2D.",
    r"Tensor had (NaN|-?Inf)": "Start afresh with a smaller learning rate, or without 16-bit floats.",
    r"No space left|quota": "Make room on the disk.",
    r"[Uu]nknown image file format|Invalid (JPEG|PNG)|crop window": "An image is damaged: find and remove it.",
    r"[Ii]ncompatible shapes|size-incompatible": "The images or labels are not of the sizes that the model was built for.",
    r"unsupported operations .* XLA": "Compile with jit_compile=False.",
}


def reason(error: tf.errors.OpError) -> str:
    """Returns why TensorFlow stopped, without where, and what to do if that is known; in sentences that end with a stop."""
    lines = [_NOISE.sub("", line).strip() for line in (error.message or "").splitlines() if not _WHERE.match(line)]
    sentence = next((line for line in lines if line), type(error).__name__).rstrip(".") + "."
    return " ".join([sentence, *[remedy for pattern, remedy in _REMEDIES.items() if re.search(pattern, sentence)][:1]])


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
    except tf.errors.OpError as error:
        told_reason = reason(error)
        if isinstance(error, tf.errors.ResourceExhaustedError) and "No space left" not in told_reason:
            return complain(f"Memory ran out: {memory}", 1)
        return complain(f"TensorFlow stopped: {told_reason}", 1)
    except KeyboardInterrupt:
        return complain(interrupted, 130)
