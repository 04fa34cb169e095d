"""Quantization-aware training simulates int8 exactly, learns, and goes on where it was stopped. Runs under Keras 2 only."""

import contextlib
import dataclasses
import os

import numpy as np
import pytest
import tensorflow as tf
from photos import write_photos
from qat_networks import few_units, network, pixels

import shufflenet_tf as st
from shufflenet_tf.models.kernels import LEGACY_KERAS

if not LEGACY_KERAS:
    pytest.skip("tensorflow-model-optimization needs TF_USE_LEGACY_KERAS=1", allow_module_level=True)

from export import ptq
from export.convert.from_keras import convert, trace
from export.convert.precision import Precision
from export.flatbuffer import inspection
from export.flatbuffer.graph import Graph, schema
from export.optimize import optimize
from export.qat import fake_quantization, folding, graph_weights, learned_ranges, loop, pixel_source, training
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.errors import UserError
from shufflenet_tf.tflite_classifier import LiteClassifier
from shufflenet_tf.training import checkpoint
from shufflenet_tf.weights import canonical

pytestmark = pytest.mark.both_generations


@pytest.fixture(scope="module", autouse=True)
def shallow():
    with pytest.MonkeyPatch.context() as patch:
        few_units(patch)
        yield


def started(bundle, **settings) -> training.Training:
    """The beginning of a training with ranges of 16 photos."""
    teacher = folding.folded(bundle.model)
    start = graph_weights.start_from_float(teacher, learned_ranges.calibrate(teacher, [pixels(16, bundle.size)]))
    return training.Training(fake_quantization.rounded(teacher, start), teacher, start, training.QatSettings(**settings))


def classified(content: bytes, images: np.ndarray, tmp_path) -> np.ndarray:
    (tmp_path / "model.tflite").write_bytes(content)
    return LiteClassifier(tmp_path / "model.tflite")(images)


def quantized(bundle, images: np.ndarray) -> tuple[ptq.QuantizedPair, tf.keras.Model, graph_weights.Start]:
    """Returns the best int8 graph without training, the float network, and the numbers that training starts with."""
    traced = trace(bundle.model)
    converted = convert(traced), convert(traced, Precision("int8", calibration=list(images)))
    best, teacher = ptq.quantize(*converted, list(images)), folding.folded(bundle.model)
    return (
        best,
        teacher,
        graph_weights.start_from_graph(best.model, best.reference, teacher, learned_ranges.calibrate(teacher, [images])),
    )


def two_steps(bundle, tmp_path, quanta: int = 0) -> bytes:
    """Starts where post-training quantization ends, trains for two steps, converts, and compares with the simulation.

    Returns the graph as converted.

    Args:
      bundle: the network.
      tmp_path: for files.
      quanta: by how many quanta of a probability the graph of the start may differ from the one that it was made of, and
        the simulation from the graph in addition to two: many layers in a row add up their last bits.
    """
    images = pixels(16)
    best, teacher, start = quantized(bundle, images)
    student, expected = fake_quantization.rounded(teacher, start), classified(best.model, images, tmp_path)
    np.testing.assert_allclose(classified(fake_quantization.to_tflite(student), images, tmp_path), expected, atol=quanta / 256)
    trained = training.Training(student, teacher, start, training.QatSettings(steps=2, learning_rate=1e-3))
    before = [v.numpy() for v in trained.variables]
    for _ in range(2):
        assert np.isfinite(float(trained.update(images[:8].astype(np.float32), np.zeros(8, np.int64))[0]))
    assert any(np.any(old != new.numpy()) for old, new in zip(before, trained.variables, strict=True))
    content = fake_quantization.to_tflite(student)
    expected = student(images.astype(np.float32), training=False).numpy()
    np.testing.assert_allclose(classified(content, images, tmp_path), expected, atol=(2 + quanta) / 256)
    graph = Graph(content)
    image, probabilities = graph.inputs[0], graph.outputs[0]
    assert graph.type(image) == graph.type(probabilities) == schema.TensorType.UINT8
    assert graph.quantization(image).scale == (1.0,) and graph.quantization(image).zero_point == (0,), "a pixel is a pixel"
    assert all(graph.type(int(t)) != schema.TensorType.FLOAT32 for o in graph.operators for t in o.outputs), "all in integers"
    assert graph.counts()["QUANTIZE"] == 2, "at the input and at the output, and nothing is rescaled in between"
    for operator in graph.operators:
        if graph.kind(operator) in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            axis = 3 if graph.kind(operator) == "DEPTHWISE_CONV_2D" else 0
            kernel = int(operator.inputs[1])
            assert len(graph.quantization(kernel).scale) == graph.shape(kernel)[axis], "a scale each channel"
    return content


