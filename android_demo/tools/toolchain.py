"""Locates the programs and class files for the build: Java, Maven and its artifacts, aapt2."""

import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

DEMO = Path(__file__).resolve().parents[1]
_CLASS_PATH = DEMO / "app/target"
# Resources are linked against an SDK's android.jar, or this file of Debian's and Ubuntu's android-framework-res.
_DEBIAN_FRAMEWORK = Path("/usr/share/android-framework-res/framework-res.apk")
_PROGRAMS = {
    "java": "JDK 17 (Debian, Ubuntu: apt-get install openjdk-17-jdk-headless)",
    "javac": "JDK 17 (Debian, Ubuntu: apt-get install openjdk-17-jdk-headless)",
    "mvn": "Maven (Debian, Ubuntu: apt-get install maven)",
    "aapt2": "aapt2 (Debian, Ubuntu: apt-get install aapt android-framework-res; or an Android SDK's build-tools in PATH)",
}


class BuildError(Exception):
    """The build failed; the message is a sentence or a tool's output."""


class MissingTool(BuildError):
    """A program is not installed or a repository is unreachable: the build can't run here."""


def run(*command: str | Path, cwd: Path = DEMO) -> str:
    """Runs a program and returns its output.

    Raises:
      BuildError: it failed; with its output.
    """
    # Maven runs for seconds: Java's optimizing compiler would cost more than it saves.
    environment = {"MAVEN_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC", **os.environ}
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    result = subprocess.run([str(part) for part in command], cwd=cwd, env=environment, **output)
    if result.returncode:
        raise BuildError(f"{Path(str(command[0])).name} failed:\n{result.stdout.strip()}")
    return result.stdout


def require_programs(*names: str) -> None:
    """Checks that these programs are installed; without names: all of them, and the framework's resources.

    Raises:
      MissingTool: one is missing; the message says how to install it.
    """
    for name in names or _PROGRAMS:
        if not shutil.which(name):
            raise MissingTool(f"{name} is missing: install {_PROGRAMS[name]}.")
    if not names:
        framework()


def framework() -> Path:
    """Returns the framework's resources: of the Android SDK's newest platform, or else Debian's.

    Raises:
      MissingTool: there are none.
    """
    home = os.environ.get("ANDROID_HOME")
    platforms = sorted(Path(home).glob("platforms/android-*/android.jar"), key=_platform) if home else []
    resources = platforms[-1] if platforms else _DEBIAN_FRAMEWORK
    if not resources.exists():
        raise MissingTool("The framework's resources are missing: apt-get install android-framework-res, or set ANDROID_HOME.")
    return resources


def _platform(jar: Path) -> float:
    number = re.search(r"android-(\d+(?:\.\d+)?)", str(jar))
    return float(number[1]) if number else 0


def versions() -> dict[str, str]:
    """Returns the version catalog's [versions], by name."""
    return dict(re.findall(r'^(\w+) = "([^"]+)"$', (DEMO / "gradle/libs.versions.toml").read_text(), re.MULTILINE))


def build_core(test: bool = True) -> None:
    """Compiles core if it changed, and tests it.

    Raises:
      MissingTool: Maven's repositories are unreachable.
      BuildError: core doesn't compile, or a test fails.
    """
    sources = [DEMO / "pom.xml", DEMO / "core/pom.xml", *(DEMO / "core/src/main").rglob("*.kt")]
    if test or not _newer(list((DEMO / "core/target/classes").rglob("*.class")), sources):
        _maven("-pl", "core", "test" if test else "compile")


def find_files(*profiles: str) -> None:
    """Lets Maven download the app's dependencies and list them for `class_path`; later runs need no network.

    Raises:
      MissingTool: Maven's repositories are unreachable.
    """
    lists = [_CLASS_PATH / name for name in ("classpath", *(["test-classpath"] if profiles else []))]
    current = _newer(lists, [DEMO / "pom.xml", DEMO / "app/pom.xml"])
    if not current or not all(path.exists() for file in lists for path in class_path(file.name)):
        _maven("-f", "app/pom.xml", *profiles, "package")


def _newer(outputs: list[Path], sources: list[Path]) -> bool:
    exist = bool(outputs) and all(path.exists() for path in outputs)
    return exist and min(path.stat().st_mtime for path in outputs) > max(path.stat().st_mtime for path in sources)


def _maven(*arguments: str) -> None:
    try:
        run("mvn", "-q", "-B", *arguments)
    except BuildError as error:
        if re.search(r"Could not (transfer|resolve|find artifact)|Unknown host|Network is unreachable", str(error)):
            raise MissingTool(f"Maven Central or Google's Maven repository is unreachable, or lacks a file.\n{error}") from None
        raise


def class_path(name: str = "classpath") -> list[Path]:
    """Returns the files that `find_files` listed, in order; "test-classpath": those of the profile robolectric."""
    return [Path(part) for part in (_CLASS_PATH / name).read_text().strip().split(os.pathsep)]


def unpack(archives: list[Path], folder: Path) -> list[Path]:
    """Unpacks each .aar file into a folder of its name; returns the folders."""
    folders = []
    for archive in archives:
        target = folder / archive.stem
        with zipfile.ZipFile(archive) as content:
            content.extractall(target)
        folders.append(target)
    return folders
