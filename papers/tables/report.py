"""A paper's table with our counts beside the paper's, as Markdown and as CSV."""

import csv
import dataclasses
import io
from collections.abc import Iterator, Sequence

from papers.tables.latency import KINDS, Latency, order, ratios, undelegated
from papers.tables.rows import SQUARE, Row, Table, excess, printed
from shufflenet_tf import complexity
from shufflenet_tf.models.registry import MODELS, create_model

_NONE = "–"


@dataclasses.dataclass(frozen=True)
class Count:
    """What a network costs for one image, as `shufflenet_tf.complexity` counts it."""

    parameters: int
    multiply_adds: int
    memory_access: int


class Counts(dict[tuple[str, tuple[int, int]], Count]):
    """Counts by network and input size, each taken once, when it's asked for."""

    def __missing__(self, key: tuple[str, tuple[int, int]]) -> Count:
        name, size = key
        model = create_model(name, input_shape=(*size, 3))
        costs = complexity.costs(model)
        adds, accesses = (sum(getattr(cost, name) for cost in costs) for name in ("multiply_adds", "memory_access"))
        self[key] = Count(complexity.parameters(model), adds, accesses)
        return self[key]


def networks(tables: Sequence[Table]) -> list[tuple[str, tuple[int, int]]]:
    """Returns the registered networks of tables with their input sizes, each once."""
    keys = [(row.network, row.size) for table in tables for row in table.rows if row.network in MODELS]
    return list(dict.fromkeys(keys))


def why(row: Row, count: Count | None) -> str:
    """Returns why a row's count differs from the printed one; empty: it does not."""
    if count is None:
        return row.why or "not among the registered networks"
    figures = ((count.multiply_adds, row.multiply_adds), (count.parameters, row.parameters))
    return row.why if any(figure and excess(value, figure) is not None for value, figure in figures) else ""


def records(table: Table, counts: Counts, latencies: Sequence[Latency] = ()) -> list[dict[str, str | float | None]]:
    """Returns a table's rows under the names of the CSV file's columns; what is not known is None.

    Args:
      table: of a paper.
      counts: taken so far; those that are missing are added.
      latencies: measured here; none: the table gets no columns for them.
    """
    rows = []
    for row in table.rows:
        count = counts[row.network, row.size] if row.network in MODELS else None
        rows.append(
            {
                "table": table.key,
                "row": row.label,
                "network": row.network if count else None,
                "input": "x".join(map(str, row.size)),
                "multiply_adds_paper": None if row.multiply_adds is None else printed(row.multiply_adds)[0],
                "multiply_adds": count and count.multiply_adds,
                "multiply_adds_excess": None
                if not count or row.multiply_adds is None
                else excess(count.multiply_adds, row.multiply_adds),
                "parameters_paper": None if row.parameters is None else printed(row.parameters)[0],
                "parameters": count and count.parameters,
                "memory_access": count and count.memory_access,
                "error": row.error,
                "why": why(row, count),
            }
        )
    for name, times in _times(table, latencies):
        for record, time, ratio in zip(rows, times, ratios(times), strict=True):
            record |= {f"{name}_ms": time, f"{name}_ratio": ratio}
    for row, record in zip(table.rows, rows, strict=True):
        matching = [line for line in latencies if (line.network, line.size) == (row.network, row.size)]
        apart = "; ".join(f"{kind}: {pieces}" for kind, pieces in undelegated(matching).items())
        record["why"] = "; ".join(filter(None, (record["why"], apart)))
    return rows


def _times(table: Table, latencies: Sequence[Latency]) -> Iterator[tuple[str, list[float | None]]]:
    """Yields columns of milliseconds: for each size the paper's, then ours by kind."""
    if not latencies:
        return
    measured = {(line.network, line.size, line.kind): line.min_ms for line in latencies}
    # A row at a size of its own (0.4 MobileNet v2 at 160 px) stands in the columns of 224 px, as it does in the paper.
    sizes = [SQUARE, *sorted({line.size for line in latencies} - {row.size for row in table.rows} - {SQUARE})]
    for size in sizes:
        sizes = [row.size if size == SQUARE else size for row in table.rows]
        columns = {"paper": [row.milliseconds.get(at) for row, at in zip(table.rows, sizes, strict=True)]}
        for kind in KINDS:
            columns[kind] = [measured.get((row.network, at, kind)) for row, at in zip(table.rows, sizes, strict=True)]
        for name, times in columns.items():
            if any(time is not None for time in times):
                yield f"{name}_{size[0]}x{size[1]}", times


def markdown(table: Table, rows: Sequence[dict[str, str | float | None]]) -> str:
    """Returns a table as Markdown with a heading; a dash: not known or not printed."""
    lines = [_cells(record) for record in rows]
    kept = [name for name in lines[0] if name == "network" or any(line[name] not in ("", _NONE) for line in lines)]
    text = [f"## {table.source}: {table.title}", ""]
    text += ["| " + " | ".join(kept) + " |", "|" + "---|" * len(kept)]
    text += ["| " + " | ".join(line[name] for name in kept) + " |" for line in lines]
    return "\n".join([*text, "", *_orders(rows)])


def _cells(record: dict[str, str | float | None]) -> dict[str, str]:
    """Returns a row's cells under the headings of their columns."""

    def number(column: str, form: str = "{:,.0f}", unit: float = 1.0) -> str:
        return _NONE if record[column] is None else form.format(record[column] / unit)

    cells = {
        "network": record["row"] + ("" if record["input"] == "224x224" else f", {record['input']}"),
        "MMAC, paper": number("multiply_adds_paper", unit=1e6),
        "here": number("multiply_adds", "{:,.2f}", 1e6),
        "differs by": "" if record["multiply_adds_excess"] is None else number("multiply_adds_excess", "{:+,.2f}", 1e6),
        "parameters, paper": number("parameters_paper", "{:.1f}M", 1e6),
        "parameters": number("parameters"),
        "memory access": number("memory_access", "{:,.2f}M", 1e6),
        "error, %": number("error", "{:g}"),
    }
    for name in (key.removesuffix("_ms") for key in record if key.endswith("_ms")):
        kind, size = name.rsplit("_", 1)
        digits = sum((record[f"{name}_ms"] or 0) < limit for limit in (10, 100))
        ratio = number(f"{name}_ratio", " (×{:.2f})").strip(_NONE)
        cells[f"{kind}, {size}, ms"] = number(f"{name}_ms", f"{{:.{digits}f}}") + ratio
    return {**cells, "why": record["why"]}


def _orders(rows: Sequence[dict]) -> Iterator[str]:
    """Yields sentences that say how our order by time agrees with the paper's."""
    columns = {key.removesuffix("_ms"): [row[key] for row in rows] for key in rows[0] if key.endswith("_ms")}
    for name, times in columns.items():
        kind, size = name.rsplit("_", 1)
        if kind != "paper" and f"paper_{size}" in columns:
            same, pairs = order(times, columns[f"paper_{size}"])
            if pairs:
                yield f"{size}, {kind}: {same} of {pairs} pairs of networks are in the paper's order of time.\n"


def as_csv(rows: Sequence[dict[str, str | float | None]]) -> str:
    """Returns a table as CSV with plain numbers: counts of one image, error in %, milliseconds and their ratios."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows([{key: "" if value is None else value for key, value in row.items()} for row in rows])
    return text.getvalue()
