"""Trains with several workers on this machine, to try out what a cluster does.

  python -m shufflenet_tf.training.launch --workers=2 -- --flagfile=v2.flags --output=runs/two
  python -m shufflenet_tf.training.launch --workers=2 --restarts=3 -- --flagfile=v2.flags --output=runs/two

What follows -- are flags of train_main.py. Each worker is a process with its own TF_CONFIG, and its lines begin with its
number; worker 0 is the chief, which writes the results. When one ends badly, all are ended; with --restarts, all start
again if it was killed or asked for it (status 75), and go on from the last checkpoint. SIGTERM and Ctrl-C are passed on: the
workers write a checkpoint first.

On a cluster, its own launcher does this: see docs/scale.md.
"""

import sys
from collections.abc import Sequence

from absl import flags

from shufflenet_tf import cli
from shufflenet_tf.distribution.launcher import Launcher, training_command
from shufflenet_tf.errors import UserError

FLAGS = cli.flag_values()
flags.DEFINE_integer("workers", 2, "Processes to train with.", 1, 64, flag_values=FLAGS)
flags.DEFINE_integer("restarts", 0, "How often to start all again after one was lost.", 0, flag_values=FLAGS)
flags.DEFINE_integer("threads", 0, "Threads of each worker; 0: this machine's, divided.", 0, flag_values=FLAGS)


def main(arguments: list[str]) -> int:
    if not arguments:
        raise UserError("No flags of train_main.py are given: write them behind --, for example -- --flagfile=v2.flags.")
    if not all(argument.startswith("-") for argument in arguments):
        word = next(argument for argument in arguments if not argument.startswith("-"))
        raise UserError(f"{word!r} is not a flag of train_main.py: write --name=value behind --.")
    return Launcher(training_command(arguments), FLAGS.workers, FLAGS.restarts, FLAGS.threads).run()


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("shufflenet_tf.training.launch", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
