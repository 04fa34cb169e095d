"""Quantization step by step: how often an int8 network gives the float network's answer, and how far it is off.

    python benchmarks/quantization.py --model=FILE,… --calibration=FOLDER --test=FOLDER [--qat=FOLDER] [--max_drop=0.05] …

Models are what st.load takes: folders of runs, .keras files, checkpoints. Photos need no labels. Agreement is the fraction
of test photos with the same first class, the divergence is Kullback and Leibler's of the softmax of the logits, in nats:
probabilities in 8 bits would add their own rounding to every row alike. The expected drop is what changed answers cost in
accuracy if the float network's probabilities are right. --qat adds quantization-aware training on the photos
of --calibration, the float network being the only teacher: a run of `python -m export.qat` for each model, kept in this folder.
--max_drop keeps the layers that int8 hurts most in floating point, as few as it takes for a third of the photos of
--calibration to expect no larger drop, in points; --int16 stores activations in 16 bits; --layers adds the noise of each layer.
"""

import contextlib
import functools
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # products are small, and threads that wait for a busy core stall them
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))


from absl import flags

import shufflenet_tf as st
from export.convert.calibration_images import read_calibration_images
from export.convert.from_keras import convert, trace
from export.convert.precision import Precision
from export.measure.logit_metrics import distance, expected_drop, logits
from export.pipeline import QAT_GRAPH
from export.ptq import BEST, BEST_INT16, QuantizedPair, Recipe, mixed_precision, quantize
from export.ptq.layer_tuning import Tuning
from export.report import layer_table
from shufflenet_tf import cli, startup
from shufflenet_tf.data import photos
from shufflenet_tf.errors import UserError

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


FLAGS = cli.flag_values()
flags.DEFINE_list("model", [], "Trained models: runs' folders, .keras files, checkpoints.", flag_values=FLAGS)
cli.define_alias(FLAGS, "models", "model")
flags.DEFINE_string("calibration", None, "Photos to calibrate with.", flag_values=FLAGS)
flags.DEFINE_string("test", None, "Folder of photos to compare on.", flag_values=FLAGS)
flags.DEFINE_integer("images", 200, "How many to calibrate with.", 1, flag_values=FLAGS)
cli.define_threads(FLAGS)
flags.DEFINE_string("qat", None, "Folder for runs of export.qat; a finished one is not run again.", flag_values=FLAGS)
flags.DEFINE_string("qat_flags", "", 'Flags of export.qat, such as "--steps=100".', flag_values=FLAGS)
flags.DEFINE_float("max_drop", None, "Points of accuracy to lose in mixed precision.", 0, 100, flag_values=FLAGS)
flags.DEFINE_bool("int16", False, "Store activations in 16 bits too; runs some 40 times as long.", flag_values=FLAGS)
flags.DEFINE_bool("layers", False, "Add the noise of each layer.", flag_values=FLAGS)


def trained(path: str) -> bytes:
    """Returns the int8 graph of a network that learns, or has learnt, to be one, by a program of its own: it's in Keras 2."""
    folder = pathlib.Path(FLAGS.qat) / pathlib.Path(path).name.partition(".pth")[0]
    if not (folder / QAT_GRAPH).exists():
        flags = [f"--model={path}", f"--dataset={FLAGS.calibration}", f"--output={folder}", *FLAGS.qat_flags.split()]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([sys.executable, "-m", "export.qat", *flags], check=True, stdout=sys.stderr, env=environment)
    return (folder / QAT_GRAPH).read_bytes()


def measure(path: str) -> None:
    """Prints the table of one network."""
    bundle = st.load(path)
    calibration = read_calibration_images(FLAGS.calibration, bundle, FLAGS.images)
    test = [photos.read(file, bundle.preprocessing, bundle.size) for file in photos.find(FLAGS.test)]
    with startup.held_back():
        traced = trace(bundle.model)
        real = convert(traced)
        given = convert(traced, Precision("int8", calibration=calibration))
        expected = logits(real, test)
    print(f"\n{bundle.model.name}: {len(calibration)} photos to quantize with, {len(test)} others to test on\n")
    print("| | agreement | divergence | expected drop | s |\n|---|---|---|---|---|")

    def show(name: str, make: Callable[[], QuantizedPair], silence: Callable = startup.held_back) -> QuantizedPair:
        began = time.monotonic()
        with silence():
            result = make()
        seconds = time.monotonic() - began
        answers = logits(result.model, test)
        agreement, divergence = distance(expected, answers)
        drop = expected_drop(expected, answers)
        print(f"| {name} | {agreement:.1%} | {divergence:.4f} | {drop:.2%} | {seconds:.0f} |", flush=True)
        return result

    def chosen(recipe: Recipe | None) -> QuantizedPair:
        return QuantizedPair(given, real) if recipe is None else quantize(real, given, calibration, recipe, FLAGS.threads)

    def mixture() -> QuantizedPair:
        aside = len(calibration) // 3
        best = quantize(real, given, calibration[aside:], BEST, FLAGS.threads)
        return QuantizedPair(mixed_precision.mix(best, calibration[:aside], FLAGS.max_drop / 100, FLAGS.threads).model, real)

    def in_16_bits() -> QuantizedPair:
        int16 = convert(traced, Precision("int16", calibration=calibration))
        return quantize(real, int16, calibration, BEST_INT16, FLAGS.threads)

    results = {name: show(name, functools.partial(chosen, recipe)) for name, recipe in RECIPES.items()}
    if FLAGS.qat:
        show("quantization-aware training", lambda: QuantizedPair(trained(path), real), contextlib.nullcontext)
    if FLAGS.max_drop is not None:
        show(f"best, at most {FLAGS.max_drop:g} points expected", mixture)
    if FLAGS.int16:
        show("best, activations in 16 bits", in_16_bits)
    if FLAGS.layers:
        shown = {name: results[name] for name in ("TensorFlow's min-max", *list(RECIPES)[-5:])}
        print(f"\n{layer_table.markdown(layer_table.layer_rows(shown, test[:12]))}", flush=True)


def main(arguments: list[str]) -> None:
    cli.refuse_arguments(arguments)
    for name in ("model", "calibration", "test"):
        if not FLAGS[name].value:
            raise UserError(f"--{name} is missing: --help shows how to use this.")
    for path in FLAGS.model:
        measure(path)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status."""
    return cli.run("benchmarks/quantization.py", __doc__, FLAGS, main, argv)


if __name__ == "__main__":
    sys.exit(run())
