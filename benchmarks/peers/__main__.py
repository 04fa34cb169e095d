"""What people would pick instead: ShuffleNet V2 in the engines of others and in ours, from the same weights, in turns.

Usage:
  python3 -m venv peers && peers/bin/pip install ai-edge-litert==2.3.0 numpy onnx onnxruntime openvino nncf MNN ncnn pnnx torch
  python -m benchmarks.peers --peers_python=peers/bin/python [--network=shufflenet_v2_0.5x,…] [--threads=1,2] [--runs=60]
      [--engines=ours,litert,…] [--wiring=tensorpack] [--cpu_time] [--csv=peers.csv]

This Python, with TensorFlow, makes the .tflite files, as converted and optimized, and plain arrays of the weights, with
normalization folded in. The one of --peers_python, which needs no TensorFlow, builds the network from those arrays and
converts it for each engine, then times all of them in one process, in another order each round. It is a Python of its own
since their requirements quarrel with ours; an engine that it lacks is a row that says so.

All graphs take a normalised float32 image and return float32 logits, in int8 too: preprocessing and softmax are in none of
them, nor is the copy of the image into the engine. An engine whose logits differ from Keras's is not timed. Weights are
random, with statistics of normalization measured on random images. int8 is each engine's own quantization with 32 images.

--cpu_time compares what one thread computes in place of what passes: on a machine that others use, that is nearly the time of
an idle one. Several threads are always compared by what passes. The table has both.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from absl import flags

from benchmarks.peers import report
from benchmarks.peers.engines import ENGINES
from shufflenet_tf import cli
from shufflenet_tf.errors import UserError
from shufflenet_tf.files import check_writable

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLAGS = cli.flag_values()
flags.DEFINE_list("network", ["shufflenet_v2_0.5x", "shufflenet_v2_1.0x"], "Registered ShuffleNets V2.", flag_values=FLAGS)
cli.define_alias(FLAGS, "models", "network")
flags.DEFINE_list("threads", ["1", "2"], "Numbers of threads, each measured apart.", flag_values=FLAGS)
flags.DEFINE_integer("runs", 60, "Timed runs of each engine.", 1, flag_values=FLAGS)
flags.DEFINE_list("engines", list(ENGINES), f"Which of {','.join(ENGINES)}.", flag_values=FLAGS)
flags.DEFINE_enum("wiring", "torchvision", ["torchvision", "tensorpack"], "Whose ShuffleNet V2.", flag_values=FLAGS)
flags.DEFINE_integer("size", 224, "Side of the image, a multiple of 32 pixels.", 32, flag_values=FLAGS)
flags.DEFINE_string("peers_python", sys.executable, "The Python that has the engines.", flag_values=FLAGS)
flags.DEFINE_string("csv", None, "A table to write, a line an engine.", flag_values=FLAGS)
flags.DEFINE_bool("cpu_time", False, "Compare what one thread computes, not what passes.", flag_values=FLAGS)

PRECISIONS = ("float32", "int8")
BUSY = 0.5  # processes a core that make times of several threads worthless
TIMEOUT = 900  # seconds of a conversion, or of a measurement besides its runs


def ask(python: str, request: dict[str, Any], timeout: float = TIMEOUT) -> Any:
    """Has the measuring Python serve a request; returns its answer, or {"reason": …} if it dies, hangs or isn't there."""
    folder = pathlib.Path(request["folder"])
    paths = [folder / "request.json", folder / "answer.json"]
    paths[0].write_text(json.dumps(request), encoding="utf-8")
    paths[1].unlink(missing_ok=True)
    # The last one keeps OpenVINO's quantizer from reporting to its makers.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NNCF_CI": "1"}
    command = [python, "-m", "benchmarks.peers.measure", *map(str, paths)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment, timeout=timeout)
    except subprocess.TimeoutExpired:
        return {"reason": f"not ready after {timeout:.0f} s"}
    if paths[1].exists() and done.returncode == 0:
        return json.loads(paths[1].read_text(encoding="utf-8"))
    last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1].strip()[:200]
    died = f"by signal {-done.returncode}" if done.returncode < 0 else f"with status {done.returncode}"
    return {"reason": f"its process ended {died}: {last}"}


