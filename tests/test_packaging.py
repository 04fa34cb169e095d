"""What pip installs: the library alone, with what it imports, in versions that constraints.txt pins for every Python."""

import ast
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = pathlib.Path(__file__).resolve().parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
MODULES = {"absl-py": "absl", "pillow": "PIL"}  # where it isn't the distribution's name with underscores
# TensorFlow Datasets needs the first; TensorBoard shows what training writes; tf.keras is tf_keras on demand.
NOT_IMPORTED = {"importlib-resources", "tensorboard", "tf-keras"}


@pytest.fixture(scope="module")
def metadata(tmp_path_factory) -> tuple[list[str], dict[str, list[str]]]:
    """Builds the wheel as pip does; returns the names of its files, and its metadata."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("setup.py", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "shufflenet_tf", folder / "shufflenet_tf", ignore=shutil.ignore_patterns("__pycache__"))
    for other in ("benchmarks", "export", "tests"):
        (folder / other).mkdir()
        (folder / other / "__init__.py").touch()
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir=dist"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "."], cwd=folder, check=True)
    fields: dict[str, list[str]] = {}
    with zipfile.ZipFile(next((folder / "dist").glob("*.whl"))) as wheel:
        names = wheel.namelist()
        text = wheel.read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode()
    for line in text.partition("\n\n")[0].splitlines():
        key, _, value = line.partition(": ")
        fields.setdefault(key, []).append(value)
    return names, fields


@pytest.fixture(scope="module")
def required(metadata) -> dict[str, Requirement]:
    return {r.name.lower().replace("_", "-"): r for r in map(Requirement, metadata[1]["Requires-Dist"])}


def pins(python: str) -> dict[str, str]:
    """Returns the version of each package that constraints.txt gives to a Python."""
    result = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            if pin.marker is None or pin.marker.evaluate({"python_version": python}):
                assert pin.name not in result, f"constraints.txt has two versions of {pin.name} for Python {python}."
                result[pin.name] = str(pin.specifier).removeprefix("==")
    return result


def test_the_wheel_holds_the_whole_library_and_nothing_else(metadata):
    files = {name for name in metadata[0] if ".dist-info/" not in name}
    library = [*(ROOT / "shufflenet_tf").rglob("*.py"), ROOT / "shufflenet_tf" / "imagenet_classes.txt"]
    assert files == {path.relative_to(ROOT).as_posix() for path in library}


def test_the_version_is_the_librarys(metadata):
    library = (ROOT / "shufflenet_tf" / "__init__.py").read_text(encoding="utf-8")
    version = re.search(r'^__version__ = "(.+)"$', library, re.MULTILINE)[1]
    assert metadata[1]["Version"] == [version]
    assert f'version = "{version}"' in (ROOT / "MODULE.bazel").read_text(encoding="utf-8")


def test_every_import_is_required_and_every_requirement_imported(required):
    plain = {name for name, requirement in required.items() if requirement.marker is None}
    imported = set()
    for path in (*(ROOT / "shufflenet_tf").rglob("*.py"), ROOT / "train_main.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.partition(".")[0] for name in names}
    imported -= {*sys.stdlib_module_names, "shufflenet_tf"}
    imported -= {"ai_edge_litert"}  # of the extra "export": who loads a .tflite file without it is told
    assert imported == {MODULES.get(name, name.replace("-", "_")) for name in plain - NOT_IMPORTED}


@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_is_pinned_within_its_range(required, metadata, python):
    assert SpecifierSet(metadata[1]["Requires-Python"][0]).contains(python + ".0")
    versions = pins(python)
    for name, requirement in required.items():
        assert name in versions, f"Add {name} to constraints.txt."
        assert requirement.specifier.contains(versions[name]), f"{name} {versions[name]} is not {requirement.specifier}."


def test_constraints_name_no_place():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert not re.search(r"://|^-|@", text, re.MULTILINE)
