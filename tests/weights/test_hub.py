"""Shared models by address, from a stand-in of the Hub: what is fetched and checked, and one sentence for each failure."""

import hashlib
import pathlib

import numpy as np
import pytest
from hub_server import COMMITS, serve

import shufflenet_tf as st
from shufflenet_tf import loading
from shufflenet_tf.errors import UserError
from shufflenet_tf.models import v2
from shufflenet_tf.weights import canonical, hub

pytest.importorskip("huggingface_hub", reason="the Hub's client is not installed")
LABELS = ["ant", "bee", "cat"]


@pytest.fixture(scope="module", autouse=True)
def few_units():
    """Four units instead of sixteen."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(v2, "REPEATS", (2, 1, 1))
        yield


@pytest.fixture(scope="module")
def model():
    return st.create_model("shufflenet_v2_0.5x", input_shape=(32, 32, 3), classes=3, labels=LABELS)


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    """The newest revision of a repository, and an older one, which is damaged."""
    path = tmp_path_factory.mktemp("model") / hub.WEIGHTS
    canonical.save(model, path)
    content = path.read_bytes()
    sums = f"{hashlib.sha256(content).hexdigest()}  {hub.WEIGHTS}\n{'0' * 64}  README.md\n".encode()
    return {
        ("main", hub.WEIGHTS): content,
        ("main", hub.SUMS): sums,
        ("v1", hub.WEIGHTS): content[:-1],
        ("v1", hub.SUMS): sums,
    }


@pytest.fixture
def server(files, tmp_path, monkeypatch):
    """The requests for files; the Hub is the stand-in, and its cache is empty."""
    log = []
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    with serve(files, log) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        yield log


def test_a_shared_model_is_announced_fetched_once_and_equal(server, model, capsys, monkeypatch):
    bundle = st.load("hf://user/model")
    said = capsys.readouterr().err
    assert "Downloading hf://user/model, weights.npz (" in said and "MiB" in said and COMMITS["main"][:12] in said
    assert "from http://127.0.0.1" in said and sorted(server) == ["GET SHA256SUMS", "GET weights.npz"]
    assert bundle.labels == tuple(LABELS)
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    expected = model(model.preprocessing.normalize(image), training=False).numpy()
    np.testing.assert_allclose(bundle.classify(image), expected, atol=1e-6)
    st.load(pathlib.Path("hf://user/model@main"))
    assert len(server) == 2 and "Downloading" not in capsys.readouterr().err
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")  # without a connection, what is there serves
    assert st.load("hf://user/model").labels == tuple(LABELS)


def test_a_revision_can_be_pinned_and_weights_start_a_training(server, files):
    commit = COMMITS["main"]
    path = hub.weights_file(f"hf://user/model@{commit}")
    assert path.read_bytes() == files["main", hub.WEIGHTS] and commit in str(path)
    network = st.ShuffleNetV2(weights="hf://user/model", alpha=0.5, classes=2, input_shape=(32, 32, 3))
    assert network.output_shape == (None, 2)
    checkpoint = loading.checkpoint("hf://user/model")  # what --weights takes
    assert st.registry.identify(checkpoint) == "shufflenet_v2_0.5x" and list(checkpoint.labels) == LABELS


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("hf://user/model@v1", "it is damaged, or was changed"),
        ("hf://user/model@none", "check the name and the revision"),
        ("hf://user/other", "check the name and the revision"),
        ("hf://model", "give hf://USER/NAME"),
        ("hf://user/model@../x y", "give hf://USER/NAME"),
    ],
)
def test_what_can_not_be_used(address, sentence, server):
    with pytest.raises(UserError, match=sentence) as error:
        st.load(address)
    assert "\n" not in str(error.value) and "hf://" in str(error.value)


def test_what_is_missing(files, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    for missing in (hub.WEIGHTS, hub.SUMS):
        with serve({key: content for key, content in files.items() if key[1] != missing}, []) as address:
            monkeypatch.setenv("HF_ENDPOINT", address)
            with pytest.raises(UserError, match=f"has no {missing}"):
                st.load("hf://user/model")
    sums = files["main", hub.SUMS].replace(hub.WEIGHTS.encode(), b"other.npz")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "other"))
    with serve({**files, ("main", hub.SUMS): sums}, []) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        with pytest.raises(UserError, match="SHA256SUMS has none"):
            st.load("hf://user/model")


def test_no_connection_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the client's attempts
    with pytest.raises(UserError, match=r"hf://user/model can't be fetched \(.*\): check the connection"):
        st.load("hf://user/model")
