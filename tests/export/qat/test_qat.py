"""Quantization-aware training simulates int8 exactly, learns, and goes on where it was stopped. Runs under Keras 2 only."""

import dataclasses
import os

import numpy as np
import pytest
import tensorflow as tf
from photos import write_photos
from qat_networks import few_units, network, pixels

import shufflenet_tf as st
from shufflenet_tf.kernels import LEGACY_KERAS

if not LEGACY_KERAS:
    pytest.skip("tensorflow-model-optimization needs TF_USE_LEGACY_KERAS=1", allow_module_level=True)

from export import anatomy
from export.optimize import optimize
from export.optimize.graph import Graph, schema
from export.qat import network as folding
from export.qat import photos, ranges, rounding, training
from shufflenet_tf.data.augment import Augmentation
from shufflenet_tf.errors import UserError
from shufflenet_tf.lite import LiteClassifier
from shufflenet_tf.weights import canonical

pytestmark = pytest.mark.both_generations
NETWORKS = {
    "shufflenet_v2_0.5x": {"wiring": "tensorpack", "preprocessing": "torchvision"},
    "shufflenet_v1_0.25x_g3": {"wiring": "megvii", "preprocessing": "megvii"},
}
AS_PHOTOGRAPHED = Augmentation(min_area=1, jitter=0, lighting=0, flip=False)


@pytest.fixture(scope="module", autouse=True)
def shallow():
    with pytest.MonkeyPatch.context() as patch:
        few_units(patch)
        yield


def started(bundle, **settings) -> training.Training:
    """The beginning of a training that has seen 16 photos."""
    teacher = folding.folded(bundle.model)
    start = ranges.calibrate(teacher, [pixels(16, bundle.size)])
    return training.Training(rounding.rounded(teacher, start), teacher, start, training.Settings(**settings))


def classified(content: bytes, images: np.ndarray, tmp_path) -> np.ndarray:
    (tmp_path / "model.tflite").write_bytes(content)
    return LiteClassifier(tmp_path / "model.tflite")(images)


def two_steps(name: str, tmp_path, **given) -> Graph:
    """Trains a network for two steps, converts it and compares with the simulation; returns the graph as converted."""
    bundle = network(name, **given)
    trained = started(bundle, steps=2, learning_rate=1e-3)
    images = pixels(8).astype(np.float32)
    before = [v.numpy() for v in trained.variables]
    for _ in range(2):
        assert np.isfinite(float(trained.update(images, np.zeros(8, np.int64))[0]))
    assert any(np.any(old != new.numpy()) for old, new in zip(before, trained.variables, strict=True))
    student = trained.whole
    content = rounding.to_tflite(student)
    expected = student(images, training=False).numpy()
    np.testing.assert_allclose(classified(content, pixels(8), tmp_path), expected, atol=2 / 256)
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
    fast = tmp_path / "fast.tflite"
    fast.write_bytes(optimize(content).model)
    assert anatomy.delegation(LiteClassifier(fast)._interpreter) == (1, {})
    return graph


@pytest.mark.parametrize("name", NETWORKS)
def test_two_steps_then_int8_as_simulated(name, tmp_path):
    two_steps(name, tmp_path, **NETWORKS[name])


@pytest.mark.skipif(not os.environ.get("EVERY_NETWORK"), reason="takes minutes: EVERY_NETWORK=1 runs it")
@pytest.mark.parametrize("name", [name for name in st.list_models("shufflenet*") if name not in NETWORKS])
def test_every_network_takes_two_steps_then_int8(name, tmp_path):
    two_steps(name, tmp_path)


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
    start = ranges.calibrate(teacher, [images])
    named = {key: v.numpy() for key, v in rounding.named_variables(rounding.rounded(teacher, start)).items()}
    arrays = folding.unfolded(bundle.model, named)
    for variable in bundle.model.weights:
        variable.assign(variable * 0 + 1)
    canonical.assign(bundle.model, arrays)
    np.testing.assert_allclose(bundle.classify(images), expected, atol=1e-4)


def test_a_stage_has_one_range():
    """What a unit passes on lies beside what it makes, in this unit's concatenation and the next one's."""
    grouped = ranges.groups(folding.folded(network("shufflenet_v2_0.5x").model))
    stage2 = {grouped[f"stage2.block{unit}.conv2.act"] for unit in (0, 1)} | {grouped["stage2.block0.shortcut_conv.act"]}
    assert len(stage2) == 1
    assert grouped["stage3.block0.conv2.act"] not in stage2
    assert grouped["stage2.block0.conv1.act"] not in stage2


def test_start_is_post_training_quantization(tmp_path):
    """Before any step the simulated network is what TensorFlow's converter makes of the same photos, but for shared ranges."""
    from export.convert import convert
    from export.quantize import Quantization

    bundle, images = network("shufflenet_v1_0.25x_g3", preprocessing="torchvision"), pixels(16)
    converted = classified(convert(bundle.model, Quantization("int8", calibration=list(images))), images, tmp_path)
    np.testing.assert_allclose(started(bundle).whole(images.astype(np.float32)), converted, atol=8 / 256)


