"""Shared by all command lines: flags, one form of --help, one sentence for a failure, exit statuses and next steps.

A program has flags that are separate from absl's global ones, and a `run` that a console script can call:

    FLAGS = cli.flag_values()
    cli.define_model(FLAGS)
    flags.DEFINE_integer("top", 5, "Classes to name for a photo.", 1, flag_values=FLAGS)

    def main(arguments: list[str]) -> None: ...

    def run(argv: Sequence[str] | None = None) -> int:
        return cli.run("classify", __doc__, FLAGS, main, argv)

Exit statuses: 0, 1 after a failure, 2 after a usage error, 75 to be started again, 130 after Ctrl-C.
"""

import contextlib
import os
import pathlib
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

from absl import flags, logging

from shufflenet_tf import help_text
from shufflenet_tf.errors import UserError, printable
from shufflenet_tf.limits import allow_megapixels
from shufflenet_tf.tensorflow_errors import reason
from shufflenet_tf.text_files import expand_flag_files

STATUS_FAILED, STATUS_USAGE, STATUS_INTERRUPTED = 1, 2, 130
STATUS_RESTART = 75  # EX_TEMPFAIL of sysexits.h: the same command goes on from a checkpoint


class _ProgramFlags(flags.FlagValues):
    """Flags of one program; `headings`: the first flag of each group -> the group's heading in --help."""

    def __init__(self):
        self.__dict__["headings"] = {}
        super().__init__()


def flag_values() -> flags.FlagValues:
    """Returns flags that are separate from absl's, so that programs can share names; files and flags can be in any order."""
    values = _ProgramFlags()
    values.set_gnu_getopt(True)
    flags.DEFINE_bool("help", False, "Show this help.", short_name="h", flag_values=values)
    return values


def heading(values: flags.FlagValues, text: str) -> None:
    """Starts a group of flags in --help."""
    values.__dict__["headings"][len(help_text.listed(values))] = text


def define_alias(values: flags.FlagValues, old: str, name: str) -> None:
    """Accepts an earlier name of the flag `name`, also in flag files; --help doesn't list it."""
    flags.DEFINE_alias(old, name, flag_values=values)


def define_model(
    values: flags.FlagValues, help: str = "Trained model: a run's folder or a .keras, .npz, .pth or .tflite file."
):
    """Defines --model, the path of a trained model."""
    flags.DEFINE_string("model", None, help, flag_values=values)


def define_networks(values: flags.FlagValues, default: Sequence[str] = ("*",)) -> None:
    """Defines --network, names of registered architectures."""
    flags.DEFINE_list("network", list(default), "Registered networks, with shell wildcards.", flag_values=values)


def define_dataset(values: flags.FlagValues, default: str | None = None, help: str = "Images") -> None:
    """Defines --dataset and --data_dir; `help`: what the images are for."""
    flags.DEFINE_string(
        "dataset",
        default,
        f"{help}: shapes (drawn on first use), folder:PATH, a plain folder, or tfds:NAME.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "data_dir",
        None,
        "Folder of prepared TensorFlow Datasets; default: a folder in your home.",
        flag_values=values,
    )
    define_max_megapixels(values)


def define_max_megapixels(values: flags.FlagValues) -> None:
    """Defines --max_megapixels, the maximum size of photos."""
    flags.DEFINE_float(
        "max_megapixels",
        None,
        "Maximum size of photos, in million pixels; default: 400 for JPEG files and 179 for others.",
        1,
        flag_values=values,
    )


def define_output(values: flags.FlagValues, help: str, default: str | None = None, alias: str | None = None) -> None:
    """Defines --output, the file or folder of the results."""
    flags.DEFINE_string("output", default, help, flag_values=values)
    if alias:
        define_alias(values, alias, "output")


def define_optional_file(values: flags.FlagValues, name: str, default: str, help: str) -> None:
    """Defines --NAME[=FILE], a file that is written if asked for: at `default` where no file is named."""

    class Parser(flags.ArgumentParser):
        def parse(self, argument: str | None) -> str | None:
            return {"true": default, "false": None}.get(argument, argument)  # what absl makes of --NAME and --noNAME

    text = f"{help} --{name}=FILE names the picture, which is {default} otherwise."
    flags.DEFINE_flag(flags.Flag(Parser(), flags.ArgumentSerializer(), name, None, text, boolean=True), values)


def define_threads(values: flags.FlagValues) -> None:
    """Defines --threads."""
    flags.DEFINE_integer("threads", 1, "Threads of each interpreter.", 1, flag_values=values)


def define_timing(values: flags.FlagValues, runs: int) -> None:
    """Defines the flags of programs that time files: --threads, --runs and --cpu_time, with `runs` as default."""
    define_threads(values)
    flags.DEFINE_integer("runs", runs, "Timed runs of each file.", 1, flag_values=values)
    flags.DEFINE_bool(
        "cpu_time", False, "Measure the CPU time of one thread, for a machine that others use too.", flag_values=values
    )


