"""The models of an export and their measurements: the records behind the reports."""

import dataclasses

from export.flatbuffer.model import TfliteModel
from export.measure.agreement import Comparison, Verification
from export.measure.benchmarking import Timing
from export.optimize import Optimized
from export.optimize.targets import Target
from export.report.layer_table import NoiseRow


@dataclasses.dataclass(frozen=True)
class ExportedModel:
    """A network in one precision, as converted and as optimized, both with metadata.

    Attributes:
      converted: input of quantization and optimization.
      optimized: the finished file; its `steps` are the complete history.
      optimization: the optimizer's result.
      noise: noise of each layer as converted and after post-training quantization; empty: no post-training quantization.
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
        """Milliseconds predicted for the target, before and after optimization."""
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
        """Name in tables of the version as converted."""
        return f"{self.kind} as converted"


@dataclasses.dataclass(frozen=True)
class Figures:
    """The measurements of a model: agreement with the original network, and speed."""

    comparison: Comparison
    timing: Timing


@dataclasses.dataclass(frozen=True)
class ExportResults:
    """All models of an export and their measurements.

    Attributes:
      network: name of the network.
      size: height and width of the input in pixels.
      target: the processor that the models are optimized for.
      threads, runs: settings of the measurements.
      models: one per precision.
      verification: comparison of the models with the network.
      figures: measurements of each model as converted and as optimized, by name.
    """

    network: str
    size: tuple[int, int]
    target: Target
    threads: int
    runs: int
    models: tuple[ExportedModel, ...]
    verification: Verification
    figures: dict[str, Figures]