def convert(model: str, engines: list[str], folder: pathlib.Path, python: str, threads: int) -> dict[tuple[str, str], str]:
    """Converts a network for each engine, each in a process of its own; returns why (engine, precision) can't be timed."""
    reasons = {}
    for name in engines:
        for precision in PRECISIONS:
            if precision == "int8" and ENGINES[name].without:
                reasons[name, precision] = ENGINES[name].without
                continue
            say(f"Converting {model} in {precision} for {ENGINES[name].title}")
            request = {"task": "convert", "folder": str(folder), "rows": [(name, precision)], "threads": threads}
            if found := ask(python, request).get("reason"):
                reasons[name, precision] = found
    return reasons


def measure(model: str, engines: list[str], threads: list[int], folder: pathlib.Path) -> list[report.Row]:
    """Returns the rows of one network."""
    from benchmarks.peers.prepare import prepare

    say(f"Making {model} and its .tflite files")
    prepare(model, FLAGS.wiring, FLAGS.size, threads, folder)
    reasons = convert(model, engines, folder, FLAGS.peers_python, threads[0])
    rows = []
    wanted = [(name, precision) for precision in PRECISIONS for name in engines]
    for count in threads:
        say(f"Timing {model} with {count} thread{'s' * (count > 1)}")
        able = [pair for pair in wanted if pair not in reasons]
        request = {"task": "time", "folder": str(folder), "rows": able, "threads": count, "runs": FLAGS.runs}
        answer = ask(FLAGS.peers_python, request, TIMEOUT + FLAGS.runs * len(able)) if able else []
        found = dict.fromkeys(able, answer) if isinstance(answer, dict) else dict(zip(able, answer, strict=True))
        for name, precision in wanted:
            result = found.get((name, precision)) or {"reason": reasons[name, precision]}
            rows.append(report.Row(model, precision, count, name, ENGINES[name].title, **result))
    return rows


def say(sentence: str) -> None:
    print(f"{sentence} …", file=sys.stderr, flush=True)


def main(arguments: list[str]) -> None:
    """Measures all networks and prints the table."""
    cli.refuse_arguments(arguments)
    if not FLAGS.engines or not set(FLAGS.engines) <= set(ENGINES):
        raise UserError(
            f"--engines={','.join(FLAGS.engines)} names others than {', '.join(ENGINES)}: give one or more of these."
        )
    if not FLAGS.threads or not all(count.isdecimal() and int(count) for count in FLAGS.threads):
        raise UserError(f"--threads={','.join(FLAGS.threads)} is no list of numbers: give some such as 1,2.")
    if FLAGS.size % 32:
        raise UserError(f"--size={FLAGS.size} is no multiple of 32 pixels, and other sides are padded in other ways: give one.")
    if not shutil.which(FLAGS.peers_python):
        raise UserError(f"There is no Python at {FLAGS.peers_python}: give --peers_python the path of one with the engines.")
    if FLAGS.csv:
        check_writable(pathlib.Path(FLAGS.csv).parent)
    before, rows = os.getloadavg(), []
    for model in dict.fromkeys(FLAGS.network):
        with tempfile.TemporaryDirectory() as folder:
            threads = [int(count) for count in dict.fromkeys(FLAGS.threads)]
            rows += measure(model, list(dict.fromkeys(FLAGS.engines)), threads, pathlib.Path(folder))
    print(f"{report.processor()}; load {before[0]:.1f} before, {os.getloadavg()[0]:.1f} after.")
    if before[0] > BUSY * os.cpu_count():
        print("Other programs were at work: compare one thread's CPU time only, for several threads wait for each other.")
    print(f"{report.versions(rows)}.")
    compared = "CPU time of one thread, the time that passes of more" if FLAGS.cpu_time else "the time that passes"
    print(f"Wiring {FLAGS.wiring}, {FLAGS.size} px, medians of {FLAGS.runs} runs in turns, compared by {compared}.\n")
    print(report.table(rows, FLAGS.cpu_time), *report.verdicts(rows, FLAGS.cpu_time), sep="\n")
    if FLAGS.csv:
        report.write_csv(rows, FLAGS.csv, FLAGS.cpu_time)


if __name__ == "__main__":
    sys.exit(cli.run("benchmarks.peers", __doc__, FLAGS, main, sys.argv))
