"""What several workers on this machine do: the curve of one, the weights of an undisturbed run after one was killed, the speed.

  python benchmarks/workers.py --measure=curve
  python benchmarks/workers.py --measure=kills --kills=3
  python benchmarks/workers.py --measure=speed

curve: V2 0.5x on the tiny drawn dataset with 1, 2 and 3 processes and --sync_batch_norm: the relative difference of the loss
  of each of 8 steps, and whether the evaluations agree. An untrained network makes rounding grow at each step, so the same is
  said of one process whose first weights are changed by 1e-7 of themselves.
kills: chief and worker are killed at random moments, every other time while a checkpoint is being written; the weights at the
  end are compared with those of an undisturbed run, bit by bit.
speed: images/s of two workers of one core each against twice one worker of one core, and against two that train on their own
  at the same time (two virtual cores can be one real one), in turns.
"""

import functools
import os
import pathlib
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence

import shufflenet_tf as st  # noqa: F401  # isort: skip
import numpy as np
from absl import flags

from shufflenet_tf import cli
from shufflenet_tf.distribution.launcher import Launcher
from shufflenet_tf.training import checkpoint

FLAGS = cli.flag_values()
flags.DEFINE_enum("measure", "speed", ["curve", "kills", "speed"], "What to measure.", flag_values=FLAGS)
flags.DEFINE_integer("kills", 3, "Moments at which each of chief and worker is killed.", 1, flag_values=FLAGS)
flags.DEFINE_integer("rounds", 3, "Rounds of the measurement of speed.", 1, flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "Seed of the moments.", 0, flag_values=FLAGS)
flags.DEFINE_string("network", "shufflenet_v2_0.5x", "Registered network.", flag_values=FLAGS)

_SHARED = {"dataset": "shapes/tiny", "seed": 3, "lighting": 0, "jitter": 0.15, "min_area": 0.9, "crop_fraction": 1}
_SWITCHES = ["--notensorboard", "--nosaved_model"]
# Trains as train_main.py does, without the report at the end; each process has a core of its own where there are enough.
_WORKER = """
import json, os, pathlib, sys
config = json.loads(os.environ.get("TF_CONFIG") or '{"task": {"index": 0}}')
pid = pathlib.Path(os.environ["PIDS"]) / str(config["task"]["index"])
pid.write_text(str(os.getpid()))
if os.environ.get("PINNED"):
    os.sched_setaffinity(0, {config["task"]["index"] % os.cpu_count()})
if config["task"]["index"] and "--strategy=none" in sys.argv:
    sys.argv = [word + ".other" if word.startswith("--output=") else word for word in sys.argv]
import train_main
from shufflenet_tf.training import run
run.write_report = lambda *_: ""
if os.environ.get("CHANGED"):
    import numpy as np
    begin, dice = run._start, np.random.default_rng(0)
    def start(model, *rest):
        settings = begin(model, *rest)
        for variable in model.trainable_variables:
            variable.assign(variable * (1 + 1e-7 * dice.standard_normal(variable.shape).astype(np.float32)))
        return settings
    run._start = start
sys.exit(train_main.run(sys.argv))
"""


def main(arguments: list[str]) -> None:
    cli.refuse_arguments(arguments)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with tempfile.TemporaryDirectory() as folder:
        {"curve": curve, "kills": kills, "speed": speed}[FLAGS.measure](pathlib.Path(folder))


def curve(folder: pathlib.Path) -> None:
    """Compares the histories of 1, 2 and 3 processes, and of one with slightly different weights."""
    options = {"image_size": 32, "batch_size": 60, "steps": 8, "steps_per_epoch": 1, "learning_rate": 0.01}

    def history(workers: int, changed: str) -> list[dict]:
        os.environ["CHANGED"] = changed
        output = folder / f"{workers}{changed}"
        train(output, workers, options, "--deterministic", "--sync_batch_norm")
        return checkpoint.read_progress(output).history

    alone = history(1, "")
    for workers, changed in ((1, "changed"), (2, ""), (3, "")):
        other = history(workers, changed)
        first, *later = (abs(new["loss"] / old["loss"] - 1) for old, new in zip(alone, other, strict=True))
        validation = max(abs(new["val_loss"] / old["val_loss"] - 1) for old, new in zip(alone, other, strict=True))
        right = [(old["val_top1"], new["val_top1"]) for old, new in zip(alone, other, strict=True)]
        equal = all(abs(old - new) < 1e-6 for old, new in right)
        who = f"{workers} processes" if workers > 1 else "1 process with weights changed by 1e-7"
        print(
            f"{who}: loss of the first step differs from one's by {first:.1e}, of later ones by {max(later):.1e} at most, "
            f"validation loss by {validation:.1e}; validation top-1 {'equal' if equal else f'differs: {right}'}",
            flush=True,
        )


