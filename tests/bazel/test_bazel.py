"""Bazel itself reads BUILD, builds every target and runs programs that see only their declared dependencies.

Nothing is downloaded: rules_python.bzl here stands in for rules_python, and @pypi is empty packages, whose content the
Python that runs the tests has. That works with Bazel 4, which Debian packages (bazel-bootstrap) and which still reads
WORKSPACE files; newer ones build the real thing with `bazel build //...`.
"""

import ast
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BAZEL = shutil.which("bazel-4")
EMPTY = 'filegroup(name = "{}", visibility = ["//visibility:public"])\n'

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not BAZEL, reason="needs Bazel 4: apt-get install bazel-bootstrap"),
]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> pathlib.Path:
    """A copy of the checkout beside the repositories that it, and Bazel for any test, depends on."""
    folder = tmp_path_factory.mktemp("bazel")
    ignore = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "runs", "build", "dist", "bazel-*", "android_demo")
    shutil.copytree(ROOT, folder / "main", ignore=ignore)
    repositories = {name: folder / name for name in ("rules_python", "pypi", "remote_coverage_tools")}
    for name, path in repositories.items():
        path.mkdir()
        (path / "WORKSPACE").write_text(f'workspace(name = "{name}")\n')
    (folder / "rules_python" / "python").mkdir()
    (folder / "rules_python" / "python" / "BUILD").touch()
    shutil.copy(ROOT / "tests/bazel/rules_python.bzl", folder / "rules_python" / "python" / "defs.bzl")
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            package = re.sub(r"[-.]", "_", line.partition("==")[0])
            (folder / "pypi" / package).mkdir(exist_ok=True)
            (folder / "pypi" / package / "BUILD").write_text(EMPTY.format(package))
    (folder / "remote_coverage_tools" / "BUILD").write_text(EMPTY.format("coverage_report_generator"))
    (folder / "main" / "WORKSPACE").write_text(
        'workspace(name = "shufflenet_tf")\n'
        + "".join(f'local_repository(name = "{name}", path = "{path}")\n' for name, path in repositories.items())
    )
    return folder


def bazel(workspace: pathlib.Path, *command: str) -> str:
    """Returns what a Bazel command prints; it leaves no server behind."""
    startup = [BAZEL, "--batch", f"--output_user_root={workspace / 'output'}"]
    done = subprocess.run([*startup, *command], cwd=workspace / "main", capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_bazel_lists_every_target(workspace):
    found = bazel(workspace, "query", "kind('py_.*', //...)").split()
    assert {"//:shufflenet_tf", "//:train_main", "//:tests/bazel/test_bazel"} <= set(found)


def test_bazel_builds_everything_and_the_programs_run(workspace):
    bazel(workspace, "build", "--jobs=2", "//...")
    environment = {"PYTHON": sys.executable, "TF_CPP_MIN_LOG_LEVEL": "2"}
    commands = {
        "train_main.sh --model=nonsense": "train_main.py: There is no model 'nonsense'",
        "tests/test_build.sh -q --collect-only": "test_every_import_is_declared",
    }
    for command, expected in commands.items():
        program, *arguments = command.split()
        script = workspace / "main" / "bazel-bin" / program
        done = subprocess.run([script, *arguments], env=environment, capture_output=True, text=True, timeout=120)
        assert expected in done.stdout + done.stderr


def test_module_file_pins_the_python_of_the_constraints():
    text = (ROOT / "MODULE.bazel").read_text(encoding="utf-8")
    assert 'requirements_lock = "//:constraints.txt"' in text
    ast.parse(text)
