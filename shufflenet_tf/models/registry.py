"""Every network by name. A new variant is one line."""

import difflib
import fnmatch
from collections.abc import Callable
from functools import partial

from shufflenet_tf.errors import UserError
from shufflenet_tf.models import v1, v2
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.models.units import Branch
from shufflenet_tf.models.v1 import ShuffleNetV1
from shufflenet_tf.models.v2 import ShuffleNetV2
from shufflenet_tf.models.zoo import densenet_like, shufflenet_large, shufflenet_v2_plus
from shufflenet_tf.models.zoo.alexnet import AlexNet
from shufflenet_tf.models.zoo.applications import KerasApplication
from shufflenet_tf.models.zoo.densenet_like import DenseNetLike
from shufflenet_tf.models.zoo.igcv3 import IGCV3
from shufflenet_tf.models.zoo.mobilenet_v3 import MobileNetV3
from shufflenet_tf.models.zoo.shufflenet_large import ShuffleNetLarge
from shufflenet_tf.models.zoo.shufflenet_v2_plus import ShuffleNetV2Plus
from shufflenet_tf.models.zoo.squeezenet import SqueezeNet
from shufflenet_tf.models.zoo.v1_peers import V1Peer
from shufflenet_tf.weights.published import Checkpoint

_V1 = {
    0.25: (1, 2, 3, 4, 8),  # paper, table 2
    0.5: (1, 2, 3, 4, 8),
    1.0: (1, 2, 3, 4, 8),
    1.5: (3, 8),  # table 5; megvii
    2.0: (3, 8),
}

MODELS = {
    **{f"shufflenet_v1_{a}x_g{g}": partial(ShuffleNetV1, alpha=a, groups=g) for a, all_g in _V1.items() for g in all_g},
    **{
        f"shufflenet_v1_{a}x_g{g}_noshuffle": partial(ShuffleNetV1, alpha=a, groups=g, shuffle=False)
        for a in (0.25, 0.5, 1.0)  # paper, table 3
        for g in (3, 8)
    },
    "shufflenet_v1_2.0x_g3_se": partial(ShuffleNetV1, alpha=2.0, groups=3, reduction=16),  # table 5
    # Half of the units, with more channels, so that it costs as much as 0.5x (table 5).
    "shufflenet_v1_0.5x_g3_shallow": partial(ShuffleNetV1, alpha=0.7, groups=3, repeats=(2, 4, 2)),
    **{f"shufflenet_v2_{a}x": partial(ShuffleNetV2, alpha=a) for a in (0.5, 1.0, 1.5, 2.0)},
    **{f"shufflenet_v2_star_{a}x": partial(ShuffleNetV2, alpha=a, branch=Branch(star=True)) for a in (0.5, 1.0, 1.5, 2.0)},
    "shufflenet_v2_2.0x_se": partial(ShuffleNetV2, alpha=2.0, branch=Branch(excite_unit=True)),  # V2, table 8
    "shufflenet_v2_2.0x_residual": partial(ShuffleNetV2, alpha=2.0, branch=Branch(residual=True)),
    **{f"shufflenet_v2_plus_{size}": partial(ShuffleNetV2Plus, size=size) for size in shufflenet_v2_plus.CHANNELS},
    **{plan: partial(ShuffleNetLarge, plan=plan) for plan in shufflenet_large.PLANS},
    **{f"mobilenet_v1_{a}x": partial(KerasApplication, application="MobileNet", alpha=a) for a in (0.25, 0.5, 0.75, 1.0)},
    **{
        f"mobilenet_v2_{a}x": partial(KerasApplication, application="MobileNetV2", alpha=a)
        for a in (0.15, 0.35, 0.4, 0.5, 0.6, 0.75, 1.0, 1.3, 1.4)  # 0.15, 0.4 and 0.6: V2, table 8
    },
    **{f"mobilenet_v3_{s}_{a}x": partial(MobileNetV3, size=s, alpha=a) for s in ("large", "small") for a in (0.75, 1.0)},
    **{f"mobilenet_v3_{s}_minimalistic": partial(MobileNetV3, size=s, minimalistic=True) for s in ("large", "small")},
    **{f"squeezenet_{v}": partial(SqueezeNet, version=v) for v in ("1.0", "1.1")},
    **{f"squeezenet_1.0_{b}_bypass": partial(SqueezeNet, version="1.0", bypass=b) for b in ("simple", "complex")},
    **{f"xception_like_{a}x": partial(ShuffleNetV1, alpha=a, groups=1) for a in (0.25, 0.5, 1.0, 1.5, 2.0)},
    **{f"vgg_like_{a}x": partial(V1Peer, structure="vgg", alpha=a) for a in (0.5, 1.0)},  # V1, table 4
    **{f"{s}_like_{a}x": partial(V1Peer, structure=s, alpha=a) for s in ("resnet", "resnext") for a in (0.25, 0.5, 1.0)},
    **{f"densenet_like_{a}x": partial(DenseNetLike, alpha=a) for a in densenet_like.GROWTH},
    **{f"igcv3_d_{a}x": partial(IGCV3, alpha=a) for a in (0.7, 1.0, 1.4)},
    "xception": partial(KerasApplication, application="Xception"),
    "resnet_50": partial(KerasApplication, application="ResNet50"),
    "vgg_16": partial(KerasApplication, application="VGG16"),
    "alexnet": AlexNet,
}