def kills(folder: pathlib.Path) -> None:
    """Kills chief and worker, and compares the weights with those of an undisturbed run."""
    options = {"image_size": 32, "batch_size": 20, "steps": 40, "steps_per_epoch": 16, "checkpoint_steps": 3}
    train(folder / "undisturbed", 2, options, "--deterministic")
    whole = arrays(folder / "undisturbed")
    dice = random.Random(FLAGS.seed)
    for number in range(FLAGS.kills):
        for worker in (0, 1):
            step, writing, output = dice.randrange(1, 36), number % 2 == 1, folder / f"{number}.{worker}"
            meanwhile = functools.partial(kill, output, worker, step, writing)
            train(output, 2, options, "--deterministic", restarts=1, meanwhile=meanwhile)
            equal = all((array == arrays(output)[name]).all() for name, array in whole.items())
            moment = "while a checkpoint was being written" if writing else "between two checkpoints"
            print(
                f"worker {worker} killed after step {step}, {moment}: weights {'bit-equal' if equal else 'DIFFER'}",
                flush=True,
            )


def kill(folder: pathlib.Path, worker: int, step: int, while_writing: bool) -> None:
    """Kills a worker when a step has been saved."""
    while not (folder / checkpoint.NAME).exists() or checkpoint.read_progress(folder).step < step:
        time.sleep(0.02)
    while while_writing and not list(folder.glob(".checkpoint.tmp*")):
        time.sleep(0)
    os.kill(int((folder / "pids" / str(worker)).read_text()), signal.SIGKILL)


def speed(folder: pathlib.Path) -> None:
    """Times one worker of one core, two of one core each, and two that know nothing of each other, in turns."""
    rates: dict[str, list[float]] = {"one": [], "two": [], "two alone": []}
    options = {"dataset": "shapes", "image_size": 64, "steps": 90, "steps_per_epoch": 30, "validation": 0}
    for number in range(FLAGS.rounds):
        for kind, seen in rates.items():
            output = folder / f"{number}.{kind}"
            workers = 1 if kind == "one" else 2
            batch = {"batch_size": 128 if kind == "two" else 64}
            train(output, workers, options | batch, pinned=True, together=kind == "two")
            last = checkpoint.read_progress(output).history[1:]  # the first epoch compiles
            seen.append(64 * workers * options["steps_per_epoch"] * len(last) / sum(row["seconds"] for row in last))
        print(f"round {number + 1}: {', '.join(f'{kind} {seen[-1]:.0f}' for kind, seen in rates.items())} images/s", flush=True)
    ratios = [two / (2 * one) for two, one in zip(rates["two"], rates["one"], strict=True)]
    bounds = [two / alone for two, alone in zip(rates["two"], rates["two alone"], strict=True)]
    print(
        f"{FLAGS.network}, 64 px, batch 64 a worker, one core each: {statistics.median(rates['two']):.0f} images/s of two "
        f"workers, {statistics.median(ratios):.2f} of twice one, {statistics.median(bounds):.2f} of two on their own"
    )


def train(
    output: pathlib.Path,
    workers: int,
    options: dict,
    *switches: str,
    restarts: int = 0,
    pinned: bool = False,
    together: bool | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> None:
    """Trains with so many workers, `together` unless there is one; the others' outputs are in folders beside `output`."""
    together = workers > 1 if together is None else together
    (output / "pids").mkdir(parents=True)
    os.environ |= {"PIDS": str(output / "pids"), "PINNED": "1" if pinned else ""}
    given = [f"--{name}={value}" for name, value in (_SHARED | options | {"network": FLAGS.network, "output": output}).items()]
    given += [*_SWITCHES, *switches, f"--strategy={'multi_worker' if together else 'none'}"]
    lines: list[str] = []
    if meanwhile:
        threading.Thread(target=meanwhile, daemon=True).start()
    launcher = Launcher([sys.executable, "-c", _WORKER, *given], workers, restarts, 1, lines.append)
    if status := launcher.run():
        raise SystemExit("\n".join([*lines, f"The training has ended with status {status}."]))


def arrays(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the state at the end of a run."""
    with np.load(folder / checkpoint.NAME) as file:
        return {name: file[name] for name in file if name != "progress"}


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the measurement and returns its exit status."""
    return cli.run("workers", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
