"""What the programs of this folder share: the flags of `shufflenet_tf.cli`, --target, and the step to a phone."""

import pathlib
import shlex
from collections.abc import Sequence

from export.optimize.target_flag import define_target
from shufflenet_tf.cli import define_timing, flag_values, run

__all__ = ["define_target", "define_timing", "flag_values", "phone_step", "run"]


def phone_step(files: Sequence[str]) -> list[tuple[str, str]]:
    """Returns the step for `shufflenet_tf.cli.next_steps` that shows models on a phone; none outside of a checkout."""
    command = f'make android MODEL="{shlex.join(files)}"'
    return [("see it on a phone", command)] if pathlib.Path("android_demo").is_dir() else []
