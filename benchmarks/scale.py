"""What training on ImageNet takes on many accelerators, by calculation: which part saturates, how long a run takes.

  python benchmarks/scale.py
  python benchmarks/scale.py --network=shufflenet_v1_1.0x_g3 --accelerators=8,64 --images_per_second=3000 --decode_ms=2.1

Every assumption is a flag. benchmarks/train_gpu.py measures the speed of an accelerator, benchmarks/input_pipeline.py the time
to decode and augment an image on one core.
"""

import sys
from collections.abc import Sequence

import shufflenet_tf as st  # isort: skip
from absl import flags

from shufflenet_tf import cli

IMAGES = 1_281_167  # of ImageNet's training split
FLAGS = cli.flag_values()
flags.DEFINE_string("network", "shufflenet_v2_1.0x", "Registered network.", flag_values=FLAGS)
flags.DEFINE_list("accelerators", ["1", "8", "64", "512"], "Numbers of accelerators.", flag_values=FLAGS)
flags.DEFINE_integer("per_machine", 8, "Accelerators in a machine.", 1, flag_values=FLAGS)
flags.DEFINE_float("images_per_second", 2500.0, "Of one accelerator, with synthetic images.", 1, flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 1024, "Images a step, over all accelerators.", 1, flag_values=FLAGS)
flags.DEFINE_integer("per_accelerator", 128, "Smallest share of a batch that keeps an accelerator busy.", 1, flag_values=FLAGS)
flags.DEFINE_integer(
    "images", 307_200_000, "Images of the whole run; both papers: 300,000 steps of 1024.", 1, flag_values=FLAGS
)
flags.DEFINE_float(
    "decode_ms", 2.3, "Milliseconds of one core for an image: decode, crop, resize, colours.", 0, flag_values=FLAGS
)
flags.DEFINE_integer("cores", 96, "Cores of a machine.", 1, flag_values=FLAGS)
flags.DEFINE_float("image_kb", 110.0, "Kilobytes of an encoded image.", 0, flag_values=FLAGS)
flags.DEFINE_float("network_gbit", 100.0, "Gigabits per second between machines.", 0.01, flag_values=FLAGS)
flags.DEFINE_float("link_gbyte", 200.0, "Gigabytes per second between the accelerators of a machine.", 0.01, flag_values=FLAGS)
flags.DEFINE_float("latency_us", 20.0, "Microseconds of one message between machines.", 0, flag_values=FLAGS)

_HEADINGS = (
    "accelerators",
    "batch",
    "images/s",
    "a step, ms",
    "all-reduce, ms",
    "cores to decode",
    "read, MB/s",
    "hours",
    "limit",
)


def main(arguments: list[str]) -> None:
    cli.refuse_arguments(arguments)
    weights = 4 * st.complexity.parameters(st.create_model(FLAGS.network))
    print(f"{FLAGS.network}: {weights / 1e6:.1f} MB of weights, and as many of gradients, in each step\n")
    print(f"| {' | '.join(_HEADINGS)} |\n|{'---|' * len(_HEADINGS)}")
    for count in FLAGS.accelerators:
        print(f"| {' | '.join(row(int(count), weights))} |")


def row(accelerators: int, weights: int) -> list[str]:
    """Returns the table's row: a run on so many accelerators.

    Args:
      accelerators: their number.
      weights: bytes of the gradients of a step.
    """
    machines = -(-accelerators // FLAGS.per_machine)
    share = max(FLAGS.batch_size / accelerators, FLAGS.per_accelerator)
    batch = share * accelerators
    compute = share / FLAGS.images_per_second
    exchange = all_reduce_seconds(accelerators, machines, weights)
    computed = batch / (compute + exchange)
    cores = FLAGS.cores * machines
    decoded = cores / (FLAGS.decode_ms / 1e3)
    received = machines * FLAGS.network_gbit * 1e9 / 8 / (FLAGS.image_kb * 1e3)
    limits = {"accelerators": computed, "decoding": decoded, "reading": received}
    limit = min(limits, key=limits.get)
    rate = limits[limit]
    if limit == "accelerators" and exchange > compute:
        limit = "all-reduce"
    return [
        f"{accelerators}",
        f"{batch:,.0f}",
        f"{rate:,.0f}",
        f"{1e3 * batch / rate:.0f}",
        f"{1e3 * exchange:.1f}",
        f"{rate * FLAGS.decode_ms / 1e3:,.0f} of {cores:,}",
        f"{rate * FLAGS.image_kb / 1e3:,.0f}",
        f"{FLAGS.images / rate / 3600:,.1f}",
        limit,
    ]


def all_reduce_seconds(accelerators: int, machines: int, size: int) -> float:
    """Returns the time of a ring all-reduce within machines, then between them: 2 (n - 1) / n of the bytes cross each link."""
    within = min(accelerators, FLAGS.per_machine)
    seconds = 2 * (within - 1) / within * size / (FLAGS.link_gbyte * 1e9)
    between = 2 * (machines - 1) / machines * size / (FLAGS.network_gbit * 1e9 / 8)
    return seconds + between + 2 * (machines - 1) * FLAGS.latency_us / 1e6


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the calculation and returns its exit status."""
    return cli.run("scale", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
