"""What a program says when TensorFlow stops: the reason, out of TensorFlow's own messages, and what to do."""

import importlib
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

from shufflenet_tf import cli, limits
from shufflenet_tf.cli import run_and_report
from shufflenet_tf.tensorflow_errors import reason

pytestmark = pytest.mark.both_generations
LAYER = tf.keras.layers.Layer


class Pointwise(LAYER):
    """A grouped convolution as TensorFlow differentiates it: with oneDNN only."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(1, 1, 2, 4), name="kernel")

    def call(self, x):
        return tf.nn.conv2d(x, tf.convert_to_tensor(self.kernel), 1, "SAME")


class NoNumbers(LAYER):
    def call(self, x):
        return tf.debugging.check_numerics(x / 0.0, "the activations")


class OutOfRange(LAYER):
    def call(self, x):
        return x + tf.gather([1.0, 2.0], tf.shape(x)[0])


class Text(LAYER):
    def call(self, x):
        return x + tf.cast(tf.strings.length(tf.strings.as_string(x)), tf.float32)


def fit(layer, data=None, compiled=False):
    """Trains a small network for one step, the first failure being TensorFlow's."""
    inputs = tf.keras.Input((4, 4, 4))
    outputs = tf.keras.layers.Dense(2)(tf.keras.layers.GlobalAveragePooling2D()(layer(inputs)))
    model = tf.keras.Model(inputs, outputs)
    model.compile("sgd", "mse", jit_compile=compiled)
    model.fit(data or tf.data.Dataset.from_tensors((np.ones((4, 4, 4, 4)), np.ones((4, 2)))), verbose=0)


def dataset(*batches, failure=None):
    def generate():
        yield from batches
        if failure:
            raise failure

    signature = (tf.TensorSpec((None, 4, 4, 4)), tf.TensorSpec((None, 2)))
    return tf.data.Dataset.from_generator(generate, output_signature=signature)


def undecodable():
    images = tf.data.Dataset.from_tensors((b"nonsense", np.ones((1, 2))))
    decode = lambda text, y: (tf.reshape(tf.cast(tf.io.decode_png(text, channels=4), tf.float32), (1, 4, 4, 4)), y)  # noqa: E731
    fit(tf.keras.layers.ReLU(), images.map(decode))


@pytest.mark.parametrize(
    ("work", "sentences"),
    [
        (
            lambda: fit(NoNumbers()),
            r"the activations : Tensor had (NaN|Inf) values\. Start afresh with a smaller learning rate",
        ),
        (lambda: fit(OutOfRange()), r"indices = 4 is not in \[0, 2\)\.$"),
        (lambda: fit(tf.keras.layers.ReLU(), dataset(failure=ValueError("A is damaged."))), r"ValueError: A is damaged\.$"),
        (
            lambda: fit(tf.keras.layers.ReLU(), dataset((np.ones((4, 4, 4, 4)), np.ones((3, 2))))),
            r"Incompatible shapes: \[[34],2\] vs. \[[34],2\]\. The images or labels are not of the sizes",
        ),
        (undecodable, r"Unknown image file format\..* An image is damaged"),
        (lambda: fit(Text(), compiled=True), r"unsupported operations when trying to compile.*AsString.*jit_compile=False"),
        (
            lambda: tf.matmul(tf.ones((2, 3)), tf.ones((2, 3))),
            r"Matrix size-incompatible: In\[0\]: \[2,3\], In\[1\]: \[2,3\]\. ",
        ),
        (lambda: tf.io.read_file("/no/such"), r"^/no/such; No such file or directory\.$"),
        pytest.param(
            lambda: tf.io.write_file("/dev/full", "x" * 100_000),
            r"^/dev/full; No space left on device\. Make room on the disk\.$",
            marks=pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="only Linux has a device that is full"),
        ),
    ],
    ids=["not_a_number", "index", "generator", "shapes", "image", "xla", "eager", "missing", "full"],
)
def test_the_reason_is_told_and_what_to_do(work, sentences, capsys):
    caught = []

    def recorded():
        try:
            work()
        except tf.errors.OpError as error:
            caught.append(error)
            raise

    assert run_and_report("program", recorded) == 1
    shown = [line for line in capsys.readouterr().err.splitlines() if line.startswith("program: ")]
    text = reason(caught[0])
    assert shown == [f"program: TensorFlow stopped: {text}"]
    for noise in ("Graph execution error", "{{", "[[", "[Op:", 'File "', "Detected at node", "Iterator::"):
        assert noise not in text
    assert re.search(sentences, text), text