def list_models(pattern: str = "*") -> list[str]:
    """Returns the names of the registered networks that match `pattern` (shell wildcards), in the registry's order."""
    return [name for name in MODELS if fnmatch.fnmatchcase(name, pattern)]


def create_model(name: str, **kwargs) -> ImageClassifier:
    """Builds the network `name` with random weights.

    Args:
      name: one of `list_models()`.
      **kwargs: arguments of its constructor: classes=10, input_shape=(96, 96, 3), include_top, pooling, labels, ...

    Raises:
      UserError: the name is unknown (similar ones are suggested), or an argument is out of range.
    """
    check(name)
    return MODELS[name](**{"name": name, **kwargs})


def check(name: str) -> None:
    """Raises a UserError that suggests similar names if there is no network of this name."""
    if name not in MODELS:
        near = difflib.get_close_matches(name.lower(), MODELS, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(MODELS)}."
        raise UserError(f"There is no model {name!r}: {hint}")


def identify(checkpoint: Checkpoint) -> str:
    """Returns the name of a checkpoint's network.

    Raises:
      UserError: no registered network has its widths.
    """
    config = checkpoint.config or {}
    for name in (config.get("name"), config.get("network")):
        if name in MODELS:  # several networks can have the same widths
            return name
    for name, constructor in MODELS.items():
        if _layout(constructor) == (checkpoint.family, checkpoint.channels, checkpoint.groups):
            return name
    raise UserError(
        f"{checkpoint.path} has widths {checkpoint.channels} and {checkpoint.groups} groups, which no registered network has: "
        "build the network and give the path as weights=."
    )


def _layout(constructor: Callable[..., ImageClassifier]) -> tuple[str, tuple[int, ...], int]:
    """Returns family, channels of the first convolution and the stages, and groups of a network with published weights."""
    match constructor:
        case partial(func=kind, keywords={"alpha": alpha, "groups": groups}) if kind is ShuffleNetV1:
            return "v1", v1.channels(alpha, groups), groups
        case partial(func=kind, keywords={"alpha": alpha}) if kind is ShuffleNetV2:
            return "v2", (v2.STEM, *v2.channels(alpha)[:-1]), 1
        case partial(func=kind, keywords={"size": size}) if kind is ShuffleNetV2Plus:
            return "v2_plus", (shufflenet_v2_plus.STEM, *shufflenet_v2_plus.CHANNELS[size]), 1
    return "", (), 0
