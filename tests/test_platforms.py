"""What constraints.txt pins can be installed on Linux (x86-64, ARM) and on Macs with Apple silicon, for every Python.

pip's package index is asked which files it has of each package, once; nothing is downloaded. Without an index: skipped.
A long test, as daily work does without a network.
"""

import concurrent.futures
import pathlib
import re
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from packaging import tags
from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

pytestmark = pytest.mark.long

ROOT = pathlib.Path(__file__).resolve().parents[1]
PINS = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
PYTHONS = [(3, 10), (3, 11), (3, 12), (3, 13)]
GLIBC = [f"manylinux_2_{minor}" for minor in range(28, 4, -1)] + ["manylinux2014", "manylinux2010", "manylinux1"]
PLATFORMS = {
    "linux x86_64": [f"{name}_x86_64" for name in GLIBC],
    "linux aarch64": [f"{name}_aarch64" for name in GLIBC],
    "darwin arm64": list(tags.mac_platforms((14, 0), "arm64")),
}
SOURCES_ONLY = {"promise"}  # plain Python, published without a wheel


def index() -> str:
    """The address that pip is configured with, or its own default."""

    def said(*arguments: str) -> str:
        done = subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True)
        return done.stdout

    configured = re.search(r"^\S*index-url='([^']+)'", said("config", "list"), re.M)
    return (configured or re.search(r"\(default\s+(\S+)\)", said("help", "download"))).group(1).rstrip("/")


@pytest.fixture(scope="module")
def files() -> dict[str, set[str]]:
    """The names of the files that the index has of each package."""
    address = index()

    def listed(name: str) -> set[str]:
        request = urllib.request.Request(
            f"{address}/{name}/", headers={"Accept": "application/vnd.pypi.simple.v1+json, text/html"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return set(re.findall(r"[\w.+-]+(?:\.whl|\.tar\.gz|\.zip)\b", answer.read().decode().replace("%2B", "+")))

    names = sorted({pin.name for pin in PINS})
    try:
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            listed(names[0])
            return dict(zip(names, pool.map(listed, names), strict=True))
    except (urllib.error.URLError, OSError) as error:
        pytest.skip(f"pip's package index can't be asked: {error}")


def has_wheel(names: set[str], version: str, supported: set[tags.Tag]) -> bool:
    for name in names:
        if name.endswith(".whl"):
            try:
                _, found, _, of = parse_wheel_filename(name)
            except InvalidWheelFilename:
                continue
            if str(found) == version and of & supported:
                return True
    return False


@pytest.mark.parametrize("python", PYTHONS, ids=lambda version: ".".join(map(str, version)))
@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_pin_has_a_wheel(files, platform, python):
    system, machine = platform.split()
    environment = {
        "python_version": "{}.{}".format(*python),
        "sys_platform": system,
        "platform_system": system.capitalize(),
        "platform_machine": machine,
    }
    platforms = PLATFORMS[platform]
    supported = {
        *tags.cpython_tags(python, platforms=platforms),
        *tags.compatible_tags(python, "cp{}{}".format(*python), platforms),
    }
    missing = []
    for pin in PINS:
        version = str(pin.specifier).removeprefix("==")
        if (pin.marker is None or pin.marker.evaluate(environment)) and not has_wheel(files[pin.name], version, supported):
            source = any(re.fullmatch(rf"{pin.name}-{version}\.(tar\.gz|zip)", name, re.I) for name in files[pin.name])
            if not (source and pin.name in SOURCES_ONLY):
                missing.append(str(pin))
    assert not missing, f"Pin other versions, or exempt {platform} by a marker."