def test_distillation_teaches_the_student():
    bundle = network("shufflenet_v1_0.25x_g3", (32, 32), preprocessing="torchvision")
    trained = started(bundle, steps=40, learning_rate=1e-3)
    for name, variable in zip(trained.names, trained.variables, strict=True):
        if name.endswith("/high"):
            variable.assign(0.5 * variable)  # a bad start: half of the large values are cut off
    images, labels = pixels(16, (32, 32)).astype(np.float32), np.zeros(16, np.int64)
    before = float(trained.evaluate(images, labels)[0])
    for _ in range(40):
        trained.update(images, labels)
    after = float(trained.evaluate(images, labels)[0])
    assert after < 0.8 * before, (before, after)


@pytest.fixture
def folder_of_photos(tmp_path):
    return photos.open_photos(f"folder:{write_photos(tmp_path / 'photos')}")


def test_interrupted_run_ends_with_the_same_weights(folder_of_photos, tmp_path):
    bundle = network("shufflenet_v1_0.25x_g3", (32, 32))
    trained = started(bundle, steps=4, batch_size=8, checkpoint_steps=1)
    update, start, lines = trained.update, {name: v.numpy() for name, v in trained.state().items()}, []

    def run(folder, until=None):
        for name, variable in trained.state().items():  # as a process of its own would find them
            variable.assign(start[name])

        def interrupted(*arguments):
            if int(trained.step) == until:
                raise KeyboardInterrupt
            return update(*arguments)

        trained.update = interrupted
        folder.mkdir(exist_ok=True)
        training.train(trained, folder_of_photos, bundle.preprocessing, Augmentation(), folder, {"seed": 0}, lines.append)
        return {name: v.numpy() for name, v in trained.state().items()}

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "halves", until=2)
    halves = run(tmp_path / "halves")
    assert any(line.startswith("Going on at step 2 of 4") for line in lines)
    for name, values in whole.items():
        np.testing.assert_allclose(values, halves[name], rtol=1e-5, atol=1e-7, err_msg=name)
    history = [(tmp_path / folder / training.HISTORY).read_text().splitlines() for folder in ("whole", "halves")]
    assert len(history[0]) == len(history[1]) > 2


def test_runs_that_cannot_go_on(folder_of_photos, tmp_path):
    bundle = network("shufflenet_v1_0.25x_g3", (32, 32))
    trained = started(bundle, steps=1, batch_size=4)
    arguments = bundle.preprocessing, Augmentation(), tmp_path
    training.train(trained, folder_of_photos, *arguments, {"model": "a"}, str)
    with pytest.raises(UserError, match=r"another model \(a, now b\): .*--overwrite"):
        training.train(trained, folder_of_photos, *arguments, {"model": "b"}, str)
    few = dataclasses.replace(folder_of_photos, train=dataclasses.replace(folder_of_photos.train, size=3))
    with pytest.raises(UserError, match=r"3 photos .*--batch_size"):
        training.train(trained, few, *arguments, {"model": "a"}, str)
    trained.step.assign(0)
    trained.variables[0].assign(trained.variables[0] * np.nan)
    (tmp_path / training.CHECKPOINT).unlink()
    with pytest.raises(UserError, match=r"no longer a number: try --learning_rate="):
        training.train(trained, folder_of_photos, *arguments, {"model": "a"}, str)
    assert not (tmp_path / training.CHECKPOINT).exists(), "nothing is saved of it"


@pytest.mark.parametrize(
    "value, sentence", [(np.nan, "stage2.block0.conv1 has weights that are no numbers"), (0, "nothing but zeros")]
)
def test_layers_without_a_range_are_refused(value, sentence):
    bundle = network("shufflenet_v2_0.5x")
    named = canonical.named_variables(bundle.model)
    for leaf in ("gamma", "beta"):
        variable = named[f"stage2/block0/conv1/bn/{leaf}"]
        variable.assign(tf.fill(variable.shape, np.float32(value)))
    with pytest.raises(UserError, match=sentence):
        ranges.calibrate(folding.folded(bundle.model), [pixels(2)])


def test_a_dead_channel_is_no_dead_layer(tmp_path):
    bundle = network("shufflenet_v2_0.5x", preprocessing="torchvision")
    named = canonical.named_variables(bundle.model)
    for leaf in ("gamma", "beta"):
        variable = named[f"stage2/block0/dconv_bn/{leaf}"]
        variable.assign(variable * np.float32(np.arange(variable.shape[0]) != 3))
    student = started(bundle).whole
    expected = student(pixels(4).astype(np.float32)).numpy()
    np.testing.assert_allclose(classified(rounding.to_tflite(student), pixels(4), tmp_path), expected, atol=2 / 256)
