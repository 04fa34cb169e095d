"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table of texts, one row a line, cells as narrow as they are."""
    first, *others = ("|" + "|".join(f" {cell} " if cell else " " for cell in row) + "|" for row in (headings, *rows))
    return "\n".join([first, "|" + "---|" * len(headings), *others])


def percent(fraction: float | None, digits: int = 1) -> str:
    """Returns a fraction in percent; nothing if it isn't known."""
    return "" if fraction is None else f"{fraction:.{digits}%}"