def test_two_steps_then_int8_as_simulated(tmp_path):
    bundle = network("shufflenet_v2_0.5x", wiring="tensorpack", preprocessing="torchvision")
    for leaf in ("gamma", "beta"):  # a dead channel is no dead layer
        variable = canonical.named_variables(bundle.model)[f"stage2/block0/dconv_bn/{leaf}"]
        variable.assign(variable * np.float32(np.arange(variable.shape[0]) != 3))
    two_steps(bundle, tmp_path)


@pytest.mark.skipif(not os.environ.get("EVERY_NETWORK"), reason="takes minutes: EVERY_NETWORK=1 runs it")
@pytest.mark.parametrize("name", st.list_models("shufflenet*"))
def test_every_network_takes_two_steps_then_int8(name, tmp_path):
    tf.keras.backend.clear_session()  # the memory of all of them at once is 20 GB
    (tmp_path / "fast.tflite").write_bytes(optimize(two_steps(network(name), tmp_path, quanta=2)).model)
    assert inspection.delegation(LiteClassifier(tmp_path / "fast.tflite")._interpreter) == (1, {})


@pytest.mark.parametrize(
    "name, size, given",
    [
        ("shufflenet_v2_0.5x", (49, 64), {"wiring": "torchvision", "preprocessing": "torchvision"}),
        ("shufflenet_v1_0.25x_g2", (48, 65), {"wiring": "tensorpack", "preprocessing": "tensorpack"}),
        ("shufflenet_v2_plus_small", (48, 64), {"wiring": "megvii", "preprocessing": "megvii"}),
    ],
)
def test_folding_there_and_back_changes_nothing(name, size, given):
    bundle = network(name, size, **given)
    images = pixels(4, size)
    expected = bundle.classify(images)
    teacher = folding.folded(bundle.model)
    np.testing.assert_allclose(teacher(images.astype(np.float32)), expected, atol=1e-4)
    layers = [layer for layer in teacher.layers if layer.weights]
    learnt = {f"{x.name}/{kind}": a for x in layers for kind, a in zip(("kernel", "bias"), x.get_weights(), strict=True)}
    arrays = folding.unfolded(bundle.model, learnt)
    for variable in bundle.model.weights:
        variable.assign(variable * 0 + 1)
    canonical.assign(bundle.model, arrays)
    np.testing.assert_allclose(bundle.classify(images), expected, atol=1e-4)


def test_a_stage_has_one_range():
    """What a unit passes on lies beside what it makes, in this unit's concatenation and the next one's."""
    grouped = learned_ranges.groups(folding.folded(network("shufflenet_v2_0.5x").model))
    stage2 = {grouped[f"stage2.block{unit}.conv2.act"] for unit in (0, 1)} | {grouped["stage2.block0.shortcut_conv.act"]}
    assert len(stage2) == 1
    assert grouped["stage3.block0.conv2.act"] not in stage2
    assert grouped["stage2.block0.conv1.act"] not in stage2


