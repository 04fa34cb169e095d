"""Fine-tuning: what is taken over, what is new, what learns and how fast."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import shufflenet_tf as st
from shufflenet_tf.data import Source, Split
from shufflenet_tf.errors import UserError
from shufflenet_tf.models import v2
from shufflenet_tf.preprocessing import PREPROCESSINGS
from shufflenet_tf.training.certainty import predict
from shufflenet_tf.training.interpolation import chosen, interpolate, sentence, settle
from shufflenet_tf.training.trainer import Trainer
from shufflenet_tf.training.transfer import freeze, transfer
from shufflenet_tf.weights import canonical, published

pytestmark = pytest.mark.both_generations


def network(labels):
    return st.create_model("shufflenet_v2_0.5x", input_shape=(32, 32, 3), classes=len(labels), labels=labels)


@pytest.fixture(scope="module", autouse=True)
def shallow():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(v2, "REPEATS", (2, 1, 1))
        yield


@pytest.fixture(scope="module")
def trained():
    model = network(["ant", "bee", "cat"])
    random = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(random.uniform(0.5, 1.0, variable.shape))
    return published.of_model(model, "trained.keras")


@pytest.mark.parametrize("labels", [["ant", "bee", "cat"], ["cat", "ant", "bee"], ["x", "y"]])
def test_classifier_is_kept_for_the_same_classes_only(trained, labels):
    model = network(labels)
    new = transfer(model, trained)
    assert new == (labels != ["ant", "bee", "cat"])
    for name, array in canonical.arrays(model).items():
        expected = trained.arrays[name] if not (new and name.startswith("linear/")) else 0
        np.testing.assert_array_equal(array, np.broadcast_to(expected, array.shape))


def test_another_network_is_refused(trained):
    with pytest.raises(UserError, match=r"trained.keras has conv1/W of shape"):
        transfer(st.create_model("shufflenet_v1_0.25x_g3", input_shape=(32, 32, 3), classes=3), trained)


def test_weights_for_pixels_up_to_255_are_rescaled_without_changing_a_bit(trained):
    """At a usual learning rate, the first steps would destroy their first convolution."""
    raw = dataclasses.replace(trained, preprocessing=PREPROCESSINGS["megvii"])
    scaled = raw.at_unit_scale()
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    outputs, deviations = [], []
    for checkpoint in (raw, scaled):
        model = network(["ant", "bee", "cat"])
        transfer(model, checkpoint)
        pixels = checkpoint.preprocessing.normalize(images)
        deviations.append(float(tf.math.reduce_std(pixels)))
        outputs.append(model(pixels, training=False).numpy())
    np.testing.assert_array_equal(*outputs)
    assert deviations[0] > 50 and 0.5 < deviations[1] < 2
    assert trained.at_unit_scale() is trained and scaled.at_unit_scale() is scaled


@pytest.mark.parametrize("part", [0.0, 0.25, 1.0])
def test_layers_move_back_towards_their_first_weights_and_the_classifier_stays(trained, part):
    model = network(["x", "y"])
    transfer(model, trained)
    moved = {name: array + 1 for name, array in trained.arrays.items()}
    interpolate(model, trained.arrays, moved, part)
    for name, array in canonical.arrays(model).items():
        expected = 0 if name.startswith("linear/") else trained.arrays[name] + part
        np.testing.assert_allclose(array, np.broadcast_to(expected, array.shape), rtol=1e-6)


@pytest.mark.parametrize(
    "losses, part",
    [
        ({0: [1, 2, 3], 0.5: [1, 2, 3], 1: [1, 2, 3]}, 0),
        ({0: [1, 2, 3], 0.5: [0, 1, 2], 1: [0, 1, 2]}, 0.5),
        ({0: [1, 2, 3], 0.5: [0, 2, 4], 1: [0, 5, 0]}, 0),
        ({0: [5, 5, 5], 0.5: [3, 3, 3], 1: [1, 1, 2]}, 1),
    ],
)
def test_the_smallest_change_is_taken_that_is_not_clearly_worse(losses, part):
    assert chosen({key: np.array(values, float) for key, values in losses.items()}) == part


def photos(count, seed):
    """Pictures whose colours tell their classes."""
    random = np.random.default_rng(seed)
    labels, pixels = np.arange(count) % 3, random.integers(0, 256, (count, 32, 32, 3), np.uint8)
    pixels[np.arange(count), :, :, labels] //= 4
    images = [tf.io.encode_png(image).numpy() for image in pixels]
    columns = {"image": images, "label": labels, "orientation": np.ones(count, np.int32)}
    return Split(count, lambda *_: tf.data.Dataset.from_tensor_slices(columns))


@pytest.mark.parametrize("spoilt", ["trained", "first"])
def test_layers_that_know_nothing_are_left(spoilt):
    """Layers that give nothing but zeros are no good; others are taken, with a classifier that knows the classes."""
    model = network(["ant", "bee", "cat"])
    arrays = canonical.arrays(model)
    spoiled = arrays | {name: np.zeros_like(array) for name, array in arrays.items() if name.startswith("conv5/")}
    canonical.assign(model, spoiled if spoilt == "trained" else arrays)
    source = Source("colours", ("ant", "bee", "cat"), photos(30, 0), photos(30, 1), validation=photos(30, 2))
    losses = settle(model, arrays if spoilt == "trained" else spoiled, source)
    taken = next(iter(losses))
    assert taken < 1 if spoilt == "trained" else taken > 0
    assert "loss on the validation photos" in sentence(losses)
    if taken < 1:
        probabilities, targets = predict(model, source.test)
        assert np.mean(probabilities.argmax(-1) == targets) > 0.9 and model.certainty.shrinkage


def test_no_stage_4_to_freeze():
    with pytest.raises(UserError, match=r"squeezenet_1\.1 has no stage 4"):
        freeze(st.create_model("squeezenet_1.1", input_shape=(32, 32, 3), classes=3), "stage4")


def step(model, **kwargs):
    trainer = Trainer(model, weight_decay=0, **kwargs)
    trainer.compile(optimizer=tf.keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True), jit_compile=False, run_eagerly=True)
    random = np.random.default_rng(0)
    images, labels = random.normal(size=(4, 32, 32, 3)).astype(np.float32), tf.one_hot([0, 1, 2, 0], 3)
    before = canonical.arrays(model)
    trainer.train_step((images, labels))
    return {name: array - before[name] for name, array in canonical.arrays(model).items()}


@pytest.mark.parametrize(
    "kind, still",
    [("none", ()), ("stage4", ("conv1", "stage2", "stage3")), ("backbone", ("conv1", "stage2", "stage3", "stage4", "conv5"))],
)
def test_frozen_layers_keep_weights_and_statistics(trained, kind, still):
    model = network(["ant", "bee", "cat"])
    transfer(model, trained)
    freeze(model, kind)
    moved = {name for name, change in step(model).items() if np.abs(change).max() > 0}
    assert moved
    assert not [name for name in moved if still and name.startswith(still)]
    expected = {name for name in canonical.named_variables(model) if not (still and name.startswith(still))}
    # A weight behind a ReLU that nothing passes may stay by chance; statistics and the classifier never do.
    assert {name for name in expected if name.endswith("EMA") or name.startswith("linear/")} <= moved
    freeze(model, "none")
    assert len(model.trainable_weights) > 50


def test_backbone_rate_scales_the_steps_of_all_but_the_classifier(trained):
    changes = []
    for rate in (1.0, 0.25):
        model = network(["ant", "bee", "cat"])
        transfer(model, trained)
        changes.append(step(model, backbone_rate=rate))
    full, slow = changes
    for name in full:
        factor = 1.0 if name.startswith("linear/") or name.endswith("EMA") else 0.25
        np.testing.assert_allclose(slow[name], full[name] * factor, rtol=1e-3, atol=1e-6)
