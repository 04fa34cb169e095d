"""Checkpoints are recognised by their content, set what belongs to them, and are refused when anything is wrong."""

import functools
import hashlib
import http.server
import json
import pathlib
import threading

import numpy as np
import pytest
from qat_networks import few_units

import shufflenet_tf as st
from shufflenet_tf import imagenet
from shufflenet_tf.errors import UserError
from shufflenet_tf.models import registry, v2
from shufflenet_tf.weights import canonical, download, layouts, published, torch_file


def randomised(model):
    random = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return model


@pytest.fixture(scope="module")
def model():
    return randomised(st.create_model("shufflenet_v2_0.5x", input_shape=(32, 32, 3), classes=5, wiring="torchvision"))


@pytest.fixture(scope="module")
def state(model):
    return layouts.to_torchvision(canonical.arrays(model))


@pytest.fixture
def shallow(monkeypatch):
    """Four units instead of sixteen; only the layouts of others know their number."""
    few_units(monkeypatch)


def equal(one, other) -> bool:
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_torchvisions_layout_and_back(model, state, tmp_path):
    torch_file.write(tmp_path / "weights.any", state)
    checkpoint = published.read(tmp_path / "weights.any")
    assert (checkpoint.source, checkpoint.family, checkpoint.classes) == ("torchvision", "v2", 5)
    assert registry.identify(checkpoint) == "shufflenet_v2_0.5x"
    assert equal(st.load(tmp_path / "weights.any").model, model)
    again = layouts.to_torchvision(checkpoint.arrays)
    assert list(again) == list(state) and all(np.array_equal(again[key], state[key]) for key in state)


def test_torchvisions_model_loads_what_is_written(model, state, tmp_path):
    torch = pytest.importorskip("torch")
    torchvision = pytest.importorskip("torchvision")
    torch_file.write(tmp_path / "weights.pth", state)
    theirs = torchvision.models.shufflenet_v2_x0_5(num_classes=5)
    theirs.load_state_dict(torch.load(tmp_path / "weights.pth", weights_only=True), strict=True)
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    logits = theirs.eval()(torch.from_numpy(x.transpose(0, 3, 1, 2))).detach().softmax(-1).numpy()
    np.testing.assert_allclose(model(x), logits, rtol=1e-4, atol=1e-6)


def test_other_networks_have_no_place_in_torchvisions_layout(model):
    half = canonical.arrays(model)
    del half["conv5/W"]
    with pytest.raises(UserError, match="conv5/W"):
        layouts.to_torchvision(half)
    with pytest.raises(UserError, match="stage5"):
        layouts.to_torchvision({**canonical.arrays(model), "stage5/W": np.zeros(1)})


@pytest.mark.both_generations
def test_canonical_file_is_enough_to_build_the_network(tmp_path):
    """Also under the other generation of Keras, whose model files are not readable here."""
    preprocessing = st.Preprocessing(resize=36, crop=32, channel_order="bgr")
    given = {"input_shape": (32, 64, 3), "classes": 3, "labels": ["a", "b", "c"], "preprocessing": preprocessing}
    for name in ("shufflenet_v1_0.25x_g3_noshuffle", "shufflenet_v2_0.5x"):
        model = randomised(st.create_model(name, wiring="megvii", **given))
        canonical.save(model, tmp_path / "model.npz")
        bundle = st.load(tmp_path / "model.npz")
        assert bundle.model.get_config() == model.get_config() and bundle.size == (32, 64)
        assert (bundle.labels, bundle.preprocessing) == (("a", "b", "c"), preprocessing)
        assert equal(bundle.model, model)


def test_weights_bring_wiring_and_preprocessing(state, model, tmp_path):
    torch_file.write(tmp_path / "w.pth", state)
    loaded = st.ShuffleNetV2((32, 32, 3), alpha=0.5, classes=5, weights=tmp_path / "w.pth")
    assert loaded.get_config()["wiring"] == st.Wiring.of("torchvision").to_config()
    assert loaded.preprocessing == st.Preprocessing.of("torchvision")
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3))
    np.testing.assert_allclose(loaded(x), model(x), rtol=1e-5)


def test_features_leave_the_classifier_out(state, model, tmp_path):
    torch_file.write(tmp_path / "w.pth", state)
    features = st.ShuffleNetV2((32, 32, 3), alpha=0.5, include_top=False, pooling="avg", weights=tmp_path / "w.pth")
    assert features.output_shape == (None, 1024) and features.labels is None
    assert np.array_equal(canonical.arrays(features)["conv5/W"], canonical.arrays(model)["conv5/W"])


