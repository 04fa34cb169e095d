"""What pip installs: the library and the export, with their imports, in versions that constraints.txt pins for every Python."""

import ast
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from photos import write_photos

ROOT = pathlib.Path(__file__).resolve().parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
MODULES = {"absl-py": "absl", "pillow": "PIL"}  # where it isn't the distribution's name with underscores
# TensorFlow Datasets needs the first; TensorBoard shows what training writes; tf.keras is tf_keras on demand.
NOT_IMPORTED = {"importlib-resources", "tensorboard", "tf-keras"}


PACKAGES = ("shufflenet_tf", "export")
# What a project outside of the checkout does, at toy size; prints where its modules come from.
USE = """
import sys

import shufflenet_tf as st

assert "tensorflow" not in sys.modules, "it waits until it is needed"
photos, photo = sys.argv[1:]
small = {"image_size": 32, "batch_size": 8, "steps": 2, "learning_rate": 0.001, "tensorboard": False, "saved_model": False}
trained = st.train(photos, network="shufflenet_v2_0.5x", output="run", **small)
assert trained.model.output_shape == (None, 3) and trained.labels == ("blue", "green", "red")

import export

small = {"kinds": ("int8",), "calibration_images": 4, "test_images": 4, "ptq": "minmax", "runs": 1}
export.export_files("run", **small)

from export.optimize import optimize

with open("run/export/model_int8.tflite", "rb") as file:
    content = file.read()
assert optimize(content).model[4:8] == b"TFL3"
for model in (trained, "run", "run/export/model_int8.tflite"):
    (classes,) = st.classify_photos(model, [photo], top=3)
    assert {c.label for c in classes} == {"blue", "green", "red"} and abs(sum(c.probability for c in classes) - 1) < 0.02
print(st.__file__, export.__file__, *sys.path, sep="\\n")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> pathlib.Path:
    """Builds the wheel as pip does, of a copy of the checkout with other folders in it too."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("setup.py", "pyproject.toml", "LICENSE", "train_main.py"):
        shutil.copy(ROOT / name, folder)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for other in ("benchmarks", "papers", "tests"):
        (folder / other).mkdir()
        (folder / other / "__init__.py").touch()
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir=dist"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "."], cwd=folder, check=True)
    return next((folder / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def metadata(wheel) -> tuple[list[str], dict[str, list[str]]]:
    """Returns the names of the wheel's files, and its metadata."""
    fields: dict[str, list[str]] = {}
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        text = archive.read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode()
    for line in text.partition("\n\n")[0].splitlines():
        key, _, value = line.partition(": ")
        fields.setdefault(key, []).append(value)
    return names, fields


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> pathlib.Path:
    """Returns the commands' folder of a fresh virtual environment with the wheel, which sees the packages of this one."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    commands = folder / "bin"
    python = commands / "python"
    options = ["--quiet", "--no-deps", "--no-index"]
    subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", *options, wheel], check=True)
    purelib = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], check=True, capture_output=True, text=True
    )
    # A path file of that folder isn't read, so that an editable installation there is not seen.
    (pathlib.Path(purelib.stdout.strip()) / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return commands


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
    library = [path for name in PACKAGES for path in (ROOT / name).rglob("*.py")]
    library += [*(ROOT / "export/optimize/targets").glob("*.json"), ROOT / "shufflenet_tf/imagenet_classes.txt"]
    library.append(ROOT / "train_main.py")
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
    imported -= {*sys.stdlib_module_names, "shufflenet_tf", "export"}
    # Of the extras "export" and "hub": who loads a .tflite file, or a shared model, without them is told.
    imported -= {"ai_edge_litert", "huggingface_hub"}
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


@pytest.mark.long
def test_the_whole_way_from_python_outside_of_the_checkout(installed, tmp_path):
    photos = write_photos(tmp_path / "photos")
    photo = next((photos / "test" / "red").iterdir())
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "TF_CPP_MIN_LOG_LEVEL")}
    command = [installed / "python", "-c", USE, photos, photo]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not [line for line in done.stdout.splitlines() if line.startswith(str(ROOT)) and ".venv" not in line]
    assert str(installed.parent) in done.stdout


COMMANDS = ["optimize", "calibrate", "classify"]
# These load TensorFlow too, as does classify.
COMMANDS += [
    pytest.param(name, marks=pytest.mark.long) for name in ("train", "export", "qat", "verify", "benchmark", "card", "audit")
]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_installed(installed, tmp_path, command):
    done = subprocess.run([installed / f"shufflenet-{command}", "--help"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and "\n  --" in done.stdout and done.stderr == "", done.stderr
