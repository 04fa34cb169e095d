"""Builds the graph of a plan: the same operators on reordered channels, with slices and concatenations where needed."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer import edit
from export.flatbuffer.graph import Graph
from export.optimize.channels.assembly import Key
from export.optimize.channels.identities import Channels, Read
from export.optimize.channels.plan import MovementPlan, ReadSource


class Rewriter:
    """Builds the operators of the new graph in place of the old ones.

    Args:
      sources: of `channels.reads`, from `plan.lower()`.
    """

    def __init__(self, graph: Graph, channels: Channels, plan: MovementPlan, sources: list[ReadSource]):
        self.graph, self.channels, self.plan = graph, channels, plan
        self.tensors: dict[Key, int] = {}
        self.operators: list[schema.OperatorT] = []
        self.reads: dict[int | None, list[tuple[Read, ReadSource]]] = {}
        for read, source in zip(channels.reads, sources, strict=True):
            self.reads.setdefault(read.operator, []).append((read, source))

    def run(self) -> None:
        """Replaces the graph's operators."""
        for root in self.channels.roots:
            if root.operator is None:
                self.tensors["root", root.index] = root.tensor
        for i, operator in enumerate(self.graph.operators):
            if i in self.channels.moving:
                self.operators.append(operator)  # dropped as dead where nothing that was kept needs it
            else:
                self._emit(i, operator)
        self.graph.operators = self.operators
        self._restore_outputs()

    def _emit(self, i: int, operator) -> None:
        reads = self.reads.get(i, [])
        if i not in self.channels.root_of:
            for read, source in reads:
                operator.inputs[read.position] = self._materialize(read, source)
            self.operators.append(operator)
        elif any(read.how == "any" for read, _ in reads) or self._is_dense(operator):
            self._emit_dense(i, operator, *reads[0])
        else:
            self._emit_channelwise(i, operator, reads)

    def _is_dense(self, operator) -> bool:
        return self.graph.kind(operator) in ("CONV_2D", "FULLY_CONNECTED")

    def _emit_dense(self, i: int, operator, read: Read, source: ReadSource) -> None:
        """Emits a convolution or matrix product: input channels and output channels in the plan's order."""
        graph = self.graph
        root = self.channels.roots[self.channels.root_of[i]]
        x = self._materialize(read, source)
        _, weights, *bias = (int(t) for t in operator.inputs)
        values = graph.constant(weights)
        if source.channels is not None:
            values = _take_inputs(values, read, source.channels, self._zero(weights))
        order, pieces = self.plan.layout(root.index).order, self.plan.pieces(root.index)
        same_order = len(pieces) == 1 and np.array_equal(order, np.arange(root.channels))
        if same_order and np.array_equal(values, graph.constant(weights)):
            operator.inputs[0] = x
            self.operators.append(operator)
            self.tensors["root", root.index] = root.tensor
            return
        for n, (start, end) in enumerate(pieces):
            take = order[start:end]
            suffix = f"/{n}" if len(pieces) > 1 else ""
            inputs = [x, graph.add_constant(values[take], graph.name(weights) + suffix, like=weights, take=take)]
            for b in bias:
                values_b = None if b < 0 else graph.constant(b)[take]
                inputs.append(b if b < 0 else graph.add_constant(values_b, graph.name(b) + suffix, like=b, take=take))
            shape = (*graph.shape(root.tensor)[:-1], end - start)
            # Operators that were kept find a tensor whose order is the old one under its old number.
            output = root.tensor if same_order else self._new_tensor(shape, root.tensor, suffix)
            self.operators.append(self._like(operator, inputs, output))
            self.tensors[("piece", root.index, start, end) if suffix else ("root", root.index)] = output

    def _zero(self, weights: int):
        quantization = self.graph.quantization(weights)
        zero_points = (0,) if quantization is None else quantization.zero_point
        return np.array(zero_points)[:, None] if len(zero_points) > 1 else zero_points[0]

    def _emit_channelwise(self, i: int, operator, reads: list[tuple[Read, ReadSource]]) -> None:
        """Emits an operator that treats channels one by one: its constants are put in the order of its input."""
        graph = self.graph
        root = self.channels.roots[self.channels.root_of[i]]
        inputs = [int(t) for t in operator.inputs]
        for read, source in reads:
            inputs[read.position] = self._materialize(read, source)
        read, source = reads[0]
        order = np.arange(root.channels) if source.channels is None else _order_of(read, source.channels)
        if np.array_equal(order, np.arange(root.channels)):
            # Operators that were kept find the tensor under its old number.
            operator.inputs = inputs
            self.operators.append(operator)
            self.tensors["root", root.index] = root.tensor
            return
        for position, t in enumerate(inputs):
            values = graph.constant(t)
            if values is not None and values.ndim and self._is_per_channel(operator, values, root.channels):
                inputs[position] = graph.add_constant(values[..., order], graph.name(t), like=t, take=order)
        output = self._new_tensor(graph.shape(root.tensor), root.tensor, "")
        self.operators.append(self._like(operator, inputs, output))
        self.tensors["root", root.index] = output

    def _is_per_channel(self, operator, values: np.ndarray, channels: int) -> bool:
        kind = self.graph.kind(operator)
        if kind in ("MEAN", "SUM", "REDUCE_MAX", "PAD", "PADV2", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
            return False  # axes, widths, sizes
        return values.shape[-1] == channels > 1

    def _like(self, operator, inputs: list[int], output: int) -> schema.OperatorT:
        copy = schema.OperatorT()
        vars(copy).update(vars(operator))
        copy.inputs, copy.outputs = inputs, [output]
        return copy

    def _new_tensor(self, shape, like: int, suffix: str) -> int:
        return edit.like(self.graph, like, shape, suffix)

    def _materialize(self, read: Read, source: ReadSource) -> int:
        tensor = self._tensor(source.key)
        if source.channels is None:
            return tensor
        wanted = (*self.graph.shape(read.tensor)[:-1], len(source.channels))
        return tensor if self.graph.shape(tensor) == wanted else self._reshaped(source.key, tensor, wanted)

    def _reshaped(self, key: Key, tensor: int, shape: tuple[int, ...]) -> int:
        key = ("reshape", key, shape)
        if key not in self.tensors:
            self.tensors[key] = self._new_tensor(shape, tensor, "/reshape")
            self.operators.append(edit.reshape(self.graph, tensor, self.tensors[key]))
        return self.tensors[key]

    def _tensor(self, key: Key) -> int:
        """Returns the tensor of `key`, with the operators that make it where it's new."""
        if key[0] == "kept":
            return key[1]
        if key not in self.tensors:
            self.tensors[key] = self._slice(key) if key[0] == "slice" else self._concat(key)
        return self.tensors[key]

    def _slice(self, key: Key) -> int:
        base, (start, end) = self._tensor(key[1]), key[2:]
        shape = self.graph.shape(base)
        rank = len(shape)
        begin = self.graph.add_constant(np.array([0] * (rank - 1) + [start], np.int32), "begin")
        size = self.graph.add_constant(np.array([*shape[:-1], end - start], np.int32), "size")
        output = self._new_tensor((*shape[:-1], end - start), base, f"/{start}:{end}")
        self.operators.append(self.graph.operator("SLICE", [base, begin, size], [output], schema.SliceOptionsT()))
        return output

    def _concat(self, key: Key) -> int:
        parts = [self._tensor(part) for part in key[1]]
        shape = self.graph.shape(parts[0])
        width = sum(self.graph.shape(part)[-1] for part in parts)
        output = self._new_tensor((*shape[:-1], width), parts[0], "/concat")
        options = schema.ConcatenationOptionsT()
        options.axis = len(shape) - 1
        self.operators.append(self.graph.operator("CONCATENATION", parts, [output], options))
        return output

    def _restore_outputs(self) -> None:
        """Points the graph's outputs and signatures to the new tensors, under the old names."""
        renamed = {}
        for read, source in self.reads.get(None, []):
            tensor = self._materialize(read, source)
            if tensor != read.tensor:
                self.graph.subgraph.tensors[tensor].name = self.graph.subgraph.tensors[read.tensor].name
                self.graph.subgraph.outputs[read.position] = tensor
                renamed[read.tensor] = tensor
        for signature in self.graph.model.signatureDefs or []:
            for entry in signature.outputs or [] if signature.subgraphIndex == 0 else []:
                entry.tensorIndex = renamed.get(entry.tensorIndex, entry.tensorIndex)


def _order_of(read: Read, channels: np.ndarray) -> np.ndarray:
    """Returns which of the read's original channels each of `channels` is; -1 for one that it did not read."""
    if read.how == "ordered":
        return np.arange(len(channels))
    index = {tuple(source): c for c, source in enumerate(read.sources.tolist())}
    return np.array([index.get(tuple(source), -1) for source in channels.tolist()])


def _take_inputs(weights: np.ndarray, read: Read, channels: np.ndarray, zero) -> np.ndarray:
    """Returns `weights` [out, ..., in] for the input `channels`, with zeros for those that were not read before."""
    order = _order_of(read, channels)
    if (order >= 0).all():
        return weights[..., order]
    taken = weights[..., np.maximum(order, 0)]
    return np.where(order >= 0, taken, np.asarray(zero, weights.dtype).reshape(-1, *[1] * (weights.ndim - 1))).astype(
        weights.dtype
    )
