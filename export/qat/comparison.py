"""What int8 costs and gains: several conversions of one network, through the same optimizer, side by side."""

import concurrent.futures
import dataclasses
import pathlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

import shufflenet_tf as st
from export import verify
from export.benchmark import benchmark
from export.flatbuffer import metadata
from export.measure.logit_metrics import distance, expected_drop, logits
from export.optimize import optimize
from export.optimize.targets import PHONE, Target

# Of a run: the graph as converted, and the finished file made of it.
AS_CONVERTED, FINISHED = "int8_as_converted.tflite", "model_int8.tflite"
FOLDER = "qat"  # in the folder of the training run that it started with


@dataclasses.dataclass(frozen=True)
class Row:
    """One conversion, optimized and with metadata.

    Attributes:
      name: of the conversion.
      content: of the .tflite file.
      comparison: with the Keras model.
      divergence: from the first conversion, Kullback and Leibler's, of the softmax of the logits, in nats.
      drop: of accuracy that is to be expected from it, 0-1; see `logits.expected_drop`.
      milliseconds: median of the timed runs.
      partitions: pieces that the delegate runs as one.
    """

    name: str
    content: bytes
    comparison: verify.Comparison
    divergence: float
    drop: float
    milliseconds: float
    partitions: int

    def to_json(self) -> dict[str, Any]:
        """Returns the figures as JSON types."""
        own = {key: getattr(self, key) for key in ("name", "divergence", "drop", "milliseconds", "partitions")}
        compared = {key: getattr(self.comparison, key) for key in ("top1", "agreement", "max_error")}
        return own | {"bytes": len(self.content)} | compared


def trained(run: pathlib.Path) -> bytes | None:
    """Returns the int8 graph, as converted, that `python -m export.qat` has left in a run's folder, or None."""
    file = run / FOLDER / AS_CONVERTED
    return file.read_bytes() if file.is_file() else None


def measure(
    bundle: st.Bundle,
    conversions: Mapping[str, bytes],
    images: Sequence[verify.Batch],
    threads: int = 1,
    runs: int = 30,
    target: str | Target = PHONE,
) -> tuple[list[Row], verify.Report]:
    """Finishes conversions of a network, compares them with it and times them.

    Args:
      bundle: the float network.
      conversions: .tflite files as converted, by name: "float32", "int8, post-training", "int8, trained", …;
        the first is in float.
      images: see `verify.verify`.
      threads: of the interpreter.
      runs: timed runs of each.
      target: the processor to make the files fast on; see `optimize`.

    Returns:
      The rows in the order of `conversions`, and the full comparison.

    Raises:
      UserError: a file can't be optimized, or a label can't be packed.
    """
    labels = bundle.labels or [f"class {i}" for i in range(bundle.model.output_shape[-1])]
    about = f"{bundle.model.name}, {st.complexity.parameters(bundle.model):,} parameters"

    def finished(named: tuple[str, bytes]) -> bytes:
        name, content = named
        fast = optimize(content, threads, target).model
        return metadata.attach(fast, bundle.model.name, f"{about}, {name}", labels, bundle.preprocessing)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:  # the optimizer works in processes of its own
        contents = list(pool.map(finished, conversions.items()))
    with tempfile.TemporaryDirectory() as scratch:
        paths = [pathlib.Path(scratch) / f"{name}.tflite" for name in conversions]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        proven = verify.verify(bundle, paths, images, threads)
        timed = benchmark(paths, threads, runs)
    # Of the logits, not of the probabilities, which in 8 bits are zero for most of many classes.
    seen = np.concatenate([pixels for pixels, _ in images])
    before_softmax = [logits(content, seen, threads) for content in contents]
    rows = [
        Row(
            name,
            content,
            comparison,
            distance(before_softmax[0], own)[1],
            expected_drop(before_softmax[0], own),
            float(np.median(time.milliseconds)),
            time.partitions,
        )
        for name, content, comparison, own, time in zip(
            conversions, contents, proven.comparisons, before_softmax, timed, strict=True
        )
    ]
    return rows, proven


def table(rows: Iterable[Row], proven: verify.Report) -> str:
    """Returns the rows as a table in Markdown, one a conversion."""

    def percent(value: float | None) -> str:
        return "" if value is None else f"{value:.1%}"

    lines = [
        "| conversion | MB | top-1 | as in Keras | expected drop | divergence, nats | largest error | ms | partitions |",
        "|---|---|---|---|---|---|---|---|---|",
        f"| Keras | | {percent(proven.top1)} | | | | | | |",
    ]
    lines += [
        f"| {row.name} | {len(row.content) / 1e6:.2f} | {percent(row.comparison.top1)} | {percent(row.comparison.agreement)} "
        f"| {row.drop:.2%} | {row.divergence:.2g} | {row.comparison.max_error:.1e} | {row.milliseconds:.2f} "
        f"| {row.partitions} |"
        for row in rows
    ]
    return "\n".join(lines)
