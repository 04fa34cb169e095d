"""Published top-1 errors on ImageNet of the registered networks."""

from papers.tables import TABLES
from papers.tables.rows import SQUARE

_MEGVII = "megvii-model/ShuffleNet-Series, README"
_SANDLER = "MobileNetV2's authors, tensorflow/models, README"
_HOWARD = "Keras's documentation of MobileNetV3"
_TORCHVISION = "torchvision's documentation"
_IANDOLA = "SqueezeNet paper, table 3"

# Errors that are in no table of the ShuffleNet papers.
_OTHERS = {
    "shufflenet_v1_1.5x_g8": (29.0, _MEGVII),
    "shufflenet_v1_2.0x_g8": (27.1, _MEGVII),
    "shufflenet_v2_plus_small": (25.9, _MEGVII),
    "shufflenet_v2_plus_medium": (24.3, _MEGVII),
    "shufflenet_v2_plus_large": (22.9, _MEGVII),
    "mobilenet_v2_0.35x": (39.7, _SANDLER),
    "mobilenet_v2_0.5x": (34.6, _SANDLER),
    "mobilenet_v2_0.75x": (30.2, _SANDLER),
    "mobilenet_v2_1.3x": (25.6, _SANDLER),
    "mobilenet_v3_large_1.0x": (24.4, _HOWARD),
    "mobilenet_v3_large_0.75x": (26.7, _HOWARD),
    "mobilenet_v3_large_minimalistic": (27.7, _HOWARD),
    "mobilenet_v3_small_1.0x": (32.3, _TORCHVISION),  # Keras's value is for an older network
    "mobilenet_v3_small_0.75x": (34.6, _HOWARD),
    "mobilenet_v3_small_minimalistic": (38.1, _HOWARD),
    "squeezenet_1.1": (41.8, _TORCHVISION),
    "squeezenet_1.0_simple_bypass": (39.6, _IANDOLA),
    "squeezenet_1.0_complex_bypass": (41.2, _IANDOLA),
}

# Registered name -> (top-1 error in %, one central crop of 224 px; source).
ERRORS: dict[str, tuple[float, str]] = dict(_OTHERS)
for _table in TABLES.values():
    for _row in _table.rows:
        if _row.network and _row.error is not None and _row.size == SQUARE:
            ERRORS.setdefault(_row.network, (_row.error, _table.source))
