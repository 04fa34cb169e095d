"""Fixtures that every test may use."""

import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder of reference weights and photos beside the checkout; skips the test where it is not there."""
    folder = ROOT.parent / "shared"
    if not (folder / "golden").is_dir():
        pytest.skip(f"needs the golden fixtures in {folder}")
    return folder
