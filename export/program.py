"""What the programs of this folder have in common: flags of their own, and one sentence for each thing that can go wrong."""

import os
import sys
from collections.abc import Callable, Sequence

from absl import flags, logging

from shufflenet_tf.errors import UserError


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


def run(module: str, description: str, values: flags.FlagValues, main: Callable[[list[str]], None], argv: Sequence[str]) -> int:
    """Parses flags, runs a program and returns its exit status; what went wrong is told in one sentence.

    Args:
      module: the program's name in messages, such as "export.benchmark".
      description: what --help shows above the flags.
      values: its flags, from `flag_values`.
      main: called with the arguments that are no flags.
      argv: of the process, its first element being the program.
    """
    import tensorflow as tf

    def complain(sentence: str, status: int) -> int:
        print(f"{module}: {sentence}", file=sys.stderr)
        return status

    logging.set_verbosity(logging.ERROR)
    try:
        arguments = values(argv)[1:]
        if values.help:
            own = sorted({values[name].name for name in values})
            lines = [f"  --{name + ('' if values[name].boolean else '='):12}{values[name].help}" for name in own]
            print("\n".join([description.strip(), "", "Flags:", *lines]))
            return 0
        main(arguments)
    except flags.Error as error:
        return complain(" ".join(str(error).split()), 2)
    except UserError as error:
        return complain(str(error), 2)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        return complain(f"{error.strerror or error} ({error.filename}).", 1)
    except tf.errors.OpError as error:
        return complain(f"TensorFlow stopped: {(error.message.strip().splitlines() or [type(error).__name__])[0]}", 1)
    except KeyboardInterrupt:
        return complain("Interrupted; nothing was left half-written.", 130)
    finally:
        values.unparse_flags()
    return 0
