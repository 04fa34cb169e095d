"""The flag --target, for every program that makes files for a processor."""

from absl import flags

from export.optimize.targets import HOST, PHONE, names


def define_target(values: flags.FlagValues) -> None:
    """Defines --target, the processor that files are made for."""
    flags.DEFINE_string(
        "target",
        PHONE,
        f"Processor to make the files fast on: {', '.join(names())}, {HOST} (this machine, measured on first use), "
        "or a .json file of export.calibrate.",
        flag_values=values,
    )
