"""Post-training quantization step by step: how often an int8 network gives the float network's answer, and how far it is off.

    python benchmarks/quantization.py --models=FILE,… --calibration=FOLDER --test=FOLDER [--images=200] [--layers]

Models are what st.load takes: folders of runs, .keras files, checkpoints. Photos need no labels. Agreement is the fraction
of test photos with the same first class, the divergence is Kullback and Leibler's of the softmax of the logits, in nats:
probabilities in 8 bits would add their own rounding to every row alike. --layers adds the noise of each layer.
"""

import argparse
import os
import pathlib
import sys
import time
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # products are small, and threads that wait for a busy core stall them
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
from ai_edge_litert.interpreter import Interpreter

import shufflenet_tf as st
from export.convert import convert
from export.optimize.graph import Graph
from export.ptq import BEST, Recipe, Result, quantize, report
from export.ptq.tune import Tuning
from export.quantize import Quantization, calibration_images
from shufflenet_tf import quiet
from shufflenet_tf.data import photos

_CORRECT = Tuning(correct=True)
_ROUNDED = Tuning(correct=True, compensate=True)
_REFITTED = Tuning(correct=True, compensate=True, refit=True)
RECIPES = {
    "TensorFlow's min-max": None,
    "percentile ranges": Recipe("percentile"),
    "MSE ranges": Recipe("mse"),
    "entropy ranges": Recipe("entropy"),
    "min-max ranges, derived anew": Recipe(),
    "+ bias correction": Recipe(tuning=_CORRECT),
    "+ equalization": Recipe(equalize=BEST.equalize, tuning=_CORRECT),
    "+ rounding with compensation": Recipe(equalize=BEST.equalize, tuning=_ROUNDED),
    "+ weights adapted": Recipe(equalize=BEST.equalize, tuning=_REFITTED),
    "+ narrower ranges = best": BEST,
}


def logits(model: bytes, images: Sequence[np.ndarray]) -> np.ndarray:
    """Returns what goes into a classifier's softmax, float64 [N, classes]."""
    graph = Graph(model)
    softmax = next(operator for operator in graph.operators if graph.kind(operator) == "SOFTMAX")
    tensor = int(softmax.inputs[0])
    scale = graph.quantization(tensor)
    graph.subgraph.outputs, graph.model.signatureDefs = [tensor], None
    runner = Interpreter(model_content=graph.pack(), num_threads=1)
    runner.allocate_tensors()
    (fed,), (made,) = runner.get_input_details(), runner.get_output_details()
    rows = []
    for image in images:
        runner.set_tensor(fed["index"], image[None])
        runner.invoke()
        rows.append(runner.get_tensor(made["index"])[0].astype(np.float64))
    values = np.stack(rows)
    return values if scale is None else (values - scale.zero_point[0]) * scale.scale[0]


def distance(real: np.ndarray, rounded: np.ndarray) -> tuple[float, float]:
    """Returns agreement of the first class, and mean divergence in nats, of two networks' logits [N, classes]."""
    logs = [
        x - np.log(np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True)) - x.max(1, keepdims=True) for x in (real, rounded)
    ]
    divergence = (np.exp(logs[0]) * (logs[0] - logs[1])).sum(1).mean()
    return float((real.argmax(1) == rounded.argmax(1)).mean()), float(divergence)


def measure(path: str, args: argparse.Namespace) -> None:
    """Prints the table of one network."""
    bundle = st.load(path)
    calibration = calibration_images(args.calibration, bundle, args.images)
    test = [photos.read(file, bundle.preprocessing, bundle.size) for file in photos.find(args.test)]
    with quiet.held_back():
        real = convert(bundle.model)
        given = convert(bundle.model, Quantization("int8", calibration=calibration))
        expected = logits(real, test)
    print(f"\n{bundle.model.name}: {len(calibration)} photos to quantize with, {len(test)} others to test on\n")
    print("| | agreement | divergence | s |\n|---|---|---|---|")
    results = {}
    for name, recipe in RECIPES.items():
        began = time.monotonic()
        with quiet.held_back():
            result = Result(given, real) if recipe is None else quantize(real, given, calibration, recipe, args.threads)
        seconds = "" if recipe is None else f"{time.monotonic() - began:.0f}"
        agreement, divergence = distance(expected, logits(result.model, test))
        print(f"| {name} | {agreement:.1%} | {divergence:.4f} | {seconds} |", flush=True)
        results[name] = result
    if args.layers:
        shown = {name: results[name] for name in ("TensorFlow's min-max", *list(RECIPES)[-5:])}
        print(f"\n{report.markdown(report.layer_rows(shown, test[:12]))}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", required=True, type=lambda text: text.split(","))
    parser.add_argument("--calibration", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--layers", action="store_true")
    args = parser.parse_args()
    for path in args.models:
        measure(path, args)


if __name__ == "__main__":
    main()
