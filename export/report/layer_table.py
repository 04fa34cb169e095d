"""Noise of each layer in several graphs of one network: where quantization hurts, and which step repairs it."""

import dataclasses
import pathlib
import tempfile
from collections.abc import Mapping, Sequence

import numpy as np

from export.measure.layer_noise import LayerNoise, layer_noise
from export.ptq import QuantizedPair
from export.report.markdown import table


@dataclasses.dataclass(frozen=True)
class NoiseRow:
    """A layer: its name, its kind of operator, and signal to quantization noise in dB by name of the graph."""

    name: str
    kind: str
    sqnr: dict[str, float]


def layer_rows(results: Mapping[str, QuantizedPair], images: Sequence[np.ndarray]) -> list[NoiseRow]:
    """Measures the noise of each layer in several graphs; see `export.measure.layer_noise.layer_noise`.

    Args:
      results: graphs by name; the converter's own are `QuantizedPair(int8_model, float_model)`.
      images: uint8 [H, W, 3]; a dozen are enough.

    Returns:
      Layers that all graphs have, in the order of execution.

    Raises:
      UserError: a graph is damaged, or no image classifier.
    """
    noise: dict[str, list[LayerNoise]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, result in results.items():
            real, rounded = (pathlib.Path(folder) / file for file in ("float.tflite", "int8.tflite"))
            real.write_bytes(result.reference)
            rounded.write_bytes(result.model)
            noise[name] = layer_noise(real, rounded, np.stack(images))
    first, *others = ({(layer.name, layer.kind): layer for layer in layers} for layers in noise.values())
    shared = [key for key in first if all(key in other for other in others)]
    tables = dict(zip(noise, (first, *others), strict=True))
    return [
        NoiseRow(first[key].short_name, key[1], {name: table[key].sqnr for name, table in tables.items()}) for key in shared
    ]


def markdown(rows: Sequence[NoiseRow]) -> str:
    """Returns the rows as a table, and the mean over layers below."""
    if not rows:
        return "No layer is comparable."
    names = list(rows[0].sqnr)
    means = [np.mean([row.sqnr[name] for row in rows if np.isfinite(row.sqnr[name])] or [np.inf]) for name in names]
    lines = [(f"`{row.name}`", *(f"{row.sqnr[name]:.1f}" for name in names)) for row in rows]
    lines.append((f"mean of {len(rows)} layers", *(f"{mean:.1f}" for mean in means)))
    return table(("layer, signal to noise in dB", *names), lines)
