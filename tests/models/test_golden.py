"""Outputs of the original code of tensorpack, torchvision and megvii, for their own files and photos."""

import functools
import gzip

import numpy as np
import pytest

import shufflenet_tf as st
from shufflenet_tf import imagenet
from shufflenet_tf.errors import UserError
from shufflenet_tf.models.kernels import LEGACY_KERAS
from shufflenet_tf.weights import compare, published

pytestmark = pytest.mark.kernels

# File, the registered network, and how many parameters its authors count.
FILES = {
    "tensorpack/shufflenet_v1_0.5x_g3.npz": ("shufflenet_v1_0.5x_g3", 718_324),
    "tensorpack/shufflenet_v1_0.5x_g4.npz": ("shufflenet_v1_0.5x_g4", 778_592),
    "tensorpack/shufflenet_v1_0.5x_g8.npz": ("shufflenet_v1_0.5x_g8", 1_011_448),
    "tensorpack/shufflenet_v2_0.5x.npz": ("shufflenet_v2_0.5x", 1_366_792),
    "torchvision/shufflenet_v2_x0_5.pth.gz": ("shufflenet_v2_0.5x", 1_366_792),
    "torchvision/shufflenet_v2_x0_5.legacy.pth.gz": ("shufflenet_v2_0.5x", 1_366_792),
    "torchvision/shufflenet_v2_x1_0.pth.gz": ("shufflenet_v2_1.0x", 2_278_604),
    "megvii/shufflenetv1_0.5x_Group3.pth.tar": ("shufflenet_v1_0.5x_g3", 717_324),
    "megvii/shufflenetv1_0.5x_Group8.pth.tar": ("shufflenet_v1_0.5x_g8", 1_010_448),
    "megvii/shufflenet_v2_0.5x.random.pth.tar.gz": ("shufflenet_v2_0.5x", 1_365_792),
    "megvii/shufflenet_v2plus_small.random.pth.tar.gz": ("shufflenet_v2_plus_small", 5_137_116),
    "onnx_zoo/shufflenet_v2_1.0x_bn_fused.npz": ("shufflenet_v2_1.0x", 2_278_604),
}
REAL = [name for name in FILES if "Group" in name or "onnx" in name]  # trained on ImageNet
INDICES = [954, 950, 951, 953, 957, 948, 939, 945]  # of the eight photos


@pytest.fixture(scope="module")
def opened(shared, tmp_path_factory):
    """Returns a function from a name in FILES to the path of the unpacked file."""
    folder = tmp_path_factory.mktemp("golden")

    def path(name):
        file = shared / "golden" / name
        if file.suffix == ".gz":
            unpacked = folder / file.stem
            unpacked.write_bytes(gzip.decompress(file.read_bytes()))
            return unpacked
        return file

    return path


@pytest.fixture(scope="module")
def loaded(opened):
    """Returns a function from a name in FILES to the network that it is."""
    return functools.cache(lambda name: st.load(opened(name)))


def source(name: str) -> str:
    return name.split("/")[0].replace("onnx_zoo", "torchvision")


def reference(shared, name: str) -> tuple[dict, dict]:
    """Returns what the original computed, and what it was fed with."""
    stem = name.replace(".legacy", "").removesuffix(".gz").removesuffix(".npz").removesuffix(".tar").removesuffix(".pth")
    files = shared / "golden" / f"{stem}.io.npz", shared / "golden" / "inputs" / f"{source(name)}.npz"
    return tuple({key: value for key, value in np.load(file).items() if key != "files"} for file in files)


# Others of the same authors and family are like these. What a file holds is read without Keras, so that under the second
# generation it is enough to see one of each kind of unit and of each wiring.
FIRST = {
    "tensorpack/shufflenet_v1_0.5x_g3.npz",
    "tensorpack/shufflenet_v2_0.5x.npz",
    "torchvision/shufflenet_v2_x0_5.pth.gz",
    "megvii/shufflenet_v2_0.5x.random.pth.tar.gz",
    "megvii/shufflenet_v2plus_small.random.pth.tar.gz",
    *REAL,
}
FIRST_OF_LEGACY = {
    "tensorpack/shufflenet_v1_0.5x_g3.npz",
    "torchvision/shufflenet_v2_x0_5.pth.gz",
    "megvii/shufflenetv1_0.5x_Group8.pth.tar",
    "megvii/shufflenet_v2plus_small.random.pth.tar.gz",
}
SHORT = FIRST_OF_LEGACY if LEGACY_KERAS else FIRST