def test_a_thousand_classes_are_imagenets(state, tmp_path):
    weights = {**state, "fc.weight": np.ones((1000, 1024), np.float32), "fc.bias": np.ones(1000, np.float32)}
    torch_file.write(tmp_path / "w.pth", weights)
    assert published.read(tmp_path / "w.pth").labels == imagenet.labels()


def test_another_network_is_refused_by_its_first_tensor(state, tmp_path):
    torch_file.write(tmp_path / "w.pth", state)
    given = {"input_shape": (32, 32, 3), "classes": 5, "weights": tmp_path / "w.pth"}
    with pytest.raises(UserError, match=r"stage2/block0/shortcut_conv/W of shape .*needs.*use ShuffleNetV2\(alpha=0\.5\)\.$"):
        st.ShuffleNetV2(**given, alpha=1.0)
    with pytest.raises(UserError, match=r"conv1/W.*use ShuffleNetV2\(alpha=0\.5\)\.$"):
        st.ShuffleNetV1(**given, alpha=0.5)


def test_other_classes_get_a_new_classifier(state, model, tmp_path):
    torch_file.write(tmp_path / "w.pth", state)
    other = st.ShuffleNetV2((32, 32, 3), weights=tmp_path / "w.pth", classes=7)
    assert other.output_shape == (None, 7) and other.labels is None
    assert other.get_config()["alpha"] == 0.5, "the width is the file's"
    old, new = canonical.arrays(model), canonical.arrays(other)
    assert all(np.array_equal(old[name], new[name]) for name in old if not name.startswith("linear/"))
    assert new["linear/W"].shape == (1024, 7) and new["linear/W"].std() > 0, "random"


def test_width_and_groups_are_those_of_the_file(tmp_path):
    saved = st.ShuffleNetV1((32, 32, 3), alpha=0.25, groups=8, classes=3, labels=("a", "b", "c"))
    canonical.save(saved, tmp_path / "w.npz")
    loaded = st.ShuffleNetV1((32, 32, 3), weights=tmp_path / "w.npz")
    assert loaded.get_config() == saved.get_config() and equal(loaded, saved)
    with pytest.raises(UserError, match=r"use ShuffleNetV1\(alpha=0\.25, groups=8\)\.$"):
        st.ShuffleNetV1((32, 32, 3), groups=3, weights=tmp_path / "w.npz")


def test_unregistered_widths_are_told(state, tmp_path, shallow):
    model = st.ShuffleNetV2((32, 32, 3), alpha=0.25, classes=2, name="narrow")
    canonical.save(model, tmp_path / "w.npz")
    with pytest.raises(UserError, match="no registered network"):
        st.load(tmp_path / "w.npz")
    assert equal(st.ShuffleNetV2((32, 32, 3), alpha=0.25, classes=2, weights=tmp_path / "w.npz"), model)


def damaged(state):
    """Yields (what, state) with one thing wrong."""
    keys = list(state)
    random = np.random.default_rng(1)
    for i in range(20):
        key = keys[random.integers(len(keys))]
        if not key.endswith("num_batches_tracked"):
            yield f"without {key}", {k: v for k, v in state.items() if k != key}
        yield f"extra {i}", {**state, f"stage2.{i + 4}.branch2.0.weight": np.zeros(1, np.float32)}
    for i in range(30):
        key = keys[random.integers(len(keys))]
        if state[key].ndim:
            shape = list(state[key].shape)
            shape[random.integers(len(shape))] += 1
            yield f"shape of {key}", {**state, key: np.zeros(shape, np.float32)}
            axes = state[key][None]
            yield f"axes of {key}", {**state, key: axes}
            bad = state[key].copy()
            bad.flat[random.integers(bad.size)] = (np.nan, np.inf)[i % 2]
            yield f"values of {key}", {**state, key: bad}
            yield f"type of {key}", {**state, key: state[key].astype(np.int64)}
    yield "variance below zero", {**state, "conv1.1.running_var": -np.ones(24, np.float32)}
    yield "nothing", {}


