"""Runs guest.py on this machine, or under QEMU as another processor with the counting plugin."""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.arm import blocks
from benchmarks.arm.blocks import Counted
from benchmarks.arm.cpus import CPUS, NATIVE, Cpu, make_root
from benchmarks.arm.cpus import cpu as cpu_named
from benchmarks.arm.errors import Unavailable

HERE = pathlib.Path(__file__).resolve().parent
PYTHON = "3.11"  # Debian 12's version for ARM
TIMEOUT = 1800  # seconds for all files of a run
_INSTALL = "run `python -m benchmarks.arm.install`"
_NOISE = ("warning: TCG doesn't support", "INFO: ", "WARNING: ")


def default_folder(folder: str | os.PathLike | None = None) -> pathlib.Path:
    """Returns the installation folder: `folder`, else $SHUFFLENET_TF_ARM, else a folder in the user's cache."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return pathlib.Path(folder or os.environ.get("SHUFFLENET_TF_ARM") or cache / "shufflenet_tf/arm").expanduser().absolute()


def system_folder(folder: pathlib.Path) -> pathlib.Path:
    """Returns the folder of Debian's files for ARM; site/ holds LiteRT and NumPy, and recipe.json the versions."""
    return folder / "system"


def counter_file(folder: pathlib.Path) -> pathlib.Path:
    """Returns the path of the plugin compiled from this counter.c."""
    return folder / f"counter-{hashlib.sha256((HERE / 'counter.c').read_bytes()).hexdigest()[:12]}.so"


def recipe() -> dict[str, str]:
    """Returns the required versions of the ARM system: LiteRT and NumPy as in this environment."""
    return {"python": PYTHON} | {name: importlib.metadata.version(name) for name in ("ai-edge-litert", "numpy")}


def installed_recipe(system: pathlib.Path) -> dict[str, str]:
    """Returns the versions of an ARM system; {}: there is none."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads((system / "recipe.json").read_text(encoding="utf-8"))
    return {}


def available(cpu: str | None = None, folder: str | os.PathLike | None = None) -> str | None:
    """Returns, in one sentence, why a processor can't be emulated here; None: it can. Installs nothing.

    Args:
      cpu: name of the processor; None: all of them.
      folder: installation folder of `install`; None: the default.
    """
    folder, chosen = default_folder(folder), [cpu_named(cpu)] if cpu else list(CPUS.values())
    if all(c == NATIVE for c in chosen):
        return None
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return f"Emulation needs Linux on x86-64; this is {sys.platform} on {platform.machine()}."
    for machine in sorted({c.machine for c in chosen}):
        if not shutil.which(f"qemu-{machine}"):
            return f"qemu-{machine} isn't installed: {_INSTALL}."
    if not counter_file(folder).exists():
        return f"There is no counting plugin of this version in {folder}: {_INSTALL}."
    if any(c.machine == "aarch64" for c in chosen) and (present := installed_recipe(system_folder(folder))) != recipe():
        state = (
            f"has other versions ({_versions(present)}) than this environment ({_versions(recipe())})"
            if present
            else "is empty"
        )
        return f"{system_folder(folder)} {state}: {_INSTALL}."
    return None


def _versions(recipe: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in recipe.items())


def run(
    paths: Sequence[pathlib.Path], cpu: Cpu, inputs: int = 1, folder: str | os.PathLike | None = None
) -> tuple[list[Counted], list[list[np.ndarray]]]:
    """Runs files on a processor; returns the counts of one inference of each ([] natively), and the outputs of each.

    Raises:
      Unavailable: a requirement isn't installed, or LiteRT can't run a file there.
    """
    folder = default_folder(folder)
    if missing := available(cpu.name, folder):
        raise Unavailable(missing)
    for path in paths:
        if not path.is_file():
            raise Unavailable(f"There is no file {path}.")
    with tempfile.TemporaryDirectory(prefix="arm_") as name:
        scratch = pathlib.Path(name)
        arguments = [str(HERE / "guest.py"), str(scratch / "outputs.npz"), str(inputs), *(str(p.absolute()) for p in paths)]
        python(cpu, system_folder(folder), arguments, counter_file(folder), scratch / "counts.txt")
        with np.load(scratch / "outputs.npz") as file:
            arrays = {tuple(map(int, key.split("."))): file[key] for key in file}
        counted = blocks.read(scratch / "counts.txt") if cpu.emulated else {}
    outputs = [[arrays[key] for key in sorted(arrays) if key[0] == i] for i in range(len(paths))]
    return [counted[i + 1] for i in range(len(paths))] if cpu.emulated else [], outputs


def python(
    cpu: Cpu,
    system: pathlib.Path,
    arguments: Sequence[str],
    counter: pathlib.Path | None = None,
    counts: pathlib.Path | None = None,
    write_bytecode: bool = False,
) -> None:
    """Runs a Python program on a processor, with Debian's Python for ARM, else with this one.

    Args:
      cpu: the processor.
      system: Debian's files for ARM.
      arguments: arguments of Python.
      counter: the plugin; None: nothing is counted.
      counts: output file of the plugin.
      write_bytecode: whether Python may save bytecode in `system`.

    Raises:
      Unavailable: the program failed; the message says why.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment |= {"PYTHONHASHSEED": "0", "PYTHONSAFEPATH": "1", "PYTHONNOUSERSITE": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment |= {} if write_bytecode else {"PYTHONDONTWRITEBYTECODE": "1"}
    with _emulator(cpu, system) as command:
        if counter and cpu.emulated:
            command += ["-plugin", f"{counter},out={counts}", "-d", "plugin"]
        if cpu.machine == "aarch64":
            environment["PYTHONPATH"] = str(system / "site")
            command += [str(system / f"usr/bin/python{PYTHON}")]
        else:
            command += [sys.executable]
        try:
            done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"On {cpu.title} it took longer than {TIMEOUT} seconds: give fewer or smaller files.") from None
    if done.returncode:
        raise Unavailable(f"On {cpu.title} it failed: {_cause(done)}")


@contextlib.contextmanager
def _emulator(cpu: Cpu, system: pathlib.Path) -> Iterator[list[str]]:
    """Yields the start of a command: QEMU with its options, or nothing."""
    if not cpu.emulated:
        yield []
        return
    command = [f"qemu-{cpu.machine}", "-cpu", cpu.emulated]
    if cpu.machine != "aarch64":
        yield command
        return
    with tempfile.TemporaryDirectory(prefix="arm_root_") as root:
        make_root(cpu, system, pathlib.Path(root))
        yield [*command, "-L", root]


def _cause(done: subprocess.CompletedProcess) -> str:
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip() and not any(n in line for n in _NOISE)]
    if done.returncode < 0:
        lines.append(f"killed by {signal.Signals(-done.returncode).name}")
    return lines[-1] if lines else f"status {done.returncode}"
