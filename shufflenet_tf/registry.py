"""Every network by name. A new variant is one line."""

import difflib
import fnmatch
from functools import partial

from shufflenet_tf import shufflenet_v1, shufflenet_v2
from shufflenet_tf.errors import UserError
from shufflenet_tf.model import ImageClassifier
from shufflenet_tf.shufflenet_v1 import ShuffleNetV1
from shufflenet_tf.shufflenet_v2 import ShuffleNetV2
from shufflenet_tf.weights.published import Checkpoint
from shufflenet_tf.zoo import shufflenet_v2_plus
from shufflenet_tf.zoo.shufflenet_v2_plus import ShuffleNetV2Plus

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
    **{f"shufflenet_v2_{a}x": partial(ShuffleNetV2, alpha=a) for a in (0.5, 1.0, 1.5, 2.0)},
    **{f"shufflenet_v2_plus_{size}": partial(ShuffleNetV2Plus, size=size) for size in shufflenet_v2_plus.CHANNELS},
}


def list_models(pattern: str = "*") -> list[str]:
    """Returns the names of the registered networks that match `pattern` (shell wildcards), in the registry's order."""
    return [name for name in MODELS if fnmatch.fnmatchcase(name, pattern)]


def create_model(name: str, **kwargs) -> ImageClassifier:
    """Builds the network `name` with random weights.

    Args:
      name: one of `list_models()`.
      **kwargs: of its constructor: classes=10, input_shape=(96, 96, 3), include_top, pooling, labels, ...

    Raises:
      UserError: an unknown name (the nearest ones are named), or an argument out of range.
    """
    check(name)
    return MODELS[name](**{"name": name, **kwargs})


def check(name: str) -> None:
    """Raises a UserError that names the nearest models if there's none of this name."""
    if name not in MODELS:
        near = difflib.get_close_matches(name.lower(), MODELS, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(MODELS)}."
        raise UserError(f"There is no model {name!r}: {hint}")


def identify(checkpoint: Checkpoint) -> str:
    """Returns the name of the network that a checkpoint was made for.

    Raises:
      UserError: its widths are those of none that is registered.
    """
    own = (checkpoint.config or {}).get("name")
    if own in MODELS:  # the same widths with and without shuffle
        return own
    for name, constructor in MODELS.items():
        if _layout(constructor) == (checkpoint.family, checkpoint.channels, checkpoint.groups):
            return name
    raise UserError(
        f"{checkpoint.path} has widths {checkpoint.channels} and {checkpoint.groups} groups, which no registered network has: "
        "build the network and give the path as weights=."
    )


def _layout(constructor: partial) -> tuple[str, tuple[int, ...], int]:
    """Returns family, channels of the first convolution and of the stages, and groups."""
    given = constructor.keywords
    if constructor.func is ShuffleNetV1:
        return "v1", shufflenet_v1.channels(given["alpha"], given["groups"]), given["groups"]
    if constructor.func is ShuffleNetV2:
        return "v2", (shufflenet_v2.STEM, *shufflenet_v2.channels(given["alpha"])[:-1]), 1
    if constructor.func is ShuffleNetV2Plus:
        return "v2_plus", (shufflenet_v2_plus.STEM, *shufflenet_v2_plus.CHANNELS[given["size"]]), 1
    return "", (), 0