def test_memory_is_told_as_before(capsys):
    def exhausted():
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[64,1000]")

    assert run_and_report("program", exhausted, memory="take less.") == 1
    assert capsys.readouterr().err == "program: Memory ran out: take less.\n"


@pytest.mark.parametrize(
    "cause, error",
    [
        (MemoryError(), ValueError("I/O operation on closed file.")),  # as h5py closes a file
        (RuntimeError("can't start new thread"), AttributeError("terminate")),  # as Python's pool of threads does
    ],
)
def test_an_error_that_hides_that_memory_ended_is_told_as_such(cause, error, capsys):
    def closing():
        try:
            raise cause
        finally:
            raise error from None  # as Keras does

    assert run_and_report("program", closing, memory="take less.") == 1
    assert capsys.readouterr().err == "program: Memory ran out: take less.\n"


def test_an_error_without_words_is_told_by_its_name():
    assert reason(tf.errors.InternalError(None, None, "")) == "InternalError."


@pytest.mark.skipif(tf.config.list_physical_devices("GPU") != [], reason="GPUs differentiate every grouped convolution")
def test_a_grouped_convolution_that_is_not_ours():
    try:
        fit(Pointwise())
    except tf.errors.OpError as error:
        text = reason(error)
        assert "filter_size does not have enough elements" in text and "set TF_ENABLE_ONEDNN_OPTS=1" in text


def test_max_megapixels_holds_before_a_program_begins(monkeypatch, capsys):
    for kind in limits.MEGAPIXELS:
        monkeypatch.setitem(limits.MEGAPIXELS, kind, 10.0)
    values, seen = cli.flag_values(), []
    cli.define_dataset(values)

    def run(*arguments) -> int:
        return cli.run("program", "", values, lambda _: seen.append(dict(limits.MEGAPIXELS)), ["program", *arguments])

    assert [run(), run("--max_megapixels=250.5")] == [0, 0]
    assert [set(limit.values()) for limit in seen] == [{10.0}, {250.5}]
    assert run("--max_megapixels=0.5") == 2 and "max_megapixels" in capsys.readouterr().err


def test_help_without_docstrings(capsys):
    """As `python -OO` leaves a program."""
    assert cli.run("program", None, cli.flag_values(), lambda _: None, ["program", "--help"]) == 0
    assert capsys.readouterr().out.startswith("program\n")


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("program", ["shufflenet_tf.classify", "export.tflite"])
def test_help_fits_the_terminal(program, columns, capsys, monkeypatch):
    """Indented lines are commands to copy, and stay in one piece."""
    module = importlib.import_module(program)
    monkeypatch.setenv("COLUMNS", "1000")
    assert module.run(["program", "--help"]) == 0
    wide = capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", str(columns))
    assert module.run(["program", "--help"]) == 0
    out = capsys.readouterr().out
    if columns < 200:
        assert max(len(line) for line in out.splitlines() if not line.startswith("  python")) < max(columns, 61)
    else:
        assert out == wide
    assert out.split() == wide.split()
    assert [line for line in out.splitlines() if line.startswith("  python")] == [
        line for line in wide.splitlines() if line.startswith("  python")
    ]


@pytest.mark.parametrize("program", ["train_main", "shufflenet_tf.classify", "export.tflite", "export.verify"])
def test_every_program_that_reads_photos_has_max_megapixels(program):
    assert "max_megapixels" in importlib.import_module(program).FLAGS
