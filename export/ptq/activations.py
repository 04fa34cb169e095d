"""Activations of a pair of graphs, operator by operator: only those are held that somebody still reads."""

from collections.abc import Callable, Iterator

import numpy as np

from export.flatbuffer.graph import Graph
from export.ptq.graph_pair import Pair, Step
from export.ptq.operator_runner import Runner, data_inputs


class Side:
    """The activations of one graph for many images.

    Args:
      graph: the graph.
      operators: those that will be run, in order.
      values: array [N, ...] of each tensor that none of them makes.
    """

    def __init__(self, graph: Graph, operators: list, values: dict[int, np.ndarray]):
        self.graph, self.values = graph, values
        self._last = {t: i for i, operator in enumerate(operators) for t in data_inputs(graph, operator)}
        self._done = 0

    def run(self, operator, threads: int = 1) -> list[np.ndarray]:
        """Runs the next operator as it is now and returns its outputs."""
        runner = Runner(self.graph, operator, threads)
        outputs = runner([self.values[t] for t in runner.inputs])
        self.values.update(zip(map(int, operator.outputs), outputs, strict=True))
        return outputs

    def forget(self, operator) -> None:
        """Drops what nobody reads after this operator, the last that was run."""
        for t in (*data_inputs(self.graph, operator), *map(int, operator.outputs)):
            if self._last.get(t, -1) <= self._done:
                self.values.pop(t, None)
        self._done += 1


def walk(pair: Pair, images: np.ndarray, threads: int = 1) -> Iterator[tuple[Step, Side, Side]]:
    """Runs both graphs side by side, yielding before the int8 operator of each step is run: it may be changed.

    Args:
      pair: the graphs.
      images: uint8 [N, H, W, 3].
      threads: of each interpreter.

    Yields:
      The step, the float side with the step's outputs, the int8 side without.
    """
    pixels = pair.pixels(images)
    operators = [[step.real for step in pair.steps], [step.rounded for step in pair.steps]]
    real = Side(pair.real, operators[0], {pair.image[0]: pixels[0]})
    rounded = Side(pair.rounded, operators[1], {pair.image[1]: pixels[1]})
    for step in pair.steps:
        real.run(step.real, threads)
        yield step, real, rounded
        rounded.run(step.rounded, threads)
        real.forget(step.real)
        rounded.forget(step.rounded)


def observe(pair: Pair, images: np.ndarray, note: Callable[[int, np.ndarray], None], threads: int = 1) -> None:
    """Runs the float graph and hands each activation, tensor and [N, ...], to `note`."""
    real = Side(pair.real, [step.real for step in pair.steps], {pair.image[0]: pair.pixels(images)[0]})
    note(pair.image[0], real.values[pair.image[0]])
    for step in pair.steps:
        for tensor, values in zip(step.real.outputs, real.run(step.real, threads), strict=True):
            note(int(tensor), values)
        real.forget(step.real)
