"""Ranges without the part that the next operator makes zero: a ReLU behind an addition, or a hard swish."""

from collections.abc import Callable

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.ptq.activation_ranges import scale_and_zero_point
from export.ptq.execution import GraphExecution
from export.ptq.graph_pair import GraphPair, OperatorPair

_SAMPLES = 300_000  # values that are looked at
_PARTS = np.linspace(1, 0, 21)  # of the range below zero


class Narrowing:
    """Cuts off negative values where that makes the operator that reads them more exact.

    Args:
      pair: the graphs, whose scales are changed as `narrow` is called.

    Attributes:
      gains: by how much the error behind each reader fell, in dB.
    """

    def __init__(self, pair: GraphPair):
        self.gains: list[float] = []
        self._pair = pair
        self._alone = {group[0] for group in pair.groups if len(group) == 1}
        self._readers: dict[int, list[OperatorPair]] = {}
        for operator in pair.operators:
            for t in {int(t) for t in operator.float_op.inputs}:
                self._readers.setdefault(t, []).append(operator)

    def narrow(self, operator: OperatorPair, float_run: GraphExecution) -> None:
        """Sets the scale of an operator's output, if its only reader is of one of these two kinds.

        Args:
          operator: whose output has been computed in the float graph, and not yet in the int8 graph.
          float_run: activations of the float graph.
        """
        tensor, int8_tensor = int(operator.float_op.outputs[0]), int(operator.int8_op.outputs[0])
        readers = self._readers.get(tensor, [])
        is_free = len(readers) == 1 and int8_tensor in self._alone
        effect = self._effect(readers[0], tensor, float_run) if is_free else None
        if effect is None:
            return
        values = float_run.values[tensor].reshape(-1)
        at = np.random.default_rng(0).integers(0, values.size, min(values.size, _SAMPLES))
        values, expected = values[at], effect(values[at], at)
        q = self._pair.int8_graph.quantization(int8_tensor)
        low, high = ((end - q.zero_point[0]) * q.scale[0] for end in (-128, 127))
        scales = [scale_and_zero_point(low * part, high) for part in _PARTS]
        errors = []
        for scale, zero in scales:
            rounded = (np.clip(np.round(values / scale) + zero, -128, 127) - zero) * scale
            errors.append(float(np.square(effect(rounded, at) - expected).mean()))
        best = int(np.argmin(errors))
        if best > 0 and errors[best] > 0:
            self.gains.append(10 * np.log10(errors[0] / errors[best]))
            self._pair.set_scale([int8_tensor], *scales[best])

    def _effect(
        self, reader: OperatorPair, tensor: int, float_run: GraphExecution
    ) -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
        """Returns the reader's function of values of a tensor and their positions in it; None: it makes none of them zero."""
        if reader.kind == "HARD_SWISH":
            return lambda values, at: values * np.clip(values + 3, 0, 6) / 6
        relu = schema.ActivationFunctionType.RELU
        if reader.kind == "ADD" and reader.float_op.builtinOptions.fusedActivationFunction == relu:
            others = [int(t) for t in reader.float_op.inputs if int(t) != tensor]
            summand = float_run.values.get(others[0]) if len(others) == 1 else None
            if summand is not None and summand.shape == float_run.values[tensor].shape:
                added = summand.reshape(-1)
                return lambda values, at: np.maximum(values + added[at], 0)
        return None
