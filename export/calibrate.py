"""Measures the cost of operators on a processor; the optimizer uses these costs to decide (`--target`).

The ranges of int8 have nothing to do with this: `export.tflite --calibration` and `export/ptq/` choose them.

This machine, saved for --target=host (takes about a minute):
  python -m export.calibrate

The same, written to a file for `export.tflite --target=laptop.json`:
  python -m export.calibrate --output=laptop.json

Another machine, such as a phone: write the graphs, run each of them there (for example with LiteRT's benchmark_model), record
the microseconds per inference as JSON {"name": microseconds}, and fit a target to these times here:
  python -m export.calibrate --write=graphs
  python -m export.calibrate --times=pixel.json --processor="Pixel 8, big core" --litert=2.3.0 --output=pixel_8.json

The project's phone targets are fitted to cycle counts from an emulator (benchmarks/arm) at a stated clock rate:
  python -m export.calibrate --times=a76.json --gigahertz=2.4 --processor="Arm Cortex-A76" --output=phone.json

The last lines printed show how well the costs predict operators that were held out of the fit.
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
flags.DEFINE_string("output", None, "Target file, .json; default: the file that --target=host reads.", flag_values=FLAGS)
flags.DEFINE_string("write", None, "Folder for the graphs; writes them instead of measuring them.", flag_values=FLAGS)
flags.DEFINE_string("times", None, "JSON file {graph: microseconds} with times from another machine.", flag_values=FLAGS)
flags.DEFINE_string("processor", None, "With --times: name of the measured processor.", flag_values=FLAGS)
flags.DEFINE_string(
    "litert", None, "With --times: the LiteRT version that was measured; default: the installed one.", flag_values=FLAGS
)
flags.DEFINE_float(
    "gigahertz", None, "With --times: the times are modelled cycles at this clock rate in GHz.", 0.01, 10, flag_values=FLAGS
)

_MIN_TIME, _MAX_TIME = 1e-6, 1e12  # plausible microseconds


def main(arguments: list[str]) -> None:
    cli.refuse_arguments(arguments)
    if FLAGS.write is not None:
        return _write(pathlib.Path(FLAGS.write))
    output = pathlib.Path(FLAGS.output or host.cache_path())
    if output.suffix != ".json":
        raise UserError(f"--output={output} is not a .json file: give a name such as laptop.json.")
    if FLAGS.times is not None and FLAGS.output is None:
        raise UserError("--times comes from another machine and would replace this one's target: give --output=NAME.json.")
    if FLAGS.times is None and FLAGS.gigahertz is not None:
        raise UserError("--gigahertz applies only to --times in cycles; this machine is measured in microseconds.")
    times = None if FLAGS.times is None else read_times(FLAGS.times)
    check_writable(output.parent)
    began = time.monotonic()
    times = host.measure(host.progress_bar) if times is None else times
    processor = FLAGS.processor or ("" if FLAGS.times is None else f"not named (the times are from {FLAGS.times})")
    save(times, output, processor, FLAGS.litert or "", FLAGS.gigahertz)
    print(
        f"Wrote {output} in {time.monotonic() - began:.0f} s: use it as --target={'host' if FLAGS.output is None else output}."
    )


def save(
    times: dict[str, float], output: pathlib.Path, processor: str = "", litert: str = "", gigahertz: float | None = None
) -> None:
    """Fits a target to measured times, writes its file and prints how well it fits.

    Args:
      times: microseconds per graph, or cycles if `gigahertz` is given.
      output: the file; its name becomes the target's name.
      processor, litert: processor and LiteRT version that were measured; "": this machine.
      gigahertz: clock rate of the processor, if `times` are cycles.

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
        raise UserError(f"These times give no usable target: {error}") from None
    with atomic_path(output) as path:
        path.write_text(text, encoding="utf-8")
    print(f"{target.processor}, LiteRT {target.litert}\n{table(fits)}")


def table(fits: Sequence[Fit]) -> str:
    """Returns, as text, how well the cost of each operator is predicted when it is held out."""
    lines = [f"{'operator':24} graphs  error of held-out ones: median  worst"]
    return "\n".join(lines + [f"{f.type + ' ' + f.operator:24} {f.count:6}  {f.median:30.0%} {f.worst:6.0%}" for f in fits])


def read_times(path: str | os.PathLike) -> dict[str, float]:
    """Returns the microseconds per graph from a JSON file.

    Raises:
      UserError: the file is missing, is not JSON, or holds anything but positive numbers.
    """
    try:
        times = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--times={path} can't be read ({error.strerror or error}).") from None
    except (ValueError, RecursionError):
        raise UserError(f'--times={path} is not JSON: give a file such as {{"slice_28_60.int8": 12.5, …}}.') from None
    if not isinstance(times, dict) or not times:
        raise UserError(f'--times={path} is not a table: give a file such as {{"slice_28_60.int8": 12.5, …}}.')
    for name, value in times.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not (_MIN_TIME <= value <= _MAX_TIME):
            raise UserError(f"--times={path} has {str(value)[:40]} for {name[:40]!r}: give microseconds, a number above 0.")
    return {name: float(value) for name, value in times.items()}


def _write(folder: pathlib.Path) -> None:
    check_writable(folder)
    chosen = list(specimens())
    for n, specimen in enumerate(chosen):
        host.progress_bar(n, len(chosen), specimen.name)
        with atomic_path(folder / f"{specimen.name}.tflite") as path:
            path.write_bytes(specimen.make())
    host.progress_bar(len(chosen), len(chosen), "done")
    print(f"{len(chosen)} graphs are in {folder}: record the microseconds per inference of each, and pass them as --times.")


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("export.calibrate", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
