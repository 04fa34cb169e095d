"""The step to a phone, which this folder's commands name at their end; the rest of a command line is in `shufflenet_tf.cli`."""

import pathlib
import shlex
from collections.abc import Sequence


def phone_step(files: Sequence[str]) -> list[tuple[str, str]]:
    """Returns the step for `shufflenet_tf.cli.next_steps` that shows models on a phone; empty outside a checkout."""
    command = f'make android MODEL="{shlex.join(files)}"'
    return [("see it on a phone", command)] if pathlib.Path("android_demo").is_dir() else []
