"""Compares ShuffleNet V2 in this project's files with other inference engines, from the same weights, in turns.

Usage:
  python3 -m venv peers && peers/bin/pip install ai-edge-litert==2.3.0 numpy onnx onnxruntime openvino nncf MNN ncnn pnnx torch
  python -m benchmarks.peers --peers_python=peers/bin/python [--network=shufflenet_v2_0.5x,…] [--threads=1,2] [--runs=60]
      [--engines=ours,litert,…] [--wiring=tensorpack] [--cpu_time] [--csv=peers.csv]

This Python, with TensorFlow, creates the .tflite files, as converted and optimized, and plain arrays of the weights with folded
normalization. The Python of --peers_python, which needs no TensorFlow, builds the network from those arrays and converts it for
each engine, then times all of them in one process, in a new order each round. It is a separate Python because the requirements
of the engines conflict with this project's. The table reports an engine that is not installed.

All graphs take a normalised float32 image and return float32 logits, in int8 too: they include neither preprocessing, nor
softmax, nor the copy of the image into the engine. An engine whose logits differ from Keras's is not timed. Weights are
random, with normalization statistics measured on random images. int8 is each engine's own quantization with 32 images.

--cpu_time compares one thread's CPU time instead of wall time: on a shared machine, it is close to the time on an idle one.
Several threads are always compared by wall time. The table has both.
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
flags.DEFINE_list("threads", ["1", "2"], "Numbers of threads, measured separately.", flag_values=FLAGS)
flags.DEFINE_integer("runs", 60, "Timed runs of each engine.", 1, flag_values=FLAGS)
flags.DEFINE_list("engines", list(ENGINES), f"Engines, of {','.join(ENGINES)}.", flag_values=FLAGS)
flags.DEFINE_enum("wiring", "torchvision", ["torchvision", "tensorpack"], "Wiring of ShuffleNet V2.", flag_values=FLAGS)
flags.DEFINE_integer("size", 224, "Side of the image, a multiple of 32 pixels.", 32, flag_values=FLAGS)
flags.DEFINE_string("peers_python", sys.executable, "Path of the Python with the engines.", flag_values=FLAGS)
flags.DEFINE_string("csv", None, "Table to write, one line per engine.", flag_values=FLAGS)
flags.DEFINE_bool("cpu_time", False, "Compare CPU time with one thread, not wall time.", flag_values=FLAGS)

PRECISIONS = ("float32", "int8")
BUSY = 0.5  # load per core above which times of several threads are worthless
TIMEOUT = 900  # seconds for a conversion, or for a measurement in addition to its runs


def ask(python: str, request: dict[str, Any], timeout: float = TIMEOUT) -> Any:
    """Sends a request to the measuring Python; returns its answer, or {"reason": …} if it crashes, hangs or doesn't exist."""
    folder = pathlib.Path(request["folder"])
    paths = [folder / "request.json", folder / "answer.json"]
    paths[0].write_text(json.dumps(request), encoding="utf-8")
    paths[1].unlink(missing_ok=True)
    # The last variable keeps OpenVINO's quantizer from sending telemetry.
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
    """Converts a network for each engine in separate processes; returns why an (engine, precision) can't be timed."""
    reasons = {}
    for name in engines:
        for precision in PRECISIONS:
            if precision == "int8" and ENGINES[name].without:
                reasons[name, precision] = ENGINES[name].without
                continue
            say(f"Converting {model} in {precision} for {ENGINES[name].title}")
            request = {"task": "convert", "folder": str(folder), "rows": [(name, precision)], "threads": threads}
            if reason := ask(python, request).get("reason"):
                reasons[name, precision] = reason
    return reasons


def measure(model: str, engines: list[str], threads: list[int], folder: pathlib.Path) -> list[report.Row]:
    """Returns the rows of one network."""
    from benchmarks.peers.prepare import prepare

    say(f"Preparing {model} and its .tflite files")
    prepare(model, FLAGS.wiring, FLAGS.size, threads, folder)
    reasons = convert(model, engines, folder, FLAGS.peers_python, threads[0])
    rows = []
    pairs = [(name, precision) for precision in PRECISIONS for name in engines]
    for count in threads:
        say(f"Timing {model} with {count} thread{'s' * (count > 1)}")
        able = [pair for pair in pairs if pair not in reasons]
        request = {"task": "time", "folder": str(folder), "rows": able, "threads": count, "runs": FLAGS.runs}
        answer = ask(FLAGS.peers_python, request, TIMEOUT + FLAGS.runs * len(able)) if able else []
        results = dict.fromkeys(able, answer) if isinstance(answer, dict) else dict(zip(able, answer, strict=True))
        for name, precision in pairs:
            result = results.get((name, precision)) or {"reason": reasons[name, precision]}
            rows.append(report.Row(model, precision, count, name, ENGINES[name].title, **result))
    return rows


def say(sentence: str) -> None:
    print(f"{sentence} …", file=sys.stderr, flush=True)


def main(arguments: list[str]) -> None:
    """Measures all networks and prints the table."""
    cli.refuse_arguments(arguments)
    if not FLAGS.engines or not set(FLAGS.engines) <= set(ENGINES):
        raise UserError(f"--engines={','.join(FLAGS.engines)} has an unknown engine: use {', '.join(ENGINES)}.")
    if not FLAGS.threads or not all(count.isdecimal() and int(count) for count in FLAGS.threads):
        raise UserError(f"--threads={','.join(FLAGS.threads)} is not a list of numbers: give numbers such as 1,2.")
    if FLAGS.size % 32:
        raise UserError(f"--size={FLAGS.size} is not a multiple of 32 pixels, so engines would pad it differently: give one.")
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
        print("Other programs were running: compare only CPU times of one thread, because several threads wait for each other.")
    print(f"{report.versions(rows)}.")
    compared = "CPU time with one thread, wall time with more" if FLAGS.cpu_time else "wall time"
    print(f"Wiring {FLAGS.wiring}, {FLAGS.size} px, medians of {FLAGS.runs} runs in turns, compared by {compared}.\n")
    print(report.table(rows, FLAGS.cpu_time), *report.verdicts(rows, FLAGS.cpu_time), sep="\n")
    if FLAGS.csv:
        report.write_csv(rows, FLAGS.csv, FLAGS.cpu_time)


if __name__ == "__main__":
    sys.exit(cli.run("benchmarks.peers", __doc__, FLAGS, main, sys.argv))
