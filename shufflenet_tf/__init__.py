"""The reference ShuffleNet for TensorFlow: networks, training, evaluation and preprocessing in one small library."""

from shufflenet_tf import startup

startup.load_tensorflow()

import importlib
import types

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
from shufflenet_tf.preprocessing import Preprocessing
from shufflenet_tf.wiring import Wiring

__version__ = "0.1.0"
__all__ = [
    "Bundle",
    "ImageClassifier",
    "Preprocessing",
    "ShuffleNetV1",
    "ShuffleNetV1Unit",
    "ShuffleNetV2",
    "ShuffleNetV2Plus",
    "ShufflenetStage",
    "ShufflenetUnit1",
    "ShufflenetUnit2",
    "UserError",
    "Wiring",
    "complexity",
    "create_model",
    "decode_predictions",
    "list_models",
    "load",
    "preprocess_input",
    "registry",
    "save_saved_model",
]


def __getattr__(name: str) -> types.ModuleType:
    """Loads `complexity` when it's asked for: it is a program too, and Python warns of programs that are loaded already."""
    if name == "complexity":
        return importlib.import_module("shufflenet_tf.complexity")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