def test_two_hundred_damaged_files(state, model, tmp_path):
    """Each is refused in one sentence that names the file; none is taken, and nothing in them is run."""
    path, told, before = tmp_path / "weights.pth", [], model.get_weights()

    def refused(what):
        try:
            checkpoint = published.read(path)
            canonical.assign(model, checkpoint.arrays, str(path))
        except UserError as error:
            assert "\n" not in str(error) and "weights.pth" in str(error), what
            told.append(what)
        else:
            pytest.fail(f"{what} was taken")

    for what, weights in damaged(state):
        torch_file.write(path, weights)
        refused(what)
    torch_file.write(path, state)
    for content, kind in ((path.read_bytes(), "torch"), (_npz(model, tmp_path), "npz")):
        random = np.random.default_rng(2)
        for i in range(20):
            path.write_bytes(content[: random.integers(len(content))])
            refused(f"{kind} truncated {i}")
        for i in range(20):
            flipped = bytearray(content)
            # Within the arrays: their checksums tell. In names and padding of an archive a bit may mean nothing.
            flipped[random.integers(len(content) // 4, len(content) // 2)] ^= 1 << random.integers(8)
            path.write_bytes(flipped)
            refused(f"{kind} flipped {i}")
    assert len(told) >= 200
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def _npz(model, folder: pathlib.Path) -> bytes:
    canonical.save(model, folder / "whole.npz")
    return (folder / "whole.npz").read_bytes()


@pytest.mark.parametrize("text", ["{", "[]", '"ShuffleNetV2"', '{"class": 3}'])
def test_configuration_that_describes_no_network(model, tmp_path, text):
    np.savez(tmp_path / "w.npz", **{canonical.CONFIG: np.array(text)}, **canonical.arrays(model))
    with pytest.raises(UserError, match="damaged"):
        st.load(tmp_path / "w.npz")


@pytest.mark.parametrize("field", ["wiring", "preprocessing", "labels", "input_shape"])
@pytest.mark.parametrize("value", [{"colour": "red"}, [1.5], "nobody's", 3])
def test_configuration_with_wrong_fields(model, tmp_path, field, value):
    config = json.dumps({**canonical.config(model), field: value})
    np.savez(tmp_path / "w.npz", **{canonical.CONFIG: np.array(config)}, **canonical.arrays(model))
    with pytest.raises(UserError):
        st.load(tmp_path / "w.npz")


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A server of files on this machine, and an empty cache; returns the folder served, its address and the cache."""
    folder = tmp_path / "web"
    folder.mkdir()
    monkeypatch.setenv("SHUFFLENET_TF_CACHE", str(tmp_path / "cache"))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}/", tmp_path / "cache"
        server.shutdown()


def publish(monkeypatch, content: bytes, folder: pathlib.Path) -> str:
    """Puts torchvision's 0.5x on the server, with the hash in its name, and returns that."""
    name = f"shufflenetv2_x0.5-{hashlib.sha256(content).hexdigest()[:10]}.pth"
    (folder / name).write_bytes(content)
    monkeypatch.setitem(download.IMAGENET, "shufflenet_v2_0.5x", (name, len(content) / 2**20))
    return name


def test_imagenet_is_announced_verified_and_kept(web, monkeypatch, capsys, state, tmp_path):
    folder, address, cache = web
    torch_file.write(tmp_path / "w.pth", state)
    name = publish(monkeypatch, (tmp_path / "w.pth").read_bytes(), folder)
    monkeypatch.setattr(download, "ADDRESS", address)
    monkeypatch.setattr(v2, "REPEATS", (4, 8, 4))
    model = st.ShuffleNetV2((32, 32, 3), alpha=0.5, classes=5, weights="imagenet")
    told = capsys.readouterr().err
    assert f"{address}{name}" in told and "MiB" in told and str(cache / name) in told
    assert model.preprocessing == st.Preprocessing.of("torchvision")
    (folder / name).unlink()
    assert download.imagenet_file("shufflenet_v2_0.5x") == cache / name, "the second time nothing is fetched"
    (cache / name).write_bytes(b"something else")
    with pytest.raises(UserError, match="isn't what was published: delete it"):
        download.imagenet_file("shufflenet_v2_0.5x")


def test_offline_says_what_to_put_where(web, monkeypatch):
    _, address, cache = web
    with pytest.raises(UserError, match=r"can't be fetched .*put it at .*cache"):
        download.imagenet_file("shufflenet_v2_1.0x", address)  # 404
    with pytest.raises(UserError, match="can't be fetched"):
        download.imagenet_file("shufflenet_v2_1.0x", "http://127.0.0.1:9/")
    assert not list(cache.glob("*")), "nothing half is left"


def test_an_answer_of_another_length_is_not_kept(web, monkeypatch):
    folder, address, cache = web
    name = publish(monkeypatch, bytes(10_000), folder)
    (folder / name).write_bytes(bytes(5_000))
    with pytest.raises(UserError, match="5,000 bytes instead of about 10,000"):
        download.imagenet_file("shufflenet_v2_0.5x", address)
    assert not list(cache.glob("*"))


def test_no_imagenet_for_networks_that_torchvision_lacks():
    with pytest.raises(UserError, match="give the path of a checkpoint"):
        st.ShuffleNetV1((32, 32, 3), weights="imagenet")
