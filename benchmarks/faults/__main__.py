"""Disturbs training, export and quantization-aware training at random moments, and checks what is left.

  python -m benchmarks.faults --seed=3 --count=20                  20 moments of each program; needs Linux and root
  python -m benchmarks.faults --seed=3 --only=qat --first=7 --count=1

The disk fills, the output folder turns read-only, memory ends, or SIGTERM, SIGINT or SIGKILL comes: at a moment of a
run's time, or just before one of its file operations. Then every file that was complete before must be complete still, no
process may end with a traceback, only one that was killed or can't write its folder may leave temporary files, and the same
command must go on to the end and leave none. The network of training and export is a ShuffleNetV2 of three units, so that
most of the time is spent on what is written; TensorFlow is loaded once for each generation of Keras, and runs are forks.
"""

import argparse
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

from benchmarks.faults.checks import Broken
from benchmarks.faults.moments import disturb, prepare
from benchmarks.faults.striker import FAULTS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--count", type=int, default=20, help="moments of each program")
    parser.add_argument("--first", type=int, default=0, help="number of the first moment")
    parser.add_argument("--only", default="train,export,qat", help="programs, separated by commas")
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="stop after this time, for each generation of Keras"
    )
    args = parser.parse_args()

    wanted = args.only.split(",")
    if "qat" in wanted:  # needs Keras 2, which must be selected before TensorFlow is loaded
        if len(wanted) > 1:
            parts = [",".join(name for name in wanted if name != "qat"), "qat"]
            command = [sys.executable, "-m", "benchmarks.faults", *sys.argv[1:]]
            return max([subprocess.call([*command, f"--only={part}"]) for part in parts])
        os.environ["TF_USE_LEGACY_KERAS"] = "1"

    import shufflenet_tf.loading  # noqa: F401

    began, broken, done = time.monotonic(), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        extent = prepare(work, ["train", *wanted] if "export" in wanted and "train" not in wanted else wanted)
        print({name: f"{seconds:.0f} s, {count} file operations" for name, (seconds, count) in extent.items()}, flush=True)
        for number in range(args.first, args.first + args.count):
            for program in wanted:
                if time.monotonic() - began > args.seconds:
                    break
                dice = random.Random(f"{args.seed}/{program}/{number}")
                fault, kind = FAULTS[number % len(FAULTS)], dice.choice(("time", "operation", "operation"))
                moment = dice.random() * extent[program][0] if kind == "time" else dice.randrange(extent[program][1])
                title = f"{program} {number}: {fault} at {kind} {moment:.4g}"
                try:
                    print(f"{title}: {disturb(program, fault, kind, moment, work)}", flush=True)
                except Broken as error:
                    broken += 1
                    print(f"{title}: BROKEN: {error}", flush=True)
                done += 1
    print(f"seed {args.seed}: {done} moments, {broken} broken, {time.monotonic() - began:.0f} s")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
