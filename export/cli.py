"""What the programs of this folder share: the flags of `shufflenet_tf.cli`, and --target."""

from export.optimize.target_flag import define_target
from shufflenet_tf.cli import define_timing, flag_values, run

__all__ = ["define_target", "define_timing", "flag_values", "run"]
