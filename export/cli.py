"""What the commands of this folder share beyond `shufflenet_tf.cli`: --target, and the step to a phone."""

import pathlib
import shlex
from collections.abc import Sequence

from export.optimize.target_flag import define_target

__all__ = ["define_target", "phone_step"]


def phone_step(files: Sequence[str]) -> list[tuple[str, str]]:
    """Returns the step for `shufflenet_tf.cli.next_steps` that shows models on a phone; none outside of a checkout."""
    command = f'make android MODEL="{shlex.join(files)}"'
    return [("see it on a phone", command)] if pathlib.Path("android_demo").is_dir() else []
