"""What networks take and return, and their weights, under both Keras generations; zoo/ runs every registered one."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from qat_networks import few_units

import shufflenet_tf as st
from shufflenet_tf.models import kernels
from shufflenet_tf.weights import canonical

pytestmark = pytest.mark.both_generations


@pytest.fixture
def shallow(monkeypatch):
    """Four units instead of sixteen, where depth makes no difference but to the time."""
    few_units(monkeypatch)


def images(n=2, height=32, width=32):
    return np.random.default_rng(0).normal(size=(n, height, width, 3)).astype(np.float32)


@pytest.mark.long
def test_the_other_generation_gives_equal_outputs_for_the_same_weights(tmp_path):
    script = (
        "import sys, numpy as np, shufflenet_tf as st\n"
        "from shufflenet_tf.models import kernels\n"
        "for name in sys.argv[2:]:\n"
        "    model = st.create_model(name, input_shape=(64, 64, 3), classes=7, weights=f'{sys.argv[1]}/{name}.npz')\n"
        "    x = np.load(f'{sys.argv[1]}/x.npy')\n"
        "    np.save(f'{sys.argv[1]}/{name}.npy', model(x).numpy())\n"
        "print('legacy' if kernels.LEGACY_KERAS else 'keras3')\n"
    )
    names = ["shufflenet_v1_0.25x_g3", "shufflenet_v2_0.5x", "shufflenet_v2_plus_small", "xception"]
    np.save(tmp_path / "x.npy", images(2, 64, 64))
    outputs = {}
    for name in names:
        model = st.create_model(name, input_shape=(64, 64, 3), classes=7)
        canonical.save(model, tmp_path / f"{name}.npz")
        outputs[name] = model(images(2, 64, 64)).numpy()
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "0" if kernels.LEGACY_KERAS else "1"}
    command = [sys.executable, "-c", script, str(tmp_path), *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == ("keras3" if kernels.LEGACY_KERAS else "legacy")
    for name in names:
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), outputs[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["shufflenet_v1_0.25x_g8", "shufflenet_v2_0.5x"])
@pytest.mark.parametrize("size", [(32, 32), (65, 97), (96, 40)])
def test_any_size_gives_maps_of_the_strides(name, size, shallow):
    model = st.create_model(name, input_shape=(*size, 3), include_top=False)
    maps = model.features()(images(1, *size))
    assert list(maps) == ["stride4", "stride8", "stride16", "stride32"]
    for stride, key in zip((4, 8, 16, 32), maps, strict=True):
        assert tuple(maps[key].shape[1:3]) == tuple(-(-side // stride) for side in size)


def test_open_input_size(shallow):
    model = st.ShuffleNetV2((None, None, 3), alpha=0.5, classes=4)
    for size in ((32, 32), (50, 70)):
        fixed = st.ShuffleNetV2((*size, 3), alpha=0.5, classes=4)
        fixed.set_weights(model.get_weights())
        np.testing.assert_allclose(model(images(1, *size)), fixed(images(1, *size)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("pooling", "shape"), [(None, (1, 1, 1, 1024)), ("avg", (1, 1024)), ("max", (1, 1024))])
def test_without_top(pooling, shape, shallow):
    model = st.ShuffleNetV2((32, 32, 3), alpha=0.5, include_top=False, pooling=pooling)
    assert model(images(1)).shape == shape


def test_logits_and_probabilities(shallow):
    logits = st.ShuffleNetV2((32, 32, 3), alpha=0.5, classes=4, classifier_activation=None)
    model = st.ShuffleNetV2((32, 32, 3), alpha=0.5, classes=4)
    model.set_weights(logits.get_weights())
    np.testing.assert_allclose(tf.nn.softmax(logits(images())), model(images()), rtol=1e-5)


def test_a_multiple_that_no_paper_has(shallow):
    model = st.ShuffleNetV2((32, 32, 3), alpha=0.33, classes=4)
    assert model.get_layer("stage2.block0").output.shape[-1] == 40


def test_without_shuffle_the_groups_never_meet():
    """Paper, figure 1a: without shuffling, an output group depends on its own input group only."""
    units = {shuffle: st.ShuffleNetV1Unit(48, groups=4, shuffle=shuffle, name="unit") for shuffle in (True, False)}
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 48)).astype(np.float32)
    changed = x.copy()
    changed[..., :12] += 1  # the first of four groups
    for shuffle, unit in units.items():
        difference = np.abs(unit(x).numpy() - unit(changed).numpy()).reshape(-1, 4, 12).max((0, 2))
        assert (difference[1:] > 0).any() == shuffle


def test_canonical_names_are_tensorpacks(shallow):
    v1 = canonical.named_variables(st.create_model("shufflenet_v1_0.25x_g3", input_shape=(32, 32, 3)))
    v2 = canonical.named_variables(st.create_model("shufflenet_v2_0.5x", input_shape=(32, 32, 3)))
    for name in ("conv1/W", "conv1/bn/mean/EMA", "stage2/block0/dconv_bn/gamma", "stage2/block1/conv2_bn/beta", "linear/b"):
        assert name in v1
    for name in ("conv5/bn/variance/EMA", "stage3/block0/shortcut_dconv/W", "stage2/block0/shortcut_conv/bn/beta"):
        assert name in v2
    assert "stage2/block1/conv2/bn/gamma" in v2 and len(v2) == 20 * 5 + 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda arrays: arrays.pop("conv5/W"), "has no conv5/W"),
        (lambda arrays: arrays.update({"conv9/W": np.zeros(1)}), "has conv9/W"),
        (lambda arrays: arrays.update({"linear/b": np.zeros(9)}), r"linear/b of shape \(9,\)"),
    ],
)
def test_weights_of_another_network_are_refused(change, sentence, shallow):
    model = st.create_model("shufflenet_v2_0.5x", input_shape=(32, 32, 3), classes=3)
    before = model(images()).numpy()
    arrays = {name: np.asarray(variable) * 0 for name, variable in canonical.named_variables(model).items()}
    change(arrays)
    with pytest.raises(st.UserError, match=sentence):
        canonical.assign(model, arrays)
    np.testing.assert_array_equal(model(images()), before)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not really", b"\x93NUMPY"])
def test_damaged_weights_are_refused(content, tmp_path):
    path = tmp_path / "weights.npz"
    path.write_bytes(content)
    with pytest.raises(st.UserError, match=r"not a readable \.npz file"):
        st.ShuffleNetV2((32, 32, 3), weights=str(path))
    with pytest.raises(st.UserError, match="There is no file"):
        st.ShuffleNetV2((32, 32, 3), weights=str(tmp_path / "missing.npz"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"input_shape": (31, 64, 3)}, "sides of 32 or more"),
        ({"input_shape": (64, 64, 1)}, "height, width, 3"),
        ({"alpha": 0}, "alpha=0"),
        ({"classes": 0}, "0 classes"),
        ({"classes": 3, "labels": ["a", "b"]}, "2 labels were given for 3 classes"),
        ({"pooling": "mean"}, "'avg' or 'max'"),
        ({"wiring": "pytorch"}, "tensorpack, megvii, torchvision"),
        ({"preprocessing": "caffe"}, "tensorpack, torchvision, megvii"),
    ],
)
def test_arguments_out_of_range(arguments, sentence, shallow):
    with pytest.raises(st.UserError, match=sentence):
        st.ShuffleNetV2(**arguments)


def test_groups_out_of_range_and_unknown_names():
    with pytest.raises(st.UserError, match="1, 2, 3, 4, 8"):
        st.ShuffleNetV1(groups=5)
    with pytest.raises(st.UserError, match=r"did you mean shufflenet_v2_0\.5x"):
        st.create_model("shufflenetv2_0.5x")
    assert st.list_models("shufflenet_v2_?.?x") == [f"shufflenet_v2_{alpha}x" for alpha in (0.5, 1.0, 1.5, 2.0)]
