"""Installs the requirements of emulation: QEMU and a C compiler with apt; Debian's Python and LiteRT for ARM in a folder.

    python -m benchmarks.arm.install [--folder=FOLDER] [--cycles]

For Debian 12 on x86-64; needs root if QEMU or the compiler is missing. FOLDER is $SHUFFLENET_TF_ARM, else
~/.cache/shufflenet_tf/arm, and takes 155 MB. A second call downloads nothing that is already installed. An interrupted call
leaves nothing incomplete, and the next call starts that part again. --cycles adds LLVM 19, whose core models give cycles.
"""

import argparse
import contextlib
import fcntl
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence

from benchmarks.arm import cycles
from benchmarks.arm.cpus import CPUS
from benchmarks.arm.emulate import HERE, PYTHON, counter_file, default_folder, installed_recipe, python, recipe, system_folder
from benchmarks.arm.errors import Unavailable

TIMEOUT = 900  # seconds per command
# Libraries that Python, NumPy and LiteRT load; they are only unpacked, not installed on this machine.
ARM_PACKAGES = ("libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libexpat1", "libffi8", "libssl3", "libbz2-1.0", "liblzma5")
ARM_PACKAGES += ("libuuid1", f"python{PYTHON}-minimal", f"libpython{PYTHON}-minimal", f"libpython{PYTHON}-stdlib")
_PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
_APT = ("-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=20", "-o", "Acquire::https::Timeout=20")


def install(folder: pathlib.Path, with_cycles: bool = False) -> None:
    """Installs the missing requirements.

    Raises:
      Unavailable: the installation is impossible here; the message says why, and what to do.
      OSError: the folder can't be written.
    """
    _check_machine()
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        _install_programs(with_cycles)
        if not counter_file(folder).exists():
            _compile(counter_file(folder))
        if installed_recipe(system_folder(folder)) != recipe():
            _make_system(folder)


def _check_machine() -> None:
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise Unavailable(f"Emulation needs Linux on x86-64; this is {sys.platform} on {platform.machine()}.")
    system = platform.freedesktop_os_release() if pathlib.Path("/etc/os-release").exists() else {}
    if (system.get("ID"), system.get("VERSION_ID")) != ("debian", "12"):
        name = system.get("PRETTY_NAME", "another system")
        raise Unavailable(f"Emulation needs Debian 12's packages; this is {name}: use a container of Debian 12.")


def _install_programs(with_cycles: bool) -> None:
    """Installs QEMU, the compiler and LLVM on the machine, if they are missing."""
    # Download size in MB of each package with its dependencies.
    missing = {} if all(map(shutil.which, ("qemu-aarch64", "qemu-x86_64"))) else {"qemu-user": 12}
    missing |= {} if shutil.which("gcc") and pathlib.Path("/usr/include/stdio.h").exists() else {"gcc": 34, "libc6-dev": 2}
    missing |= {f"llvm-{cycles.VERSION}": 44} if with_cycles and cycles.reason() else {}
    if not missing:
        return
    command = f"apt-get install --no-install-recommends {' '.join(missing)}"
    if os.geteuid():
        raise Unavailable(f"{', '.join(missing)} must be installed by root: {command}.")
    _say(
        f"Installing from Debian on this machine, with apt: {', '.join(missing)}, about {sum(missing.values())} MB to download."
    )
    _run(["apt-get", *_APT, "update", "-qq"], "apt can't fetch its lists")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    _run(["apt-get", *_APT, "-y", "-qq", *command.split()[1:]], f"apt can't install {' '.join(missing)}", env=environment)


def _compile(target: pathlib.Path) -> None:
    unfinished = target.with_suffix(".tmp")
    command = ["gcc", "-O2", "-shared", "-fPIC", "-o", str(unfinished), str(HERE / "counter.c")]
    _run(command, "The counting plugin can't be compiled")
    for old in target.parent.glob("counter-*.so"):
        old.unlink()
    unfinished.replace(target)


