"""What the programs of this folder have in common: flags of their own, and one sentence for each thing that can go wrong."""

from collections.abc import Callable, Sequence

from absl import flags, logging

from export.optimize.targets import HOST, PHONE, names
from shufflenet_tf.cli import told


def flag_values() -> flags.FlagValues:
    """Returns flags apart from absl's global ones, so that programs can share names; files and flags come in any order."""
    values = flags.FlagValues()
    values.set_gnu_getopt(True)
    flags.DEFINE_bool("help", False, "Show this.", short_name="h", flag_values=values)
    return values


def define_timing(values: flags.FlagValues, runs: int) -> None:
    """Defines the flags of programs that time files: --threads, --runs and --cpu_time, with `runs` as default."""
    flags.DEFINE_integer("threads", 1, "Threads of each interpreter.", 1, flag_values=values)
    flags.DEFINE_integer("runs", runs, "Timed runs of each file.", 1, flag_values=values)
    flags.DEFINE_bool(
        "cpu_time", False, "Count what one thread computes, not what passes: for a machine that others use.", flag_values=values
    )


def define_target(values: flags.FlagValues) -> None:
    """Defines --target, the processor that files are made for."""
    flags.DEFINE_string(
        "target",
        PHONE,
        f"Processor to make the files fast on: {', '.join(names())}, {HOST} (this machine, measured on first use), "
        "or a .json file of export.calibrate.",
        flag_values=values,
    )


def run(module: str, description: str, values: flags.FlagValues, main: Callable[[list[str]], None], argv: Sequence[str]) -> int:
    """Parses flags, runs a program and returns its exit status; what went wrong is told in one sentence.

    Args:
      module: the program's name in messages, such as "export.benchmark".
      description: what --help shows above the flags.
      values: its flags, from `flag_values`.
      main: called with the arguments that are no flags.
      argv: of the process, its first element being the program.
    """

    def work() -> None:
        arguments = values(argv)[1:]
        if not values.help:
            return main(arguments)
        own = sorted({values[name].name for name in values})
        lines = [f"  --{name + ('' if values[name].boolean else '='):12}{values[name].help}" for name in own]
        print("\n".join([description.strip(), "", "Flags:", *lines]))

    logging.set_verbosity(logging.ERROR)
    try:
        return told(module, work, interrupted="Interrupted; nothing was left half-written.")
    finally:
        values.unparse_flags()
