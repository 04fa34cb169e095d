"""One operator of a graph at a time, run by LiteRT on many images: what quantization is tuned on, layer by layer."""

import copy
from collections.abc import Sequence

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from export.flatbuffer.graph import Graph
from export.flatbuffer.packed import IDENTIFIER


class Runner:
    """An operator with its constants, as a model of its own.

    Args:
      graph: where it is.
      operator: whose constants are read now: what becomes of them later is not seen.
      threads: of the interpreter.
    """

    def __init__(self, graph: Graph, operator: schema.OperatorT, threads: int = 1):
        self.inputs = data_inputs(graph, operator)
        self._interpreter = Interpreter(model_content=_model(graph, operator, self.inputs), num_threads=threads)
        self._interpreter.allocate_tensors()
        self._reads = [detail["index"] for detail in self._interpreter.get_input_details()]
        self._writes = [detail["index"] for detail in self._interpreter.get_output_details()]

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the outputs [N, ...] for one array [N, ...] an input, which have a batch of 1 left out."""
        results: list[np.ndarray] = []
        for n in range(len(arrays[0])):
            for index, array in zip(self._reads, arrays, strict=True):
                self._interpreter.set_tensor(index, array[n : n + 1])
            self._interpreter.invoke()
            for i, index in enumerate(self._writes):
                value = self._interpreter.get_tensor(index)
                if n == 0:
                    results.append(np.empty((len(arrays[0]), *value.shape[1:]), value.dtype))
                results[i][n] = value[0]
        return results


def data_inputs(graph: Graph, operator: schema.OperatorT) -> list[int]:
    """Returns the inputs of an operator that are computed, each once."""
    read = (int(t) for t in operator.inputs)
    return list(dict.fromkeys(t for t in read if t >= 0 and graph.constant(t) is None))


def _model(graph: Graph, operator: schema.OperatorT, inputs: Sequence[int]) -> bytes:
    """Returns a file with this operator only."""
    tensors = list(dict.fromkeys(int(t) for t in (*operator.inputs, *operator.outputs) if t >= 0))
    place = {-1: -1, **{t: i for i, t in enumerate(tensors)}}
    model, subgraph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, subgraph.tensors = 3, [schema.BufferT()], []
    for t in tensors:
        tensor = copy.copy(graph.subgraph.tensors[t])
        tensor.buffer = 0
        if t not in operator.outputs and t not in inputs:
            model.buffers.append(graph.model.buffers[graph.subgraph.tensors[t].buffer])
            tensor.buffer = len(model.buffers) - 1
        subgraph.tensors.append(tensor)
    alone = copy.copy(operator)
    alone.opcodeIndex = 0
    alone.inputs, alone.outputs = ([place[int(t)] for t in side] for side in (operator.inputs, operator.outputs))
    subgraph.operators, subgraph.inputs = [alone], [place[t] for t in inputs]
    subgraph.outputs = list(alone.outputs)
    model.operatorCodes, model.subgraphs = [graph.model.operatorCodes[operator.opcodeIndex]], [subgraph]
    builder = flatbuffers.Builder(1 << 12)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())