@pytest.mark.parametrize("name", ["shufflenet_v1_0.25x_g3", "shufflenet_v2_plus_small"])
def test_other_networks_start_there_too(name, small, tmp_path):
    images = pixels(16)
    best, teacher, start = quantized(network(name, wiring="megvii", preprocessing="megvii"), images)
    simulated = fake_quantization.rounded(teacher, start)(images.astype(np.float32))
    np.testing.assert_allclose(simulated, classified(best.model, images, tmp_path), atol=2 / 256)
    if name != "shufflenet_v1_0.25x_g3":
        with pytest.raises(UserError, match=r"\S+ isn't in the initial int8 graph"):
            graph_weights.start_from_graph(best.model, best.reference, small[0].teacher, {})


@pytest.fixture(scope="module")
def small():
    """A training, whose step TensorFlow has to trace only once, and the state that it begins with."""
    trained = started(network("shufflenet_v1_0.25x_g3", (32, 32), preprocessing="torchvision"), steps=40, learning_rate=1e-3)
    return trained, {name: v.numpy() for name, v in trained.state().items()}


@pytest.fixture
def beginning(small, monkeypatch):
    """The training at its start, for runs of four steps."""
    trained, start = small
    for name, variable in trained.state().items():
        variable.assign(start[name])
    settings = dataclasses.replace(trained.settings, steps=4, batch_size=8, checkpoint_steps=1, steps_per_epoch=2)
    monkeypatch.setattr(trained, "settings", settings)
    monkeypatch.setattr(trained, "update", trained.update)  # whatever a test makes of it
    return trained


def test_distillation_teaches_the_student(beginning):
    """Shifted biases of the classifier, in which the loss is convex, find back: to a hundredth of the loss, of which a
    quarter is asked for."""
    variables = dict(zip(beginning.names, beginning.variables, strict=True))
    width = float(variables["linear/high"] - variables["linear/low"])
    variables["linear/bias"].assign_add(0.1 * width * np.float32([1, -1, 1, -1, 1]))
    images, labels = pixels(8, (32, 32)).astype(np.float32), np.zeros(8, np.int64)
    before = float(np.sum(beginning.evaluate(images, labels)[0]))
    for _ in range(40):
        beginning.update(images, labels)
    after = float(np.sum(beginning.evaluate(images, labels)[0]))
    assert after < before / 4, (before, after)


@pytest.fixture(scope="module")
def folder_of_photos(tmp_path_factory):
    return pixel_source.open_photos(f"folder:{write_photos(tmp_path_factory.mktemp('photos'))}")


def train(trained, source, folder, about=None) -> tuple[list[str], checkpoint.Progress]:
    """Trains and returns what is said and where the run stands."""
    lines: list[str] = []
    folder.mkdir(exist_ok=True)
    progress = loop.train(trained, source, st.Preprocessing(), Augmentation(), folder, about or {"seed": 0}, lines.append)
    return lines, progress


def test_interrupted_run_ends_with_the_same_weights(small, beginning, folder_of_photos, tmp_path):
    update = beginning.update
    train(beginning, folder_of_photos, tmp_path / "whole")
    whole = {name: v.numpy() for name, v in beginning.state().items()}
    for until in (2, None):
        for name, variable in beginning.state().items():  # as a process of its own would find them
            variable.assign(small[1][name])

        def interrupted(*arguments, until=until):
            if int(beginning.step) == until:
                raise KeyboardInterrupt
            return update(*arguments)

        beginning.update = interrupted
        with pytest.raises(KeyboardInterrupt) if until else contextlib.nullcontext():
            lines, _ = train(beginning, folder_of_photos, tmp_path / "halves")
    assert any(line.startswith("Going on at step 2 of 4") for line in lines)
    for name, variable in beginning.state().items():
        np.testing.assert_allclose(variable, whole[name], rtol=1e-5, atol=1e-7, err_msg=name)
    history = [(tmp_path / folder / checkpoint.HISTORY).read_text().splitlines() for folder in ("whole", "halves")]
    assert len(history[0]) == len(history[1]) == 4, "a heading and three evaluations"


