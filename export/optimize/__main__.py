"""Makes a .tflite model faster without changing what it computes.

  python -m export.optimize model.tflite -o fast.tflite
  python -m export.optimize model.tflite -o fast.tflite --target=host --threads=2

The model may be anybody's, float or int8. Channel shuffles, splits and concatenations are worked into the weights of the
convolutions around them, and operators that XNNPACK does not take are replaced by ones that it does. Each step is
checked on random inputs and undone where the outputs differ or where it would be slower; what each did is printed, one line
a step. Where nothing helps, the file comes back byte by byte.

Which of two equal graphs is faster depends on the processor: --target says for which one to choose. "phone" and its kin are
modelled, nothing of them was measured on a phone; "host" is this machine, measured (export.calibrate), and there a measurement
of the best candidates has the last word.
"""

import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags

from export.optimize import optimize, summary
from export.optimize.targets import HOST, PHONE, names

FLAGS = flags.FLAGS
flags.DEFINE_string("output", None, "The .tflite file to write.", short_name="o", required=True)
flags.DEFINE_integer("threads", 1, "Choose what is fastest with this many threads of the interpreter.", lower_bound=1)
flags.DEFINE_string(
    "target", PHONE, f"Processor to choose for: {', '.join(names())}, {HOST}, or a .json file of export.calibrate."
)


def main(argv: list[str]) -> None:
    """Optimizes the file that `argv` names and writes the result."""
    from shufflenet_tf.errors import UserError
    from shufflenet_tf.files import atomic_path

    if len(argv) != 2:
        raise UserError(
            f"{len(argv) - 1} input files were given, and one is needed: python -m export.optimize in.tflite -o out.tflite"
        )
    source = pathlib.Path(argv[1])
    if not source.is_file():
        raise UserError(f"There is no file {source}: give a .tflite model.")
    data = source.read_bytes()
    result = optimize(data, threads=FLAGS.threads, target=FLAGS.target)
    with atomic_path(FLAGS.output) as path:
        path.write_bytes(result.model)
    for name, told in result.steps:
        print(f"{name}: {told}")
    print(f"before: {_counts(result.before)}; {len(data):,} bytes")
    print(f"after:  {_counts(result.after)}; {len(result.model):,} bytes")
    print("\n".join(summary.lines(result)))
    if result.model == data:
        print("Nothing helps: the file is as it came, byte by byte.")


def _counts(counts: dict[str, int]) -> str:
    listed = ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    return f"{sum(counts.values())} operators: {listed}"


def _complain(sentence: str, status: int) -> int:
    print(f"export.optimize: {sentence}", file=sys.stderr)
    return status


def run(argv: list[str]) -> int:
    """Runs `main` and returns the exit status; what a person gets wrong is told in one sentence."""
    from shufflenet_tf.errors import UserError

    try:
        main(argv)
    except UserError as error:
        return _complain(str(error), 2)
    except OSError as error:
        return _complain(f"{error.strerror or error} ({error.filename or FLAGS.output}).", 1)
    except KeyboardInterrupt:
        return _complain("Interrupted; nothing was written.", 130)
    return 0


def _parse(argv: list[str]) -> list[str]:
    try:
        return FLAGS(argv)
    except flags.Error as error:
        sys.exit(_complain(" ".join(str(error).split()), 2))


if __name__ == "__main__":
    app.run(lambda argv: sys.exit(run(argv)), flags_parser=_parse)
