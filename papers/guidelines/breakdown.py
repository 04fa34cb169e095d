"""Where the time of a .tflite file goes, by kind of operator (figure 2 of the ShuffleNet V2 paper).

LiteRT gives Python no profile, so each operator is cut out into a graph of its own, and these take turns. What a call costs,
which is the time of the cheapest of them, is taken off each. What the runtime does for nothing within a graph, such as a
reshape in place, costs a copy there, and data is not in the caches as it would be: so the sum is not the time of the whole.
"""

import dataclasses
import time

from export.flatbuffer import runtime
from export.flatbuffer.graph import Graph
from export.measure.timing import take_turns

CATEGORIES = {
    "convolution": ("CONV_2D", "FULLY_CONNECTED"),
    "depthwise": ("DEPTHWISE_CONV_2D",),
    "transpose, reshape": ("TRANSPOSE", "RESHAPE"),
    "split and concat": ("SPLIT", "SPLIT_V", "SLICE", "STRIDED_SLICE", "CONCATENATION", "PAD", "PADV2"),
    "element-wise": ("ADD", "MUL", "SUB", "RELU", "RELU6", "HARD_SWISH"),
    "pooling": ("MAX_POOL_2D", "AVERAGE_POOL_2D", "MEAN"),
}
OTHER = "other"


@dataclasses.dataclass(frozen=True)
class Breakdown:
    """Of one file.

    Attributes:
      milliseconds: by category, most first, of operators on their own.
      whole: milliseconds of the file itself.
    """

    milliseconds: dict[str, float]
    whole: float

    @property
    def shares(self) -> dict[str, float]:
        """Fractions of the sum, by category."""
        total = sum(self.milliseconds.values()) or 1.0
        return {name: value / total for name, value in self.milliseconds.items()}


def category(kind: str) -> str:
    """Returns the category of an operator."""
    return next((name for name, kinds in CATEGORIES.items() if kind in kinds), OTHER)


def alone(content: bytes, index: int) -> bytes:
    """Returns a graph of one operator of a .tflite file, its constants inside."""
    graph = Graph(content)
    operator = graph.operators[index]
    computed = [int(t) for t in operator.inputs if t >= 0 and graph.constant(int(t)) is None]
    graph.operators = [operator]
    graph.subgraph.inputs, graph.subgraph.outputs = list(dict.fromkeys(computed)), [int(t) for t in operator.outputs]
    graph.model.signatureDefs = None
    return graph.pack()


def breakdown(content: bytes, threads: int = 1, runs: int = 30, cpu_time: bool = False) -> Breakdown:
    """Measures the operators of a .tflite file one by one, and the whole.

    Args:
      content: of the file.
      threads: of the interpreter.
      runs: timed runs of each; the fastest counts.
      cpu_time: see `export.measure.benchmarking.benchmark`.
    """
    graph = Graph(content)
    kinds = [graph.kind(operator) for operator in graph.operators]
    runners = [runtime.interpreter(piece, threads) for piece in (content, *(alone(content, i) for i in range(len(kinds))))]
    for runner in runners:
        (values,) = runtime.random_inputs(runner, 1)
        for detail, value in zip(runner.get_input_details(), values, strict=True):
            runner.set_tensor(detail["index"], value)
    whole, *times = (
        min(own) for own in take_turns(runners, runs, 2, time.thread_time_ns if cpu_time else time.perf_counter_ns)
    )
    call = min(times)
    found: dict[str, float] = {}
    for kind, own in zip(kinds, times, strict=True):
        found[category(kind)] = found.get(category(kind), 0.0) + own - call
    return Breakdown(dict(sorted(found.items(), key=lambda item: -item[1])), whole)