def test_evaluations_are_of_the_average(beginning):
    """Of where the last steps have been; training goes on from the last one."""
    images, labels = pixels(8, (32, 32)).astype(np.float32), np.zeros(8, np.int64)
    path = [beginning.variables[0].numpy()]
    for _ in range(3):
        beginning.update(images, labels)
        path.append(beginning.variables[0].numpy())
    with beginning.averaged():
        average = beginning.variables[0].numpy()
    np.testing.assert_array_equal(beginning.variables[0], path[-1])
    lowest, highest = np.min(path, 0), np.max(path, 0)
    assert np.all(average >= lowest - 1e-7) and np.all(average <= highest + 1e-7) and np.any(average != path[-1])


def test_a_run_is_no_worse_than_its_start(small, beginning, folder_of_photos, tmp_path):
    def astray(images, labels):
        for variable in (*beginning.variables, *beginning._averages):
            variable.assign(variable + tf.random.stateless_normal(variable.shape, (0, 0)))
        return tf.constant(1.0), tf.constant(0.0)

    beginning.update = astray
    lines, progress = train(beginning, folder_of_photos, tmp_path)
    assert progress.step == 4 and loop.best_step(progress) == 0 and "Step 0 of 4 is kept" in lines[-1]
    for name, variable in zip(beginning.names, beginning.variables, strict=True):
        np.testing.assert_array_equal(variable, small[1][f"variable/{name}"])


def test_a_step_is_kept_if_its_gain_is_more_than_chance(tmp_path):
    random = np.random.default_rng(0)
    losses = random.uniform(1, 2, 400)
    np.savez(tmp_path / loop.BEST, losses=losses, step=3)
    spread = random.normal(0, 1, 400)
    spread = (spread - spread.mean()) / spread.std()
    for gain, kept in ((0.06, True), (0.04, False), (0.0, False), (-0.1, False)):  # a standard error is a twentieth
        assert loop._better(losses - gain - spread, 4, tmp_path) == kept
    assert loop._better(losses, 3, tmp_path), "the same evaluation once more"


def test_runs_that_cannot_go_on(beginning, folder_of_photos, tmp_path):
    beginning.update = lambda images, labels: (tf.constant(1.0), tf.constant(1.0))
    train(beginning, folder_of_photos, tmp_path, {"model": "a"})
    with pytest.raises(UserError, match=r"another model \(a, now b\): .*--overwrite"):
        train(beginning, folder_of_photos, tmp_path, {"model": "b"})
    few = dataclasses.replace(folder_of_photos, train=dataclasses.replace(folder_of_photos.train, size=3))
    with pytest.raises(UserError, match=r"3 training photos, .*--batch_size"):
        train(beginning, few, tmp_path, {"model": "a"})
    (tmp_path / checkpoint.NAME).unlink()
    beginning.update = lambda images, labels: (tf.constant(np.nan), tf.constant(1.0))
    with pytest.raises(UserError, match=r"is NaN or infinite: try --learning_rate="):
        train(beginning, folder_of_photos, tmp_path)
    assert not (tmp_path / checkpoint.NAME).exists(), "nothing is saved of it"


@pytest.mark.parametrize(
    "value, sentence", [(np.nan, "stage2.block0.conv1 has weights that are NaN or infinite"), (0, "only zeros")]
)
def test_layers_without_a_range_are_refused(value, sentence):
    bundle = network("shufflenet_v2_0.5x")
    named = canonical.named_variables(bundle.model)
    for leaf in ("gamma", "beta"):
        variable = named[f"stage2/block0/conv1/bn/{leaf}"]
        variable.assign(tf.fill(variable.shape, np.float32(value)))
    with pytest.raises(UserError, match=sentence):
        learned_ranges.calibrate(folding.folded(bundle.model), [pixels(2)])
