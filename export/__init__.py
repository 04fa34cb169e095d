"""Everything after training: conversion, quantization, optimization, verification and benchmarks of .tflite files.

    import export

    export.export_files("runs/photos")  # runs/photos/export/model_int8.tflite and others, with a report
    export.export_files("runs/photos", kinds=("int8",), calibration="PHOTOS")

Use `export.optimize.optimize` to optimize a .tflite file from any source. Importing this package does not load TensorFlow.
"""

from typing import TYPE_CHECKING, Any

import shufflenet_tf  # first of all, as it decides how TensorFlow is loaded

if TYPE_CHECKING:  # for editors; `__getattr__` imports them at run time
    from export.pipeline import ExportSettings, export_files

__all__ = ["ExportSettings", "export_files"]


def __getattr__(name: str) -> Any:
    """Imports the pipeline the first time one of its names is used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from export import pipeline

    return getattr(pipeline, name)