def refuse_arguments(arguments: Sequence[str]) -> None:
    """Raises a UserError for an argument on the command line that is not a flag."""
    if arguments:
        raise UserError(f"Unexpected argument {arguments[0]!r}: all settings are flags, --name=value.")


def run(
    name: str,
    description: str | None,
    values: flags.FlagValues,
    main: Callable[[list[str]], int | None],
    argv: Sequence[str] | None = None,
    **messages,
) -> int:
    """Parses flags, runs a program and returns its exit status; a failure is reported in one sentence.

    Args:
      name: the program's name in messages, such as "export.benchmark".
      description: what --help shows above the flags: a sentence and examples; None, as `python -OO` makes it: the name.
      values: its flags, from `flag_values`.
      main: called with the arguments that are not flags; may return an exit status.
      argv: command line, which starts with the program; None: sys.argv.
      **messages: see `run_and_report`.
    """

    def work() -> int | None:
        arguments = values(expand_flag_files(list(map(str, sys.argv if argv is None else argv))))[1:]
        if "max_megapixels" in values and values.max_megapixels:
            allow_megapixels(values.max_megapixels)
        if not values.help:
            return main(arguments)
        print(help_text.text(description or name, values))

    logging.set_verbosity(logging.ERROR)  # Keras's and TensorFlow's messages don't help users
    try:
        return run_and_report(name, work, **{"interrupted": "Interrupted; nothing was left half-written."} | messages)
    finally:
        values.unparse_flags()


def run_and_report(
    name: str,
    work: Callable[[], int | None],
    path: Callable[[], str | None] = lambda: None,
    memory: str = "close other programs, or give a smaller model.",
    failed: str = "",
    interrupted: str = "Interrupted.",
) -> int:
    """Runs a program's work and returns its exit status; a failure is reported in one sentence on standard error.

    Args:
      name: name of the program, at the start of the sentence.
      work: returns None or an exit status.
      path: returns the path that it writes, for errors that don't name one.
      memory: advice after memory ran out.
      failed: addition to the message of an operating system's error.
      interrupted: message after Ctrl-C or SIGTERM.
    """

    def complain(sentence: str, status: int) -> int:
        print(f"{name}: {printable(sentence)}", file=sys.stderr)
        return status

    try:
        with _stopped_by_sigterm():
            return work() or 0
    except flags.Error as error:
        return complain(" ".join(str(error).split()), STATUS_USAGE)
    except UserError as error:
        return complain(str(error), error.status)
    except BrokenPipeError:  # the reader, such as `head`, needs no more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f" ({place})" if (place := error.filename or path()) else ""
        return complain(f"{error.strerror or error}{where}{failed}.", STATUS_FAILED)
    except KeyboardInterrupt:
        return complain(interrupted, STATUS_INTERRUPTED)
    except MemoryError:
        return complain(f"Memory ran out: {memory}", STATUS_FAILED)
    except Exception as error:
        if _memory_ended(error):
            return complain(f"Memory ran out: {memory}", STATUS_FAILED)
        tensorflow = sys.modules.get("tensorflow")  # a program that hasn't loaded it should not wait for it
        if tensorflow is None or not isinstance(error, tensorflow.errors.OpError):
            raise
        sentence = reason(error)
        if isinstance(error, tensorflow.errors.ResourceExhaustedError) and "No space left" not in sentence:
            return complain(f"Memory ran out: {memory}", STATUS_FAILED)
        return complain(f"TensorFlow stopped: {sentence}", STATUS_FAILED)


def _memory_ended(error: BaseException | None) -> bool:
    """Returns whether memory had run out when an error arose, such as h5py's from closing a file that is half-written."""
    while error is not None:
        if isinstance(error, MemoryError) or "can't start new thread" in str(error):
            return True
        error = error.__context__
    return False


@contextlib.contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Makes SIGTERM, which schedulers and containers send to end a program, act like Ctrl-C."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield
        return
    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def next_steps(steps: Sequence[tuple[str, str]]) -> str:
    """Returns the last lines of a program's output: commands that the user may want next, with real paths.

    Args:
      steps: pairs of (purpose, command); "python" at the start of a command becomes this interpreter.
    """
    width = max(len(purpose) for purpose, _ in steps)
    return "\n".join(["Next:", *(f"  {purpose + ':':{width + 1}} {_with_interpreter(c)}" for purpose, c in steps)])


def _with_interpreter(command: str) -> str:
    program, _, rest = command.partition(" ")
    if program != "python":
        return command
    interpreter, here = pathlib.Path(sys.executable), pathlib.Path.cwd()
    return f"{shlex.quote(str(interpreter.relative_to(here))) if interpreter.is_relative_to(here) else 'python'} {rest}"
