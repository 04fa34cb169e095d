"""Why TensorFlow stopped, in a sentence without stack traces, and what to do about it."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

# Lines of TensorFlow's message that tell where, not why; Python's traceback, which may follow the reason, is cut off.
_WHERE = re.compile(r"Graph execution error:$|Detected at node |\s+File \"|<stack traces unavailable>|\s*$")
_NOISE = re.compile(
    r"\{\{function_node [^}]*\}\}\s*|\s*\[\[(\{\{node |Iterator|Stateful).*|\s*\[Op:\w+\].*"
    r"|( compatible with node )?\{\{node [^}]*\}\}"
    r"|Error in user-defined function passed to .*? with iterator: [\w:\[\]]*: |\bUserError: "
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


def reason(error: "tf.errors.OpError") -> str:
    """Returns why TensorFlow stopped, without where, and what to do if that is known; in sentences that end with a stop."""
    lines = [_NOISE.sub("", line).strip() for line in (error.message or "").splitlines() if not _WHERE.match(line)]
    sentence = next((line for line in lines if line), type(error).__name__).rstrip(".") + "."
    return " ".join([sentence, *[remedy for pattern, remedy in _REMEDIES.items() if re.search(pattern, sentence)][:1]])
