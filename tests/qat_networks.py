"""Small networks whose numbers are away from where they start, and photos for them."""

import numpy as np
import pytest

import shufflenet_tf as st
from shufflenet_tf.models import v1, v2
from shufflenet_tf.models.zoo import shufflenet_v2_plus
from shufflenet_tf.weights import canonical

CLASSES = ("a", "b", "c", "d", "e")
# Of V2+ units of each kind: with ReLU and hard swish, plain and separable, with squeeze-and-excitation.
STAGES = ((3,), ("x",), (5, 3), (7,))


def few_units(patch: pytest.MonkeyPatch) -> None:
    """Makes all networks shallow."""
    for family in (v1, v2):
        patch.setattr(family, "REPEATS", (2, 1, 1))
    patch.setattr(shufflenet_v2_plus, "STAGES", STAGES)


def network(name: str, size: tuple[int, int] = (48, 64), **kwargs) -> st.Bundle:
    """Returns a random network whose statistics, factors and biases matter."""
    model = st.create_model(name, input_shape=(*size, 3), classes=len(CLASSES), labels=CLASSES, **kwargs)
    random = np.random.default_rng(0)
    for key, variable in canonical.named_variables(model).items():
        leaf = key.rsplit("/", 1)[-1]
        if leaf == "gamma" or key.endswith("variance/EMA"):
            variable.assign(random.uniform(0.7, 1.3, variable.shape))
        elif leaf in ("beta", "b") or key.endswith("mean/EMA"):
            variable.assign(random.normal(0, 0.2, variable.shape))
        elif key == "conv1/W" and model.preprocessing.scale == 1:
            variable.assign(variable / 64)  # it is fed with pixels, and all networks' answers shall be as decided
    return st.Bundle(model, tuple(model.labels), model.preprocessing)


def pixels(count: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """Returns uint8 [count, height, width, 3]: noise of different brightness, one black and one white image among them."""
    random = np.random.default_rng(0)
    images = random.uniform(0, 1, (count, *size, 3)) * random.integers(64, 256, (count, 1, 1, 3))
    images[0], images[1] = 0, 255
    return images.astype(np.uint8)
