"""Runs graphs operator by operator under LiteRT, on many images at once: quantization looks at each activation.

Only the activations that a later operator reads are held.
"""

import copy
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer import packed, runtime
from export.flatbuffer.graph import Graph
from export.ptq.graph_pair import GraphPair, OperatorPair


class OperatorRunner:
    """An operator with its constants, as a model of one operator.

    Args:
      graph: the operator's.
      operator: whose constants are read now: later changes of them are not seen.
      threads: of the interpreter.
    """

    def __init__(self, graph: Graph, operator: schema.OperatorT, threads: int = 1):
        self.inputs = graph.computed_inputs(operator)
        self._interpreter = runtime.interpreter(_single_operator_model(graph, operator, self.inputs), threads)
        self._input_indices = [detail["index"] for detail in self._interpreter.get_input_details()]
        self._output_indices = [detail["index"] for detail in self._interpreter.get_output_details()]

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the outputs [N, ...] for one array [N, ...] an input, which have a batch of 1 left out."""
        results: list[np.ndarray] = []
        for n in range(len(arrays[0])):
            for index, array in zip(self._input_indices, arrays, strict=True):
                self._interpreter.set_tensor(index, array[n : n + 1])
            self._interpreter.invoke()
            for i, index in enumerate(self._output_indices):
                value = self._interpreter.get_tensor(index)
                if n == 0:
                    results.append(np.empty((len(arrays[0]), *value.shape[1:]), value.dtype))
                results[i][n] = value[0]
        return results


class GraphExecution:
    """Runs the operators of one graph one after the other.

    Args:
      graph: the graph.
      operators: those that will be run, in order.
      values: array [N, ...] of each tensor that none of them computes.

    Attributes:
      values: array [N, ...] of each tensor that was computed and that a later operator reads.
    """

    def __init__(self, graph: Graph, operators: Sequence[schema.OperatorT], values: dict[int, np.ndarray]):
        self.graph, self.values = graph, values
        self._last_reader = {t: i for i, operator in enumerate(operators) for t in graph.computed_inputs(operator)}
        self._count = 0

    def run(self, operator: schema.OperatorT, threads: int = 1) -> list[np.ndarray]:
        """Runs the next operator as it is now and returns its outputs."""
        runner = OperatorRunner(self.graph, operator, threads)
        outputs = runner([self.values[t] for t in runner.inputs])
        self.values.update(zip(map(int, operator.outputs), outputs, strict=True))
        return outputs

    def forget(self, operator: schema.OperatorT) -> None:
        """Drops the values that no operator after this one, the last that was run, reads."""
        for t in (*self.graph.computed_inputs(operator), *map(int, operator.outputs)):
            if self._last_reader.get(t, -1) <= self._count:
                self.values.pop(t, None)
        self._count += 1


def run_side_by_side(
    pair: GraphPair, images: np.ndarray, threads: int = 1
) -> Iterator[tuple[OperatorPair, GraphExecution, GraphExecution]]:
    """Runs both graphs, yielding before each operator of the int8 graph is run: it may be changed.

    Args:
      pair: the graphs.
      images: uint8 [N, H, W, 3].
      threads: of each interpreter.

    Yields:
      The operator, the float graph's execution with its outputs, the int8 graph's without them.
    """
    pixels = pair.pixels(images)
    float_run = GraphExecution(pair.float_graph, [o.float_op for o in pair.operators], {pair.image[0]: pixels[0]})
    int8_run = GraphExecution(pair.int8_graph, [o.int8_op for o in pair.operators], {pair.image[1]: pixels[1]})
    for operator in pair.operators:
        float_run.run(operator.float_op, threads)
        yield operator, float_run, int8_run
        int8_run.run(operator.int8_op, threads)
        float_run.forget(operator.float_op)
        int8_run.forget(operator.int8_op)


def run_float_graph(pair: GraphPair, images: np.ndarray, record: Callable[[int, np.ndarray], None], threads: int = 1) -> None:
    """Runs the float graph and hands each activation, tensor and [N, ...], to `record`."""
    image = pair.image[0]
    execution = GraphExecution(pair.float_graph, [o.float_op for o in pair.operators], {image: pair.pixels(images)[0]})
    record(image, execution.values[image])
    for operator in pair.operators:
        for tensor, values in zip(operator.float_op.outputs, execution.run(operator.float_op, threads), strict=True):
            record(int(tensor), values)
        execution.forget(operator.float_op)


def _single_operator_model(graph: Graph, operator: schema.OperatorT, inputs: Sequence[int]) -> bytes:
    """Returns a .tflite file with this operator only."""
    tensors = list(dict.fromkeys(int(t) for t in (*operator.inputs, *operator.outputs) if t >= 0))
    position = {-1: -1, **{t: i for i, t in enumerate(tensors)}}
    model, subgraph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, subgraph.tensors = 3, [schema.BufferT()], []
    for t in tensors:
        tensor = copy.copy(graph.subgraph.tensors[t])
        tensor.buffer = 0
        if t not in operator.outputs and t not in inputs:
            model.buffers.append(graph.model.buffers[graph.subgraph.tensors[t].buffer])
            tensor.buffer = len(model.buffers) - 1
        subgraph.tensors.append(tensor)
    only = copy.copy(operator)
    only.opcodeIndex = 0
    only.inputs, only.outputs = ([position[int(t)] for t in side] for side in (operator.inputs, operator.outputs))
    subgraph.operators, subgraph.inputs = [only], [position[t] for t in inputs]
    subgraph.outputs = list(only.outputs)
    model.operatorCodes, model.subgraphs = [graph.model.operatorCodes[operator.opcodeIndex]], [subgraph]
    return packed.pack(model)
