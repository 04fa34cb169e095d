"""The chart of accuracy against latency as a standalone HTML page."""

import json
import os
import pathlib
from collections.abc import Sequence

from papers.chart.points import FAMILIES, Point
from shufflenet_tf.files import atomic_path

_TEMPLATE = pathlib.Path(__file__).with_suffix(".html")


def write(points: Sequence[Point], threads: int, path: str | os.PathLike) -> None:
    """Writes the page.

    Args:
      points: the points of the chart.
      threads: interpreter threads of the measurement.
      path: path of the page.
    """
    shown = [
        {
            "name": point.name,
            "family": point.family,
            "label": point.label,
            "kind": point.kind,
            "accuracy": round(point.accuracy, 2),
            "source": point.source,
            "ms": round(point.milliseconds, 4),
            "median": round(point.median, 4),
            "megabytes": round(point.megabytes, 3),
            "outside": point.outside,
        }
        for point in points
    ]
    thread_text = "1 thread" if threads == 1 else f"{threads} threads"
    data = json.dumps({"families": FAMILIES, "points": shown, "threads": thread_text}, allow_nan=False)
    # A "</script>" in a name would end the page's script; escape these characters, which JSON decodes again.
    for character in "<>&":
        data = data.replace(character, f"\\u{ord(character):04x}")
    page = _TEMPLATE.read_text(encoding="utf-8").replace("__DATA__", data)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
