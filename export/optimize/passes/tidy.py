"""Pass: removes operators that do nothing or cancel each other, and computes once what converters compute twice.

Converters leave reshapes of reshapes, transposes there and back, empty paddings, and quantizations back to the original scale.
"""

from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer import edit
from export.flatbuffer.graph import Graph
from export.optimize.targets.cost_model import CostModel

_RESHAPES = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
_ONCE = (
    *_RESHAPES,
    "TRANSPOSE",
    "QUANTIZE",
    "DEQUANTIZE",
    "RELU",
    "RELU6",
    "RELU_N1_TO_1",
)  # what converters repeat for each reader


def tidy(graph: Graph, model: CostModel) -> str | None:
    """Removes operators without effect."""
    before = len(graph.operators)
    pass_ = _Tidying(graph)
    while pass_.sweep():
        pass
    graph.drop_dead_operators()
    removed = before - len(graph.operators)
    done = [f"{removed} operators without effect removed"] if removed else []
    done += [f"{pass_.rewritten} chains shortened"] if pass_.rewritten else []
    return ", ".join(done) or None


class _Tidying:
    def __init__(self, graph: Graph):
        self.graph = graph
        self.rewritten = 0

    def sweep(self) -> bool:
        """Visits each operator once; returns whether anything has changed."""
        changed, seen = False, {}
        for operator in list(self.graph.operators):
            if not self._is_plain(operator):
                continue
            changed |= self._shortened(operator)
            gone = self._is_identity(operator) and edit.bypass(self.graph, operator, self._data(operator))
            changed |= gone or self._repeated(operator, seen)
        return changed

    def _is_plain(self, operator: schema.OperatorT) -> bool:
        """Whether the operator has inputs and one output, all of known shape."""
        if operator.inputs is None or len(operator.inputs) == 0 or len(operator.outputs) != 1:
            return False
        return all(t < 0 or self.graph.shape(int(t)) is not None for t in (*operator.inputs, *operator.outputs))

    def _data(self, operator: schema.OperatorT) -> int:
        return int(operator.inputs[1 if self.graph.kind(operator) == "SPLIT" else 0])

    def _is_identity(self, operator: schema.OperatorT) -> bool:
        graph, kind = self.graph, self.graph.kind(operator)
        x, y = self._data(operator), int(operator.outputs[0])
        if graph.shape(x) != graph.shape(y) or not edit.same_numbers(graph, x, y) or graph.constant(x) is not None:
            return False
        if kind in ("SPLIT", "SPLIT_V", "CAST", *_RESHAPES):
            return True
        if kind == "QUANTIZE":
            return graph.quantization(x) is not None
        if kind == "CONCATENATION":
            return len(operator.inputs) == 1 and operator.builtinOptions.fusedActivationFunction == 0
        if kind in ("PAD", "PADV2", "MIRROR_PAD", "SLICE"):
            return True  # one that leaves the shape takes all, and adds nothing
        if kind == "STRIDED_SLICE":
            strides = graph.constant(int(operator.inputs[3]))
            return strides is not None and bool((strides == 1).all())
        if kind == "TRANSPOSE":
            order = edit.permutation(graph, operator)
            return order == tuple(range(len(graph.shape(x))))
        return False

    def _repeated(self, operator: schema.OperatorT, seen: dict) -> bool:
        """Lets the readers of an operator that repeats an earlier one read that one's result."""
        graph, kind = self.graph, self.graph.kind(operator)
        x, y = self._data(operator), int(operator.outputs[0])
        if kind not in _ONCE or y in graph.outputs or graph.constant(x) is not None:
            return False
        order = edit.permutation(graph, operator) if kind == "TRANSPOSE" else ()
        if order is None:
            return False
        kind = "RESHAPE" if kind in _RESHAPES else kind
        first = seen.setdefault((kind, x, order, graph.shape(y), graph.type(y), graph.quantization(y)), y)
        if first == y:
            return False
        edit.remove(graph, operator)
        edit.redirect(graph, y, first)
        return True

    def _shortened(self, operator: schema.OperatorT) -> bool:
        """Lets an operator read what came before the operator before it, where the two of them are one."""
        kind = self.graph.kind(operator)
        if kind in _RESHAPES:
            return self._reshaped(operator)
        if kind == "TRANSPOSE":
            return self._transposed(operator)
        return kind in ("QUANTIZE", "DEQUANTIZE") and self._quantized(operator)

    def _before(self, tensor: int, kinds: tuple[str, ...]) -> schema.OperatorT | None:
        index = self.graph.producers().get(tensor)
        if index is None or self.graph.kind(self.graph.operators[index]) not in kinds:
            return None
        before = self.graph.operators[index]
        x = int(before.inputs[0])
        known = self.graph.shape(x) is not None and self.graph.constant(x) is None
        return before if known and len(before.outputs) == 1 else None

    def _replace(self, operator: schema.OperatorT, by: schema.OperatorT) -> bool:
        vars(operator).update(vars(by))
        self.rewritten += 1
        return True

    def _reshaped(self, operator: schema.OperatorT) -> bool:
        graph, y = self.graph, int(operator.outputs[0])
        before = self._before(int(operator.inputs[0]), _RESHAPES)
        if before is None or not edit.same_numbers(graph, int(before.inputs[0]), y):
            return False
        return self._replace(operator, edit.reshape(graph, int(before.inputs[0]), y))

    def _transposed(self, operator: schema.OperatorT) -> bool:
        graph, x, y = self.graph, int(operator.inputs[0]), int(operator.outputs[0])
        order = edit.permutation(graph, operator)
        if order is None or not edit.same_numbers(graph, x, y):
            return False
        before = self._before(x, ("TRANSPOSE",))
        first = None if before is None else edit.permutation(graph, before)
        if first is not None and edit.same_numbers(graph, int(before.inputs[0]), x):
            x, order = int(before.inputs[0]), tuple(first[axis] for axis in order)
        elif not edit.is_reshape(graph.shape(x), order) or order == tuple(range(len(order))):
            return False
        return self._replace(operator, edit.transpose(graph, x, y, order))

    def _quantized(self, operator: schema.OperatorT) -> bool:
        """Shortens a chain of quantizations that leads back to numbers which it came by without rounding."""
        graph, y = self.graph, int(operator.outputs[0])
        source, steps = int(operator.inputs[0]), 0
        while (before := self._before(source, ("QUANTIZE", "DEQUANTIZE"))) is not None:
            x = int(before.inputs[0])
            exact = edit.shifted(graph, x, source) or graph.kind(before) == "DEQUANTIZE"
            if not exact or graph.quantization(x) is None or len(graph.quantization(x).scale) != 1:
                break
            source, steps = x, steps + 1
            if edit.same_numbers(graph, source, y):
                break
        if not steps or not edit.same_numbers(graph, source, y) or graph.constant(source) is not None:
            return False
        operator.inputs = [source]
        operator.opcodeIndex = graph.operator("QUANTIZE", [source], [y]).opcodeIndex
        self.rewritten += 1
        return True
