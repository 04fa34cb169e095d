"""The emulated processors: QEMU's model of each, the description that LiteRT reads, and LLVM's timing model."""

import dataclasses
import pathlib

from benchmarks.arm.errors import Unavailable

_ARMV8_0 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
_ARMV8_2 = f"{_ARMV8_0} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"
_ARMV9_0 = f"{_ARMV8_2} i8mm bf16 flagm ssbs jscvt fcma"


@dataclasses.dataclass(frozen=True)
class Cpu:
    """A processor that an inference can run on.

    Attributes:
      name: name on the command line.
      title: name in tables.
      machine: "aarch64" or "x86_64".
      emulated: QEMU's -cpu; "" is this machine's processor, without QEMU.
      part: ARM's part number of the core, by which XNNPACK chooses its kernels.
      features: ARM's features, as Linux lists them.
      model: LLVM's name for the timing model of the core; "": none.
      dispatch: instructions that the core decodes per cycle, if LLVM's model assumes more; 0: LLVM's value.
    """

    name: str
    title: str
    machine: str
    emulated: str
    part: int = 0
    features: str = ""
    model: str = ""
    dispatch: int = 0


# QEMU 7.2 has no A55 and no A710. An A55 has the A76's instructions. "max" has i8mm; without SVE, SME and large addresses it
# represents the A710, whose SVE LiteRT's kernels don't use. LLVM models the A76 and the A710 by their server versions.
CPUS = {
    cpu.name: cpu
    for cpu in (
        Cpu("a53", "Cortex-A53", "aarch64", "cortex-a53", 0xD03, _ARMV8_0, "cortex-a53"),
        Cpu("a55", "Cortex-A55", "aarch64", "cortex-a76", 0xD05, _ARMV8_2, "cortex-a55"),
        Cpu("a72", "Cortex-A72", "aarch64", "cortex-a72", 0xD08, _ARMV8_0, "cortex-a72", 3),
        Cpu("a76", "Cortex-A76", "aarch64", "cortex-a76", 0xD0B, _ARMV8_2, "neoverse-n1", 4),
        Cpu("a710", "Cortex-A710", "aarch64", "max,sve=off,sme=off,lpa2=off", 0xD47, _ARMV9_0, "neoverse-n2", 5),
        Cpu("haswell", "Haswell (AVX2)", "x86_64", "Haswell"),
        Cpu("nehalem", "Nehalem (SSE4.2)", "x86_64", "Nehalem"),
    )
}
NATIVE = Cpu("native", "this machine", "x86_64", "")


def cpu(name: str) -> Cpu:
    """Returns the processor with that name.

    Raises:
      Unavailable: there is no processor with that name.
    """
    if name == NATIVE.name:
        return NATIVE
    if name not in CPUS:
        raise Unavailable(f"There is no CPU {name!r}: use {', '.join(CPUS)}.")
    return CPUS[name]


def make_root(cpu: Cpu, system: pathlib.Path, folder: pathlib.Path) -> None:
    """Creates the file system that an emulated ARM core sees: Debian's, with a description of the core.

    The library cpuinfo reads /proc/cpuinfo and /sys. It can't interpret this machine's files as an ARM core, which crashes the
    process.

    Args:
      cpu: the core.
      system: Debian's files for ARM.
      folder: an empty folder, which becomes the root.
    """
    for entry in system.iterdir():
        (folder / entry.name).symlink_to(entry)
    lines = {
        "processor": "0",
        "BogoMIPS": "100.00",
        "Features": cpu.features,
        "CPU implementer": "0x41",  # ARM
        "CPU architecture": "8",
        "CPU variant": "0x1",
        "CPU part": f"0x{cpu.part:x}",
        "CPU revision": "0",
    }
    _write(folder / "proc/cpuinfo", "".join(f"{key}\t: {value}\n" for key, value in lines.items()) + "\n")
    system_cpus = folder / "sys/devices/system/cpu"
    for name in ("possible", "present", "online", "kernel_max"):
        _write(system_cpus / name, "0\n")
    for name in ("physical_package_id", "core_id", "cluster_cpus_list", "core_siblings_list"):
        _write(system_cpus / "cpu0/topology" / name, "0\n")
    for name, kilohertz in (("cpuinfo_max_freq", 2_000_000), ("cpuinfo_min_freq", 500_000)):
        _write(system_cpus / "cpu0/cpufreq" / name, f"{kilohertz}\n")


def _write(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")
