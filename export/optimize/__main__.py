"""Makes a .tflite model faster without changing what it computes.

  python -m export.optimize model.tflite -o fast.tflite
  python -m export.optimize model.tflite -o fast.tflite --target=host --threads=2

The model may come from any converter, float or int8. Channel shuffles, splits and concatenations move into the weights of the
convolutions around them, and operators that XNNPACK does not take are replaced by ones that it takes. Each step is checked
on random inputs, and undone if the outputs differ or the graph would be slower; a line for each step says what it did.
If nothing helps, the file is copied byte by byte.

Which of two equal graphs is faster depends on the processor: see --target. The phones are modelled, not measured;
"host" is this machine, measured by export.calibrate, and there the best candidates are timed.
"""

import pathlib
import shlex
import sys
from collections.abc import Sequence

from absl import flags

from export.optimize import optimize, summary
from export.optimize.target_flag import define_target
from shufflenet_tf import cli
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import atomic_path

FLAGS = cli.flag_values()
flags.DEFINE_string("output", None, "The .tflite file to write.", short_name="o", flag_values=FLAGS)
cli.define_threads(FLAGS)
define_target(FLAGS)


def main(arguments: list[str]) -> None:
    """Optimizes the file that `arguments` names, writes the result and prints what was done."""
    if len(arguments) != 1:
        example = "python -m export.optimize in.tflite -o out.tflite"
        raise UserError(f"{len(arguments)} input files were given, and one is needed: {example}")
    if FLAGS.output is None:
        raise UserError("There is no file to write: give --output=FILE.tflite.")
    source = pathlib.Path(arguments[0])
    if not source.is_file():
        raise UserError(f"There is no file {source}: give a .tflite model.")
    data = source.read_bytes()
    optimized = optimize(data, threads=FLAGS.threads, target=FLAGS.target)
    with atomic_path(FLAGS.output) as path:
        path.write_bytes(optimized.model)
    for step in optimized.steps:
        print(step)
    print(f"before: {_counts(optimized.before)}; {len(data):,} bytes")
    print(f"after:  {_counts(optimized.after)}; {len(optimized.model):,} bytes")
    print("\n".join(summary.lines(optimized)))
    if optimized.model == data:
        print("Nothing helps: the file is as it came, byte by byte.")
    before, after = shlex.quote(str(source)), shlex.quote(FLAGS.output)
    steps = [
        ("Compare the speed", f"python -m export.benchmark {before} {after}"),
        ("See it on a phone", f'make android MODEL="{after}"'),
    ]
    print(cli.next_steps(steps))


def _counts(counts: dict[str, int]) -> str:
    listed = ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    return f"{sum(counts.values())} operators: {listed}"


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    interrupted = "Interrupted; nothing was written."
    return cli.run("export.optimize", __doc__, FLAGS, main, argv, path=lambda: FLAGS.output, interrupted=interrupted)


if __name__ == "__main__":
    sys.exit(run())
