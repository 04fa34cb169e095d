"""Fixtures that every test may use, and the seeds that make a run repeatable."""

import os
import pathlib
import platform
import random
import sys

import hypothesis
import numpy as np
import pytest
from amount import LIMITED

ROOT = pathlib.Path(__file__).resolve().parents[1]

# What the programs choose for themselves (shufflenet_tf.startup.choose_kernels), as most of what is tested here is theirs.
if platform.machine().lower() in ("x86_64", "amd64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# Continuous integration tries the same examples every time; everyone else looks for new ones.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI") == "true":
    hypothesis.settings.load_profile("ci")


def pytest_collection_modifyitems(items) -> None:
    for item in items:
        if LIMITED and "bfloat16" in item.name:
            item.add_marker(pytest.mark.skip(reason="oneDNN's bfloat16 is switched off by ONEDNN_MAX_CPU_ISA"))


def _seed() -> None:
    """Seeds what initial weights are drawn from, which in Keras 3 is Python's own generator."""
    random.seed(0)
    np.random.seed(0)
    if (legacy := sys.modules.get("tf_keras.src.backend")) is not None:
        legacy._SEED_GENERATOR.generator = random.Random(0)


@pytest.fixture(autouse=True, scope="module")
def _seeded_modules() -> None:
    """Modules' fixtures make the same random networks in every run.

    TensorFlow's own seed is set for modules only: with it, TensorFlow forgets every function that it has compiled.
    """
    if "tensorflow" in sys.modules:  # a test without it need not wait for it
        sys.modules["tensorflow"].random.set_seed(0)
    _seed()


@pytest.fixture(autouse=True)
def _seeded(_seeded_modules) -> None:
    """So do tests, in whatever order they are run."""
    _seed()


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder of reference weights and photos beside the checkout; skips the test where it is not there."""
    folder = ROOT.parent / "shared"
    if not (folder / "golden").is_dir():
        pytest.skip(f"needs the golden fixtures in {folder}")
    return folder