def _make_system(folder: pathlib.Path) -> None:
    """Builds Debian's file system for ARM with LiteRT and NumPy, tests it, and moves it into place once it is complete."""
    unfinished, system = folder / "system.tmp", system_folder(folder)
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir()
        downloads = unfinished / "downloads"
        _unpack_packages(downloads, unfinished)
        _unpack_wheels(downloads, unfinished / "site")
        shutil.rmtree(downloads)
        _say("Testing LiteRT on an emulated Cortex-A76 …")
        code = "import numpy, ai_edge_litert.interpreter"
        python(CPUS["a76"], unfinished, ["-c", code], write_bytecode=True)
        (unfinished / "recipe.json").write_text(json.dumps(recipe()), encoding="utf-8")
        shutil.rmtree(system, ignore_errors=True)
        unfinished.replace(system)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _unpack_packages(downloads: pathlib.Path, target: pathlib.Path) -> None:
    """Unpacks Debian's ARM packages; apt uses separate lists and a separate cache, so this machine's don't change."""
    for name in ("lists/partial", "cache/archives/partial", "debs"):
        (downloads / name).mkdir(parents=True)
    apt = ["apt-get", *_APT, "-qq", "-o", "APT::Architecture=arm64", "-o", "APT::Architectures=arm64"]
    apt += ["-o", f"Dir::State::lists={downloads / 'lists'}", "-o", f"Dir::Cache={downloads / 'cache'}"]
    apt += ["-o", "APT::Sandbox::User=root"]  # otherwise apt switches to a user who can't write here
    _say("Downloading the package lists for ARM from Debian, as configured for this machine's apt, about 9 MB.")
    _run([*apt, "update"], "apt can't fetch the package lists for ARM")
    why = "Debian's packages for ARM can't be downloaded; is there a network?"
    listed = _run([*apt, "download", "--print-uris", *ARM_PACKAGES], why)
    sizes = [int(line.split(" ")[2]) for line in listed.splitlines() if line.startswith("'")]
    _say(f"Downloading from Debian: {', '.join(ARM_PACKAGES)}, {sum(sizes) / 1e6:.0f} MB.")
    _run([*apt, "download", *ARM_PACKAGES], why, cwd=downloads / "debs")
    for package in sorted((downloads / "debs").glob("*.deb")):
        _run(["dpkg-deb", "--extract", str(package), str(target)], f"{package.name} can't be unpacked")


def _unpack_wheels(downloads: pathlib.Path, target: pathlib.Path) -> None:
    names = [f"{name}=={version}" for name, version in recipe().items() if name != "python"]
    _say(f"Downloading with pip from the Python package index: {' and '.join(names)} for ARM, about 30 MB.")
    command = [sys.executable, "-m", "pip", "download", "--quiet", f"--dest={downloads / 'wheels'}"]
    command += ["--only-binary=:all:", "--no-deps", "--implementation=cp", f"--python-version={PYTHON}"]
    command += [f"--abi={abi}" for abi in (f"cp{PYTHON.replace('.', '')}", "abi3", "none")]
    command += [f"--platform={name}" for name in _PLATFORMS]
    _run([*command, *names], "pip can't download LiteRT and NumPy for ARM; is there a network?")
    for wheel in sorted((downloads / "wheels").glob("*.whl")):
        with zipfile.ZipFile(wheel) as file:
            file.extractall(target)


@contextlib.contextmanager
def _locked(folder: pathlib.Path) -> Iterator[None]:
    """Makes a concurrent call wait for the first one."""
    with open(folder / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(command: Sequence[str], problem: str, **options) -> str:
    """Runs a command and returns what it prints.

    Raises:
      Unavailable: it failed; `problem` starts the message.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, **options)
    except FileNotFoundError:
        raise Unavailable(f"{problem} ({command[0]} isn't installed).") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{problem} (it took longer than {TIMEOUT} seconds).") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith(("E:", "ERROR:"))] or done.stderr.splitlines()
        raise Unavailable(f"{problem} ({lines[0].strip() if lines else f'status {done.returncode}'}).")
    return done.stdout


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", help="where to install; default: $SHUFFLENET_TF_ARM, else ~/.cache/shufflenet_tf/arm")
    parser.add_argument("--cycles", action="store_true", help=f"install LLVM {cycles.VERSION} as well, for modelled cycles")
    args = parser.parse_args(argv)
    folder, start = default_folder(args.folder), time.monotonic()
    try:
        install(folder, args.cycles)
    except (Unavailable, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; nothing incomplete was left behind.", file=sys.stderr)
        return 130
    print(f"Everything is installed in {folder} and on this machine ({time.monotonic() - start:.0f} s).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
