"""The reference ShuffleNet for TensorFlow: networks, training, evaluation and preprocessing in one small library.

Importing it takes a moment; TensorFlow is loaded when something needs it. From photos to a model for phones:

    import shufflenet_tf as st

    run = st.train("folder:PATH", network="shufflenet_v2_0.5x", image_size=128, epochs=20, output="runs/photos")
    st.classify_photos(run, ["photo.jpg"])[0][0].label

    import export

    export.export_files("runs/photos")
    st.classify_photos("runs/photos/export/model_int8.tflite", ["photo.jpg"])
"""

import importlib
from typing import TYPE_CHECKING, Any

from shufflenet_tf import startup

if TYPE_CHECKING:  # for editors; at run time `__getattr__` imports what is used
    from shufflenet_tf import complexity
    from shufflenet_tf.audit.run import audit_photos
    from shufflenet_tf.errors import UserError
    from shufflenet_tf.imagenet import decode_predictions, preprocess_input
    from shufflenet_tf.loading import Bundle, load, save_saved_model
    from shufflenet_tf.models import registry
    from shufflenet_tf.models.image_classifier import ImageClassifier
    from shufflenet_tf.models.registry import create_model, list_models
    from shufflenet_tf.models.units import ShufflenetStage, ShufflenetUnit1, ShufflenetUnit2
    from shufflenet_tf.models.v1 import ShuffleNetV1, ShuffleNetV1Unit
    from shufflenet_tf.models.v2 import ShuffleNetV2
    from shufflenet_tf.models.zoo.shufflenet_v2_plus import ShuffleNetV2Plus
    from shufflenet_tf.prediction import classify_photos
    from shufflenet_tf.preprocessing import Preprocessing
    from shufflenet_tf.training.run import train
    from shufflenet_tf.wiring import Wiring

__version__ = "0.1.0"

_MODULES = {  # of each public name; a module stands for itself
    "Bundle": "loading",
    "ImageClassifier": "models.image_classifier",
    "Preprocessing": "preprocessing",
    "ShuffleNetV1": "models.v1",
    "ShuffleNetV1Unit": "models.v1",
    "ShuffleNetV2": "models.v2",
    "ShuffleNetV2Plus": "models.zoo.shufflenet_v2_plus",
    "ShufflenetStage": "models.units",
    "ShufflenetUnit1": "models.units",
    "ShufflenetUnit2": "models.units",
    "UserError": "errors",
    "Wiring": "wiring",
    "audit_photos": "audit.run",
    "classify_photos": "prediction",
    "complexity": "complexity",
    "create_model": "models.registry",
    "decode_predictions": "imagenet",
    "list_models": "models.registry",
    "load": "loading",
    "preprocess_input": "imagenet",
    "registry": "models.registry",
    "save_saved_model": "loading",
    "train": "training.run",
}
_SUBMODULES = ("data", "errors", "evaluation", "files", "imagenet", "loading", "models")
_SUBMODULES += ("preprocessing", "training", "weights", "wiring")
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    """Imports the module of a public name, or the submodule, when the name is first used (PEP 562)."""
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    value = module if _MODULES[name].rpartition(".")[2] == name else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBMODULES, *__all__})


startup.install()
