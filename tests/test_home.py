"""Paths with ~, and processes of users that the system doesn't know."""

import os
import pathlib

import pytest

from export.optimize.targets import host
from shufflenet_tf import home, keras_settings
from shufflenet_tf.weights import download


@pytest.fixture
def homeless(monkeypatch):
    """As `docker run --user 12345` makes a process: no HOME, and no entry in the list of users."""
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.delenv("HOME", raising=False)
    for name in ("KERAS_HOME", "XDG_CACHE_HOME", "SHUFFLENET_TF_CACHE"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_home_the_temporary_folder_serves(homeless, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert home.folder() == tmp_path
    assert keras_settings.settings_file() == tmp_path / ".keras" / "keras.json"
    assert download.cache_folder() == tmp_path / ".cache" / "shufflenet_tf"
    assert host.cache_path().is_relative_to(tmp_path / ".cache")


def test_a_tilde_is_the_home_folder_or_a_part_of_the_name(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert home.expand("~/photos") == pathlib.Path("/home/someone/photos")
    assert home.expand("~no-such-user-here/photos") == pathlib.Path("~no-such-user-here/photos")
