"""Points of the chart: networks with a published accuracy and a measured latency."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from papers.published_errors import ERRORS
from papers.tables.latency import Latency
from papers.tables.rows import SQUARE

# Families by prefix of the network's name; more specific prefixes first.
_FAMILIES = {
    "shufflenet_v2_plus_": "ShuffleNet V2+",
    "shufflenet_v2_": "ShuffleNet V2",
    "shufflenet_v1_": "ShuffleNet V1",
    "mobilenet_v1_": "MobileNet V1",
    "mobilenet_v2_": "MobileNet V2",
    "mobilenet_v3_": "MobileNet V3",
    "squeezenet_": "SqueezeNet",
}
OTHERS = "others"
FAMILIES = ("ShuffleNet V1", "ShuffleNet V2", *dict.fromkeys(_FAMILIES.values()), OTHERS)
FAMILIES = tuple(dict.fromkeys(FAMILIES))  # in the order of the legend


@dataclasses.dataclass(frozen=True)
class Point:
    """An exported file of a network.

    Attributes:
      name: registered name of the network.
      family: one of `FAMILIES`.
      label: distinguishes the network within its family.
      kind: "float32" or "int8".
      accuracy: top-1 on ImageNet, %, as published in `source`.
      milliseconds, median: fastest and median run.
      megabytes: size of the file.
      outside: operators outside the delegate; empty: none.
    """

    name: str
    family: str
    label: str
    kind: str
    accuracy: float
    source: str
    milliseconds: float
    median: float
    megabytes: float
    outside: str = ""


def points(latencies: Iterable[Latency]) -> list[Point]:
    """Returns the points of the files at 224 px whose networks have a published error."""
    result = []
    for latency in latencies:
        if latency.network in ERRORS and latency.size == SQUARE:
            family, label = _family(latency.network)
            error, source = ERRORS[latency.network]
            times = (latency.min_ms, latency.median_ms, latency.bytes / 1e6)
            result.append(Point(latency.network, family, label, latency.kind, 100 - error, source, *times, latency.outside))
    return result


def _family(name: str) -> tuple[str, str]:
    for prefix, family in _FAMILIES.items():
        if name.startswith(prefix):
            return family, name.removeprefix(prefix).replace("_", " ")
    return OTHERS, name.replace("_", " ")


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Returns the indices of the (cost, gain) pairs that no other point beats in both, by rising cost."""
    front, best = [], -np.inf
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if points[i][1] > best:
            front.append(i)
            best = points[i][1]
    return front