@pytest.mark.both_generations
@pytest.mark.parametrize("name", [n if n in SHORT else pytest.param(n, marks=pytest.mark.long) for n in FILES])
def test_equals_the_original(shared, loaded, name):
    network, parameters = FILES[name]
    model = loaded(name).model
    assert (model.name, st.complexity.parameters(model)) == (network, parameters)
    outputs, inputs = reference(shared, name)
    rows = compare.compare(model, outputs, inputs)
    compared = {row.what for row in rows if row.part == "modelling"}
    assert {"logits", "stage2", "stage3", "stage4"} <= compared and compared == outputs.keys(), "every output is compared"
    for row in rows:
        assert row.largest <= 1e-4 * row.scale if row.part == "modelling" else row.largest <= 2e-6, str(row)


@pytest.mark.parametrize("name", REAL)
def test_says_what_is_on_the_photos(shared, loaded, name):
    bundle = loaded(name)
    outputs, inputs = reference(shared, name)
    probabilities = bundle.classify(inputs[compare.PIXELS])
    assert bundle.labels == imagenet.labels()
    assert probabilities.argmax(-1).tolist() == INDICES
    np.testing.assert_array_equal(np.argsort(-probabilities)[:, :3], np.argsort(-outputs["logits"])[:, :3])


@pytest.mark.parametrize(
    ("name", "wiring"),
    [
        ("tensorpack/shufflenet_v2_0.5x.npz", "torchvision"),
        ("torchvision/shufflenet_v2_x0_5.pth.gz", "megvii"),
        (REAL[0], "tensorpack"),
        pytest.param("tensorpack/shufflenet_v2_0.5x.npz", "megvii", marks=pytest.mark.long),
        pytest.param("torchvision/shufflenet_v2_x0_5.pth.gz", "tensorpack", marks=pytest.mark.long),
        pytest.param(REAL[0], "torchvision", marks=pytest.mark.long),
    ],
)
def test_another_wiring_is_refused_or_differs(shared, opened, name, wiring):
    """By default the file decides; who insists on another wiring is told that it doesn't fit, or gets another network."""
    network, _ = FILES[name]
    try:
        model = st.create_model(network, weights=opened(name), wiring=wiring)
    except UserError as error:
        # Projections of other widths, or a bias more or less: the first tensor that differs is named.
        assert "stage2/block0/shortcut_conv" in str(error) or "linear/b" in str(error)
        unlike = published.read(opened(name)).wiring.to_config(), st.Wiring.of(wiring).to_config()
        assert any(unlike[0][key] != unlike[1][key] for key in ("projection", "classifier_bias"))
    else:
        outputs, inputs = reference(shared, name)
        row = next(row for row in compare.compare(model, outputs, inputs) if row.what == "logits")
        assert row.largest > 0.1 * row.scale


@pytest.mark.parametrize("wiring", [pytest.param("tensorpack", marks=pytest.mark.long), "torchvision"])
def test_shuffle_and_padding_alone_make_another_network(shared, opened, wiring):
    """The wirings of the others, but for the classifier's bias, which would give them away."""
    name = "megvii/shufflenetv1_0.5x_Group3.pth.tar"
    outputs, inputs = reference(shared, name)
    wiring = st.Wiring(**{**st.Wiring.of(wiring).to_config(), "classifier_bias": False})
    model = st.create_model("shufflenet_v1_0.5x_g3", weights=opened(name), wiring=wiring)
    row = next(row for row in compare.compare(model, outputs, inputs) if row.what == "logits")
    assert row.largest > 0.05 * row.scale
