"""Everything after training: conversion, quantization, optimization, verification and benchmarks of .tflite files.

    import export

    export.export_files("runs/photos")  # runs/photos/export/model_int8.tflite and others, with a report
    export.export_files("runs/photos", kinds=("int8",), calibration="PHOTOS")

Anybody's .tflite file is optimized by `export.optimize.optimize`. Importing this package loads no TensorFlow.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors; at run time `__getattr__` imports them
    from export.pipeline import ExportSettings, export_files

__all__ = ["ExportSettings", "export_files"]


def __getattr__(name: str) -> Any:
    """Imports the pipeline when a name of it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from export import pipeline

    return getattr(pipeline, name)
