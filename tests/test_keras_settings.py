"""Keras's settings of other projects: what can't be chosen here is named, with the file that says so."""

import json

import pytest
import tensorflow as tf

import shufflenet_tf as st
from shufflenet_tf import keras_settings
from shufflenet_tf.errors import UserError

pytestmark = pytest.mark.both_generations
SOUND = {"floatx": "float32", "epsilon": 1e-07, "backend": "tensorflow", "image_data_format": "channels_last"}


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Writes a keras.json of SOUND with changes."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    for name in ("KERAS_BACKEND", "TF_USE_LEGACY_KERAS"):
        monkeypatch.delenv(name, raising=False)
    return lambda **changes: (tmp_path / "keras.json").write_text(json.dumps(SOUND | changes))


@pytest.mark.parametrize("backend", ["jax", "torch", "numpy"])
def test_another_backend_is_refused_in_a_library(settings, backend, monkeypatch):
    settings(backend=backend)
    with pytest.raises(
        UserError, match=rf"backend is {backend}, but the networks need tensorflow: change backend in .*keras\.json"
    ):
        keras_settings.check_before_loading(False)
    settings()
    keras_settings.check_before_loading(False)
    monkeypatch.setenv("KERAS_BACKEND", backend)
    with pytest.raises(UserError, match="KERAS_BACKEND=tensorflow"):
        keras_settings.check_before_loading(False)


def test_values_that_keras_does_not_know_end_a_program(settings, capsys):
    settings(floatx="float8")
    with pytest.raises(SystemExit) as ended:
        keras_settings.check_before_loading(True)
    assert ended.value.code == 2
    assert "keras.json has floatx: 'float8', which Keras doesn't know: write 'float32' there." in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "[]", "{", '{"floatx": "float16"}'])
def test_what_keras_passes_over_is_passed_over(settings, tmp_path, content):
    settings()
    (tmp_path / "keras.json").write_text(content)
    keras_settings.check_before_loading(True)


@pytest.mark.parametrize(
    ("name", "value"), [("image_data_format", "channels_first"), ("floatx", "float16"), ("floatx", "float64")]
)
def test_a_network_says_which_setting_is_wrong_and_programs_choose_it(name, value):
    change = getattr(tf.keras.backend, f"set_{name}")
    try:
        change(value)
        with pytest.raises(UserError, match=f"Keras's {name} is {value}, but the networks need"):
            st.create_model("shufflenet_v2_0.5x", classes=2, input_shape=(32, 32, 3))
        keras_settings.choose()
        keras_settings.check()
    finally:
        change(SOUND[name])
