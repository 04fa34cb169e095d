"""The flag that only the programs of this folder know, --target; what all programs share is in `shufflenet_tf.cli`."""

from absl import flags

from export.optimize.targets import HOST, PHONE, names
from shufflenet_tf.cli import define_timing, flag_values, run

__all__ = ["define_target", "define_timing", "flag_values", "run"]


def define_target(values: flags.FlagValues) -> None:
    """Defines --target, the processor that files are made for."""
    flags.DEFINE_string(
        "target",
        PHONE,
        f"Processor to make the files fast on: {', '.join(names())}, {HOST} (this machine, measured on first use), "
        "or a .json file of export.calibrate.",
        flag_values=values,
    )
