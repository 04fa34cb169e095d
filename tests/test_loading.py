"""Trained models load in a fresh process, and SavedModels without any of this code."""

import io
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from qat_networks import few_units

import shufflenet_tf as st
from shufflenet_tf import loading
from shufflenet_tf.data import photos

LABELS = ["ant", "bee", "cat"]


@pytest.fixture(scope="module", autouse=True)
def shallow():
    with pytest.MonkeyPatch.context() as patch:
        few_units(patch)
        yield


@pytest.fixture(scope="module")
def model():
    result = st.create_model("shufflenet_v2_0.5x", input_shape=(64, 48, 3), classes=3, labels=LABELS, preprocessing="megvii")
    for variable in result.weights:  # away from the start, so that nothing can be right by chance
        noise = np.random.default_rng(0).uniform(0.5, 1.5, variable.shape)
        variable.assign(np.asarray(variable) * noise.astype(np.float32))
    return result


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(0).integers(0, 256, (2, 64, 48, 3), np.uint8)


# First without our code, then with it; how deep the networks are isn't said in the file.
FRESH = """
import sys, numpy as np, tensorflow as tf

folder = sys.argv[1]
loaded = tf.saved_model.load(folder + '/saved_model')
result = loaded.signatures['serving_default'](images=tf.constant(np.load(folder + '/x.npy')))

def plain(result):
    return {k: v.numpy().astype('U' if v.dtype == tf.string else 'f') for k, v in result.items()}

np.savez(folder + '/images.npz', **plain(result))
files = tf.stack([tf.io.read_file(folder + name) for name in ('/photo.png', '/photo.jpg')])
result = loaded.signatures['encoded'](encoded=files)
np.savez(folder + '/encoded.npz', **plain(result))
data = tf.data.Dataset.from_tensors(files).map(lambda x: loaded.signatures['encoded'](encoded=x))
assert np.allclose(next(iter(data))['probabilities'], result['probabilities'], atol=1e-6)
assert not [name for name in sys.modules if name.startswith('shufflenet_tf')]

import shufflenet_tf
from shufflenet_tf.models import v2

v2.REPEATS = (2, 1, 1)
model = tf.keras.models.load_model(folder + '/model.keras')
np.save(folder + '/y.npy', model(np.load(folder + '/normalized.npy')).numpy())
"""


@pytest.fixture(scope="module")
def fresh(model, photo, tmp_path_factory):
    """Returns a folder with a SavedModel, a model.keras, photos, and what a process of its own computed."""
    folder = tmp_path_factory.mktemp("fresh")
    model.save(folder / "model.keras")
    st.save_saved_model(model, folder / "saved_model")
    np.save(folder / "x.npy", photo)
    np.save(folder / "normalized.npy", model.preprocessing.normalize(photo))
    Image.fromarray(photo[0]).save(folder / "photo.png")
    Image.fromarray(np.tile(photo[1], (3, 3, 1))).save(folder / "photo.jpg")
    done = subprocess.run([sys.executable, "-c", FRESH, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_keras_load_model_in_a_fresh_process(model, fresh):
    # Not to the last bit: a user's own process chooses its kernels and threads.
    np.testing.assert_allclose(np.load(fresh / "y.npy"), model(np.load(fresh / "normalized.npy")), rtol=1e-5)


def test_load_gives_model_labels_and_preprocessing(model, tmp_path):
    model.save(tmp_path / "model.keras")
    for path in (tmp_path, tmp_path / "model.keras"):
        bundle = st.load(path)
        assert bundle.labels == tuple(LABELS) and bundle.preprocessing == st.Preprocessing.of("megvii")
        np.testing.assert_array_equal(bundle.model.get_weights()[0], model.get_weights()[0])


def test_saved_model_without_our_code(model, photo, fresh):
    expected = model(model.preprocessing.normalize(photo)).numpy()
    images = np.load(fresh / "images.npz")
    np.testing.assert_allclose(images["probabilities"], expected, rtol=1e-4, atol=1e-6)
    assert images["label"].tolist() == [LABELS[i] for i in expected.argmax(-1)]
    encoded = np.load(fresh / "encoded.npz")["probabilities"]
    files = [tf.io.read_file(str(fresh / name)) for name in ("photo.png", "photo.jpg")]
    pixels = [
        model.preprocessing.resize_and_crop(tf.io.decode_image(file, expand_animations=False), (64, 48)) for file in files
    ]
    np.testing.assert_allclose(encoded, model(model.preprocessing.normalize(tf.stack(pixels))), rtol=2e-2, atol=1e-3)


def test_the_encoded_signature_sees_what_classify_sees(model, tmp_path):
    serving, size = loading._Serving(model), model.input_shape[1:3]
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 4), np.uint8)
    contents, expected = [], []
    for orientation in range(1, 9):
        for mode, suffix in (("RGB", "jpg"), ("L", "jpg"), ("CMYK", "jpg"), ("RGBA", "png"), ("LA", "png"), ("P", "png")):
            exif = Image.Exif()
            exif[0x0112] = orientation
            path = tmp_path / f"{orientation}{mode}.{suffix}"
            Image.fromarray(pixels).convert("RGB" if suffix == "jpg" else "RGBA").convert(mode).save(path, exif=exif)
            contents.append(path.read_bytes())
            expected.append(photos.read(path, model.preprocessing, size))
    actual = serving.encoded(tf.constant(contents))["probabilities"].numpy()
    np.testing.assert_allclose(actual, serving.images(np.stack(expected))["probabilities"], rtol=1e-5, atol=1e-7)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Convert it to JPEG or PNG"):
        serving.encoded(tf.constant([b"GIF89a" + bytes(99)]))


def test_a_saved_model_needs_a_size(tmp_path):
    with pytest.raises(st.UserError, match="build it with an input_shape"):
        st.save_saved_model(st.ShuffleNetV2((None, None, 3), alpha=0.5), tmp_path / "saved_model")
    assert not list(tmp_path.iterdir())


def _archive(version: int) -> bytes:
    """A .keras file without a network that asks for a version of zip, times ten."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("config.json", "{}")
    data = bytearray(content.getvalue())
    data[data.rindex(b"PK\1\2") + 6] = version
    return bytes(data)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x05\x06" + bytes(18), _archive(20), _archive(64)])
def test_files_that_are_no_models(tmp_path, content):
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    with pytest.raises(st.UserError, match="can't be loaded as a Keras model"):
        st.load(path)
    with pytest.raises(st.UserError, match="There is no model at"):
        st.load(tmp_path / "missing")


def test_an_archive_without_an_ending_that_cannot_be_read(tmp_path):
    (tmp_path / "model").write_bytes(_archive(64))
    with pytest.raises(st.UserError, match=r"zip file version 6\.4"):
        st.load(tmp_path / "model")


def test_a_model_that_is_not_ours(tmp_path):
    inputs = tf.keras.Input((4,))
    tf.keras.Model(inputs, tf.keras.layers.Dense(2)(inputs)).save(tmp_path / "dense.keras")
    with pytest.raises(st.UserError, match="has no preprocessing"):
        st.load(tmp_path / "dense.keras")
