"""Cycles of counted blocks on an ARM core, according to LLVM's models (llvm-mca).

The cycles of a block are those of one more execution while it runs repeatedly with all data in the first-level cache. They are
therefore modelled, not measured.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence

from benchmarks.arm import blocks
from benchmarks.arm.blocks import Block, Counted
from benchmarks.arm.cpus import Cpu
from benchmarks.arm.errors import Unavailable

VERSION = 19  # of LLVM: older versions model some of the cores differently
PROGRAMS = (f"llvm-mc-{VERSION}", f"llvm-mca-{VERSION}")
SHARE = 0.998  # share of the instructions to model; the rest, many rarely executed blocks, is assumed to be average
FEW, MANY = 20, 60  # executions of a block: the difference removes the cost of the start and the end
_TRIPLE = "aarch64"
_BRANCH = re.compile(r"(b|bl|br|blr|ret|cbz|cbnz|tbz|tbnz|svc|b\.\w+)(\s|$)")
_SYSTEM = re.compile(r"(nop|svc|brk|mrs|msr|hint|bti|pac|aut|dmb|dsb|isb|udf)")  # LLVM times these badly or not at all


def reason() -> str | None:
    """Returns why cycles can't be modelled; None: they can."""
    if all(map(shutil.which, PROGRAMS)):
        return None
    return f"Cycles need LLVM {VERSION}: run `python -m benchmarks.arm.install --cycles`."


class Timing:
    """Models the cycles of blocks on a core; caches the results.

    Args:
      cpu: the core.

    Raises:
      Unavailable: LLVM isn't installed, or doesn't know the core.
    """

    def __init__(self, cpu: Cpu):
        if not cpu.model:
            raise Unavailable(f"There is no model of {cpu.title}'s cycles: leave --cycles out, or choose ARM cores.")
        if missing := reason():
            raise Unavailable(missing)
        self._cpu = cpu
        self._texts: dict[str, str] = {}
        self._known: dict[Block, float] = {}

    def cycles(self, marks: Sequence[Counted]) -> list[float]:
        """Returns the cycles of the counts up to each mark."""
        words = {word for counted in marks for _, block in counted for word in block}
        self._texts |= disassemble(words - self._texts.keys())
        totals = [blocks.joined(counted, lambda word: is_branch(self._texts[word])) for counted in marks]
        chosen = [_most(total) for total in totals]
        self._model({block for most in chosen for block in most} - self._known.keys())
        result = []
        for total, most in zip(totals, chosen, strict=True):
            modelled = sum(self._known[block] * total[block] for block in most)
            covered = sum(len(block) * total[block] for block in most)
            result.append(modelled * sum(len(block) * n for block, n in total.items()) / max(covered, 1))
        return result

    def _model(self, blocks: Iterable[Block]) -> None:
        if not (blocks := list(blocks)):
            return
        source = [line for i, block in enumerate(blocks) for line in region(i, [self._texts[word] for word in block])]
        command = [PROGRAMS[1], f"--mtriple={_TRIPLE}", f"--mcpu={self._cpu.model}", "--json"]
        command += ["--mattr=+dotprod,+i8mm,+fullfp16,+bf16,+lse,+rdm", "--skip-unsupported-instructions=any"]
        command += [f"--dispatch={self._cpu.dispatch}"] if self._cpu.dispatch else []
        few, many = (
            total_cycles(_run([*command, f"--iterations={iterations}"], "\n".join(source) + "\n").stdout)
            for iterations in (FEW, MANY)
        )
        self._known |= {block: (many[i] - few[i]) / (MANY - FEW) for i, block in enumerate(blocks)}


def _most(total: dict[Block, int]) -> list[Block]:
    """Returns the smallest set of blocks that covers SHARE of the executed instructions."""
    left = SHARE * sum(len(block) * executions for block, executions in total.items())
    most = []
    for block in sorted(total, key=lambda block: -len(block) * total[block]):
        if left <= 0:
            break
        most.append(block)
        left -= len(block) * total[block]
    return most


def disassemble(words: Iterable[str]) -> dict[str, str]:
    """Returns the assembly text of instructions in hex; "nop" for instructions unknown to LLVM."""
    words = sorted(words)
    source = "".join("[" + ",".join(f"0x{byte:02x}" for byte in bytes.fromhex(word)) + "]\n" for word in words)
    done = _run([PROGRAMS[0], "--disassemble", f"--triple={_TRIPLE}", "--mattr=+all"], source)
    return texts(words, done.stdout, done.stderr)


def texts(words: Sequence[str], output: str, warnings: str) -> dict[str, str]:
    """Returns llvm-mc's answer per instruction: its output has one line for each, except those with warnings.

    Raises:
      ValueError: the number of lines is wrong.
    """
    unknown = {int(line) - 1 for line in re.findall(r"^<stdin>:(\d+):\d+: warning", warnings, re.MULTILINE)}
    lines = (line.strip() for line in output.splitlines())
    assembly = iter([line for line in lines if line and not line.startswith(".")])
    result = {word: "nop" if i in unknown else next(assembly, None) for i, word in enumerate(words)}
    if None in result.values() or next(assembly, None) is not None:
        raise ValueError(f"LLVM's disassembler gave another number of lines than the {len(words) - len(unknown)} expected.")
    return result


def is_branch(text: str) -> bool:
    """Whether an instruction ends a block."""
    return _BRANCH.match(text) is not None


def region(number: int, block: Sequence[str]) -> list[str]:
    """Returns a block's lines for llvm-mca. Calls become jumps, because it assumes 100 cycles for any call."""
    lines = [re.sub(r"^bl(r?)\b", r"b\1", text) for text in block if not _SYSTEM.match(text)]
    return [f"# LLVM-MCA-BEGIN {number}", *(lines or ["nop"]), f"# LLVM-MCA-END {number}"]


def total_cycles(output: str) -> dict[int, int]:
    """Returns the cycles of each region in llvm-mca's JSON."""
    return {int(region["Name"]): region["SummaryView"]["TotalCycles"] for region in json.loads(output)["CodeRegions"]}


def _run(command: list[str], source: str) -> subprocess.CompletedProcess:
    done = subprocess.run(command, input=source, capture_output=True, text=True)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line] or [f"status {done.returncode}"]
        raise Unavailable(f"{command[0]} failed: {errors[0]}")
    return done
