"""Outputs of tensorpack's own code, for weights and photos in its own format."""

import numpy as np
import pytest

import shufflenet_tf as st
from shufflenet_tf.weights import canonical

pytestmark = pytest.mark.both_generations


@pytest.mark.parametrize("name", [f"shufflenet_v1_0.5x_g{g}" for g in (3, 4, 8)] + ["shufflenet_v2_0.5x"])
def test_tensorpack(shared, name):
    folder = shared / "golden"
    inputs = np.load(folder / "inputs" / "tensorpack.npz")
    expected = np.load(folder / "tensorpack" / f"{name}.io.npz")
    model = st.create_model(name, classifier_activation=None, preprocessing="tensorpack")
    with np.load(folder / "tensorpack" / f"{name}.npz") as weights:
        canonical.assign(model, {key.removesuffix(":0"): weights[key] for key in weights})

    x = model.preprocessing.normalize(inputs["image_uint8_rgb_nhwc"])
    np.testing.assert_allclose(x, inputs["preprocessed_float32_bgr_nchw"].transpose(0, 2, 3, 1), atol=2e-6)
    logits = expected["logits"]
    assert np.abs(model(x).numpy() - logits).max() <= 1e-4 * np.abs(logits).max()
    maps = model.features()(x[:1])
    for key, stride in (("pool1", 4), ("stage2", 8), ("stage3", 16), ("stage4", 32)):
        stage = expected[key].transpose(0, 2, 3, 1)
        assert np.abs(maps[f"stride{stride}"].numpy() - stage).max() <= 1e-4 * np.abs(stage).max()


def test_another_wiring_does_not_give_tensorpacks_logits(shared):
    folder = shared / "golden"
    x = np.load(folder / "inputs" / "tensorpack.npz")["preprocessed_float32_bgr_nchw"].transpose(0, 2, 3, 1)
    logits = np.load(folder / "tensorpack" / "shufflenet_v2_0.5x.io.npz")["logits"]
    paper = st.Wiring(shuffle_order="interleave")
    model = st.ShuffleNetV2(alpha=0.5, classifier_activation=None, wiring=paper)
    with np.load(folder / "tensorpack" / "shufflenet_v2_0.5x.npz") as weights:
        canonical.assign(model, {key.removesuffix(":0"): weights[key] for key in weights})
    assert np.abs(model(x).numpy() - logits).max() > 0.1 * np.abs(logits).max()
