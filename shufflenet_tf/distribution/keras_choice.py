"""The strategies that only tf_keras trains with: the program starts again under it."""

import importlib.util
import os
import subprocess
import sys

from shufflenet_tf import startup
from shufflenet_tf.distribution import cluster
from shufflenet_tf.errors import UserError

NEED_TF_KERAS = ("multi_worker", "tpu")
_CHOICE = "TF_USE_LEGACY_KERAS"


def check(strategy: str) -> None:
    """Raises a UserError if `strategy` needs tf_keras and Keras 3 is loaded."""
    from shufflenet_tf.models.kernels import LEGACY_KERAS

    if strategy in NEED_TF_KERAS and not LEGACY_KERAS:
        raise UserError(
            f"--strategy={strategy} needs tf_keras, as Keras 3 doesn't train that way, and Keras 3 is loaded: set the "
            f"environment variable {_CHOICE}=1 before Python starts."
        )


def start_again_if_needed(strategy: str) -> None:
    """Replaces this program by itself under tf_keras, if `strategy` needs that and nobody has chosen otherwise.

    TensorFlow decides between the generations of Keras when it is imported, and the flags are known only then.

    Raises:
      UserError: tf_keras is needed, but another choice was made, or it isn't installed; or there is no cluster.
    """
    if strategy not in NEED_TF_KERAS or os.environ.get(_CHOICE) or not startup.in_program():
        return check(strategy)
    if strategy == "multi_worker":
        cluster.from_environment()  # what is wrong with it is said at once
    if importlib.util.find_spec("tf_keras") is None:
        raise UserError(f"--strategy={strategy} needs tf_keras, which is not installed: pip install tf_keras.")
    print(f"--strategy={strategy} trains under tf_keras: starting again with {_CHOICE}=1.", flush=True)
    command, variables = [sys.executable, *sys.orig_argv[1:]], os.environ | {_CHOICE: "1"}
    if os.name == "nt":  # there, exec would return to the caller's prompt at once
        sys.exit(subprocess.call(command, env=variables))
    os.execve(command[0], command, variables)
