"""Measures what operators cost on a processor, for the optimizer to choose by (`--target`).

This machine, kept for --target=host (about a minute):
  python -m export.calibrate

The same into a file, for `export.tflite --target=laptop.json`:
  python -m export.calibrate --output=laptop.json

Another machine, such as a phone: write the graphs, run each there (LiteRT's benchmark_model does it), note the microseconds
of one inference of each as JSON {"name": microseconds}, and fit a target to them here:
  python -m export.calibrate --write=graphs
  python -m export.calibrate --times=pixel.json --processor="Pixel 8, big core" --litert=2.3.0 --output=pixel_8.json

The targets of phones that come with the project are fitted to an emulator's counts (benchmarks/arm): cycles at a stated clock.
  python -m export.calibrate --times=a76.json --gigahertz=2.4 --processor="Arm Cortex-A76" --output=phone.json

What is printed last says how well the costs predict operators that they were not fitted to.
"""

import json
import os
import pathlib
import sys
import time
from collections.abc import Sequence

from absl import flags

from export.optimize.targets import HOST, InvalidTarget, Target, host
from export.optimize.targets.fitting import Fit, InvalidTimes
from export.optimize.targets.specimens import specimens
from shufflenet_tf import cli
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import atomic_path, check_writable

FLAGS = cli.flag_values()
flags.DEFINE_string("output", None, "The target's file, .json; default: where --target=host looks for it.", flag_values=FLAGS)
flags.DEFINE_string("write", None, "Folder to write the graphs into instead of measuring them.", flag_values=FLAGS)
flags.DEFINE_string("times", None, "JSON file {graph: microseconds} that was measured elsewhere.", flag_values=FLAGS)
flags.DEFINE_string("processor", None, "Of --times: what was measured, in words.", flag_values=FLAGS)
flags.DEFINE_string(
    "litert", None, "Of --times: version of LiteRT that was measured; default: the one here.", flag_values=FLAGS
)
flags.DEFINE_float(
    "gigahertz", None, "Of --times: they are cycles, modelled, of a clock of so many GHz.", 0.01, 10, flag_values=FLAGS
)

_LEAST, _MOST = 1e-6, 1e12  # microseconds that can be meant


def main(arguments: list[str]) -> None:
    cli.refuse_arguments(arguments)
    if FLAGS.write is not None:
        return _write(pathlib.Path(FLAGS.write))
    output = pathlib.Path(FLAGS.output or host.cache_path())
    if output.suffix != ".json":
        raise UserError(f"--output={output} is no .json file: give a name such as laptop.json.")
    if FLAGS.times is not None and FLAGS.output is None:
        raise UserError("--times is of another machine, and would replace this one's target: give --output=NAME.json.")
    if FLAGS.times is None and FLAGS.gigahertz is not None:
        raise UserError("--gigahertz is of --times that are cycles; this machine is measured in microseconds.")
    times = None if FLAGS.times is None else read_times(FLAGS.times)
    check_writable(output.parent)
    began = time.monotonic()
    times = host.measure(host.progress_bar) if times is None else times
    processor = FLAGS.processor or ("" if FLAGS.times is None else f"not named (the times are {FLAGS.times})")
    save(times, output, processor, FLAGS.litert or "", FLAGS.gigahertz)
    print(
        f"{output}, after {time.monotonic() - began:.0f} s: give it as --target={'host' if FLAGS.output is None else output}."
    )


def save(
    times: dict[str, float], output: pathlib.Path, processor: str = "", litert: str = "", gigahertz: float | None = None
) -> None:
    """Fits a target to times, writes its file and prints how well it fits.

    Args:
      times: microseconds by graph, or cycles where `gigahertz` is given.
      output: the file; its name is the target's.
      processor, litert: what was measured; "": this machine.
      gigahertz: clock of a processor whose cycles `times` are.

    Raises:
      UserError: there are too few times.
    """
    name = HOST if output == host.cache_path() else output.stem
    try:
        target, fits = host.target(times, name, processor, litert, gigahertz)
    except InvalidTimes as error:
        raise UserError(f"{error} `export.calibrate --write=FOLDER` writes the graphs to measure.") from None
    try:
        text = Target.from_json(target.to_json()).to_json()
    except InvalidTarget as error:
        raise UserError(f"This gives no target that could be used: {error}") from None
    with atomic_path(output) as path:
        path.write_text(text, encoding="utf-8")
    print(f"{target.processor}, LiteRT {target.litert}\n{table(fits)}")


def table(fits: Sequence[Fit]) -> str:
    """Returns how well each operator's cost is predicted where it was held out, as text."""
    lines = [f"{'operator':24} graphs  error of held-out ones: median  worst"]
    return "\n".join(lines + [f"{f.type + ' ' + f.operator:24} {f.count:6}  {f.median:30.0%} {f.worst:6.0%}" for f in fits])


def read_times(path: str | os.PathLike) -> dict[str, float]:
    """Returns the microseconds by graph that a JSON file holds.

    Raises:
      UserError: the file is missing, no JSON, or holds anything but positive numbers.
    """
    try:
        times = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--times={path} can't be read ({error.strerror or error}).") from None
    except (ValueError, RecursionError):
        raise UserError(f'--times={path} is no JSON: give a file such as {{"slice_28_60.int8": 12.5, …}}.') from None
    if not isinstance(times, dict) or not times:
        raise UserError(f'--times={path} is no table: give a file such as {{"slice_28_60.int8": 12.5, …}}.')
    for name, value in times.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not (_LEAST <= value <= _MOST):
            raise UserError(
                f"--times={path} has {str(value)[:40]} for {name[:40]!r}: microseconds are expected, a number above 0."
            )
    return {name: float(value) for name, value in times.items()}


def _write(folder: pathlib.Path) -> None:
    check_writable(folder)
    chosen = list(specimens())
    for n, specimen in enumerate(chosen):
        host.progress_bar(n, len(chosen), specimen.name)
        with atomic_path(folder / f"{specimen.name}.tflite") as path:
            path.write_bytes(specimen.make())
    host.progress_bar(len(chosen), len(chosen), "done")
    print(f"{len(chosen)} graphs are in {folder}: note the microseconds of one inference of each, and give them as --times.")


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("export.calibrate", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
