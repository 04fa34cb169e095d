"""The models of an export and their figures: the records that reports are written from."""

import dataclasses

from export.flatbuffer.model import TfliteModel
from export.measure.agreement import Comparison, Verification
from export.measure.benchmarking import Timing
from export.optimize import Optimized
from export.optimize.targets import Target
from export.report.layer_table import NoiseRow


@dataclasses.dataclass(frozen=True)
class ExportedModel:
    """A network in one kind of numbers, as converted and as optimized, both with metadata.

    Attributes:
      converted: as it goes into quantization and optimization.
      optimized: the finished file; its `steps` are all that was done.
      optimization: the optimizer's account of it.
      noise: of each layer as converted and after post-training quantization; empty: it was not quantized anew.
    """

    converted: TfliteModel
    optimized: TfliteModel
    optimization: Optimized
    noise: tuple[NoiseRow, ...] = ()

    @property
    def kind(self) -> str:
        return self.optimized.kind

    @property
    def predicted(self) -> tuple[float | None, float | None]:
        """Milliseconds that the target is predicted to need, before and after optimization."""
        before, after = self.optimization.predicted or (None, None)
        return before and before.milliseconds, after and after.milliseconds

    @property
    def versions(self) -> dict[str, TfliteModel]:
        """Both versions by name."""
        return {self.converted_name: self.converted, self.file_name: self.optimized}

    @property
    def file_name(self) -> str:
        """Name of the finished file."""
        return f"model_{self.kind}.tflite"

    @property
    def converted_name(self) -> str:
        """Name of the version as converted, in tables."""
        return f"{self.kind} as converted"


@dataclasses.dataclass(frozen=True)
class Figures:
    """The measurements of one model: its agreement with the original network, and its speed."""

    comparison: Comparison
    timing: Timing


@dataclasses.dataclass(frozen=True)
class ExportResults:
    """All models of an export, and their figures.

    Attributes:
      network: its name.
      size: height and width of its input in pixels.
      target: the processor that the models were made for.
      threads, runs: of the measurements.
      models: one a kind of numbers.
      verification: their comparison with the network.
      figures: of each model as converted and as optimized, by its name.
    """

    network: str
    size: tuple[int, int]
    target: Target
    threads: int
    runs: int
    models: tuple[ExportedModel, ...]
    verification: Verification
    figures: dict[str, Figures]
