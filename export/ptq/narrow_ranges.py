"""Ranges without the part that nobody sees: what a ReLU behind an addition, or a hard swish, makes zero anyway."""

from collections.abc import Callable

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.ptq.activation_ranges import scale_of
from export.ptq.activations import Side
from export.ptq.graph_pair import Pair, Step

_SAMPLES = 300_000  # values that are looked at
_PARTS = np.linspace(1, 0, 21)  # of the range below zero


class Narrowing:
    """Cuts off negative values where that makes the operator that reads them more exact.

    Args:
      pair: the graphs, whose scales are changed as `narrow` is called.

    Attributes:
      gains: by how much the error behind each reader fell, in dB.
    """

    def __init__(self, pair: Pair):
        self.gains: list[float] = []
        self._pair = pair
        self._alone = {group[0] for group in pair.groups if len(group) == 1}
        self._readers: dict[int, list[Step]] = {}
        for step in pair.steps:
            for t in {int(t) for t in step.real.inputs}:
                self._readers.setdefault(t, []).append(step)

    def narrow(self, step: Step, real: Side) -> None:
        """Sets the scale of what a step makes, if all that reads it is a reader of this kind.

        Args:
          step: whose output has been computed in the float graph, and not yet in the int8 graph.
          real: activations of the float graph.
        """
        tensor, stored = int(step.real.outputs[0]), int(step.rounded.outputs[0])
        readers = self._readers.get(tensor, [])
        effect = self._effect(readers[0], tensor, real) if len(readers) == 1 and stored in self._alone else None
        if effect is None:
            return
        values = real.values[tensor].reshape(-1)
        at = np.random.default_rng(0).integers(0, values.size, min(values.size, _SAMPLES))
        values, wanted = values[at], effect(values[at], at)
        q = self._pair.rounded.quantization(stored)
        low, high = ((end - q.zero_point[0]) * q.scale[0] for end in (-128, 127))
        scales = [scale_of(low * part, high) for part in _PARTS]
        errors = []
        for scale, zero in scales:
            kept = (np.clip(np.round(values / scale) + zero, -128, 127) - zero) * scale
            errors.append(float(np.square(effect(kept, at) - wanted).mean()))
        best = int(np.argmin(errors))
        if best > 0 and errors[best] > 0:
            self.gains.append(10 * np.log10(errors[0] / errors[best]))
            self._pair.set_scale([stored], *scales[best])

    def _effect(self, reader: Step, tensor: int, real: Side) -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
        """Returns what the reader makes of values of a tensor and their places in it; None: it shows them all."""
        if reader.kind == "HARD_SWISH":
            return lambda values, at: values * np.clip(values + 3, 0, 6) / 6
        relu = schema.ActivationFunctionType.RELU
        if reader.kind == "ADD" and reader.real.builtinOptions.fusedActivationFunction == relu:
            others = [int(t) for t in reader.real.inputs if int(t) != tensor]
            if len(others) == 1 and others[0] in real.values and real.values[others[0]].shape == real.values[tensor].shape:
                added = real.values[others[0]].reshape(-1)
                return lambda values, at: np.maximum(values + added[at], 0)
        return None
