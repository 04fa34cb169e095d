"""The tables of the two ShuffleNet papers, recomputed: `python -m papers.tables`."""

from papers.tables import v1, v2
from papers.tables.rows import Row, Table

TABLES: dict[str, Table] = {table.key: table for table in (*v1.TABLES, *v2.TABLES)}

__all__ = ["TABLES", "Row", "Table"]
