"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table with one line per row; cells are not padded to a common width."""
    first, *others = ("|" + "|".join(f" {cell} " if cell else " " for cell in row) + "|" for row in (headings, *rows))
    return "\n".join([first, "|" + "---|" * len(headings), *others])


def percent(fraction: float | None, digits: int = 1) -> str:
    """Returns a fraction in percent; empty if it is unknown."""
    return "" if fraction is None else f"{fraction:.{digits}%}"
