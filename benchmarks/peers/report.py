"""The results: the table, a comparison of this project with the best other engine, and the processor."""

import csv
import dataclasses
import os
import pathlib
import platform
import statistics
from collections.abc import Iterator, Sequence

OURS = "ours"
# Instruction sets that determine the speed of these networks, by Linux's names on x86 and ARM.
ISA = ("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "sve", "sve2")


@dataclasses.dataclass(frozen=True)
class Row:
    """The result of one engine for one network.

    Attributes:
      model, precision, threads: settings of the run.
      engine, title: name of the engine for --engines and in the table.
      wall, cpu: wall time and CPU time of each timed run in milliseconds; empty: see `reason`.
      difference: relative difference of its logits from Keras in float32.
      version: version of the engine's package.
      reason: why it was not timed; empty: it was.
    """

    model: str
    precision: str
    threads: int
    engine: str
    title: str
    wall: tuple[float, ...] = ()
    cpu: tuple[float, ...] = ()
    difference: float = 0.0
    version: str = ""
    reason: str = ""

    def median(self, cpu_time: bool) -> float:
        """Returns the median time to compare: CPU time with one thread if `cpu_time`, else wall time."""
        return statistics.median(self.cpu if cpu_time and self.threads == 1 else self.wall)


def groups(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Yields groups of comparable rows: with the same network, precision and number of threads."""
    for key in dict.fromkeys((row.model, row.precision, row.threads) for row in rows):
        yield [row for row in rows if (row.model, row.precision, row.threads) == key]


def ratio(row: Row, group: Sequence[Row], cpu_time: bool) -> float | None:
    """Returns our time relative to a row's; None: one of the two was not timed."""
    ours = next((other for other in group if other.engine == OURS), None)
    if ours is None or ours.reason or row.reason:
        return None
    return ours.median(cpu_time) / row.median(cpu_time)


def table(rows: Sequence[Row], cpu_time: bool = False) -> str:
    """Returns all rows as Markdown: groups sorted by time, with rows without times last."""
    columns = (
        "network",
        "precision",
        "threads",
        "engine",
        "ms: min / median",
        "CPU ms",
        "ours / this",
        "difference from Keras",
    )
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for group in groups(rows):
        known = sorted((row for row in group if not row.reason), key=lambda row: row.median(cpu_time))
        for row in [*known, *(row for row in group if row.reason)]:
            cells = [row.model, row.precision, str(row.threads), row.title]
            if row.reason:
                cells += ["", "", "", row.reason.replace("|", "/")]
            else:
                compared = ratio(row, group, cpu_time)
                cells += [f"{min(times):.2f} / {statistics.median(times):.2f}" for times in (row.wall, row.cpu)]
                cells += ["" if compared is None or row.engine == OURS else f"{compared:.2f}", f"{row.difference:.1e}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def verdicts(rows: Sequence[Row], cpu_time: bool = False) -> list[str]:
    """Returns one sentence per group: ours against the fastest other engine."""
    sentences = []
    for group in groups(rows):
        about = f"{group[0].model} {group[0].precision}, {group[0].threads} thread{'s' * (group[0].threads > 1)}"
        others = [row for row in group if row.engine != OURS and not row.reason]
        if not others:
            sentences.append(f"{about}: there is nothing to compare with.")
            continue
        best = min(others, key=lambda row: row.median(cpu_time))
        compared = ratio(best, group, cpu_time)
        comparison = (
            "ours was not timed" if compared is None else f"ours takes {compared:.2f} of the time of the best, {best.title}"
        )
        sentences.append(f"{about}: {comparison}.")
    return sentences


def write_csv(rows: Sequence[Row], path: str | os.PathLike, cpu_time: bool = False) -> None:
    """Writes one line per row, each with the processor."""
    from shufflenet_tf.files import atomic_path

    machine, lines = processor(), []
    for group in groups(rows):
        for row in group:
            line = {name: getattr(row, name) for name in ("model", "precision", "threads", "engine", "version")}
            compared, known = ratio(row, group, cpu_time), not row.reason
            line |= {"runs": len(row.wall)}
            line |= {"wall_ms": round(statistics.median(row.wall), 4) if known else ""}
            line |= {"wall_min_ms": round(min(row.wall), 4) if known else ""}
            line |= {"cpu_min_ms": round(min(row.cpu), 4) if known else ""}
            line |= {"cpu_ms": round(statistics.median(row.cpu), 4) if known else ""}
            line |= {"ours_of_it": "" if compared is None else round(compared, 4)}
            line |= {"difference": f"{row.difference:.3e}" if known else "", "reason": row.reason, "processor": machine}
            lines.append(line)
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        writer.writerows(lines)


def versions(rows: Sequence[Row]) -> str:
    """Returns the engines' versions as text."""
    return ", ".join(dict.fromkeys(f"{row.title.partition(',')[0]} {row.version}" for row in rows if row.version))


def processor(path: str | os.PathLike = "/proc/cpuinfo") -> str:
    """Returns the processor's name, its number of cores, and its instruction sets of `ISA`."""
    fields: dict[str, str] = {}
    try:
        for line in pathlib.Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    except OSError:
        pass  # not Linux
    name = fields.get("model name") or platform.processor() or platform.machine()
    available = set((fields.get("flags") or fields.get("Features") or "").split())
    family = "".join(f", {key} {fields[key]}" for key in ("cpu family", "model") if key in fields)
    known = " ".join(flag for flag in ISA if flag in available) or "no known instruction sets"
    return f"{name}{family}, {os.cpu_count()} cores, {known}"
