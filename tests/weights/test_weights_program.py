"""python -m shufflenet_tf.weights: what a checkpoint is, whether it computes what it should, conversion."""

import re

import numpy as np
import pytest
import tensorflow as tf

import shufflenet_tf as st
from shufflenet_tf.weights import __main__ as program
from shufflenet_tf.weights import canonical, compare


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    model = st.create_model("shufflenet_v2_0.5x", input_shape=(32, 32, 3), classes=4, wiring="torchvision")
    path = tmp_path_factory.mktemp("weights") / "model.npz"
    canonical.save(model, path)
    return path


@pytest.fixture
def run(capsys):
    def run(*arguments):
        return program.run(["weights", *map(str, arguments)]), *capsys.readouterr()

    return run


def test_says_what_it_is(run, file):
    status, out, _ = run(file)
    assert status == 0 and "shufflenet_v2_0.5x" in out and "24, 48, 96, 192" in out and "shuffle_order interleave" in out


@pytest.mark.parametrize("name", ["copy.npz", "copy.pth"])
def test_converts_without_loss(run, file, tmp_path, name):
    status, out, _ = run(file, f"--output={tmp_path / name}")
    assert status == 0 and f"written: {tmp_path / name}" in out
    ours, theirs = (canonical.arrays(st.load(path).model) for path in (file, tmp_path / name))
    assert ours.keys() == theirs.keys() and all(np.array_equal(ours[key], theirs[key]) for key in ours)


def test_torchvisions_keys_are_only_for_torchvisions_wiring(run, tmp_path):
    canonical.save(st.create_model("shufflenet_v2_0.5x", input_shape=(32, 32, 3)), tmp_path / "model.npz")
    status, _, err = run(tmp_path / "model.npz", f"--output={tmp_path / 'model.pth'}")
    assert status == 2 and "--wiring=torchvision" in err and not (tmp_path / "model.pth").exists()


def test_modelling_and_preprocessing_are_told_apart(run, file, tmp_path):
    """An original that computes the same, but was fed with brighter pixels than our preprocessing makes."""
    model = st.load(file).model
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    fed = model.preprocessing.normalize(pixels).numpy() + 0.5
    np.savez(tmp_path / "in.npz", **{compare.PIXELS: pixels, "fed_float32": fed.transpose(0, 3, 1, 2)})
    logits = tf.keras.Model(model.input, model.get_layer("linear").output)(fed).numpy()
    stage = model.features()(fed[:1])["stride16"].numpy().transpose(0, 3, 1, 2)
    np.savez(tmp_path / "out.npz", logits=logits, stage3=stage)
    status, out, _ = run(file, f"--reference={tmp_path / 'out.npz'}", f"--inputs={tmp_path / 'in.npz'}")
    rows = [re.split(r"  +", line.strip()) for line in out.splitlines()]
    modelling = {row[1]: float(row[2]) for row in rows if row[0] == "modelling"}
    assert status == 0 and modelling.keys() == {"logits", "stage3"} and max(modelling.values()) < 1e-6
    assert ["preprocessing", "scale and channel order", "5.00e-01"] in [row[:3] for row in rows]


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["missing.npz"], "There is no model at missing.npz"),
        ([], "one is needed"),
        (["{file}", "--output=x.h5"], "unknown extension"),
        (["{file}", "--reference=x.npz"], "need each other"),
        (["{file}", "--reference=x.npz", "--inputs=y.npz"], "There is no file x.npz"),
        (["{file}", "--reference={file}", "--inputs={file}"], "float32"),
    ],
)
def test_one_sentence_and_status_2(run, file, arguments, sentence):
    status, _, err = run(*(argument.format(file=file) for argument in arguments))
    assert status == 2 and sentence in err and "Traceback" not in err
