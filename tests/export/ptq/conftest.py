"""Small networks with everything that real ones have, converted to float and to int8."""

import functools

import numpy as np
import pytest
import tensorflow as tf

import shufflenet_tf as st
from export.convert.from_keras import convert, trace
from export.convert.precision import Precision
from shufflenet_tf.models import v1, v2
from shufflenet_tf.weights import canonical

SIZE = (48, 64)


@pytest.fixture(scope="package")
def pixels() -> np.ndarray:
    """Images, uint8 [12, 48, 64, 3]: gradients and noise of several scales; the first has a black and a white pixel."""
    random = np.random.default_rng(0)
    images = np.zeros((12, *SIZE, 3))
    for cells in (2, 8, 48):
        coarse = random.normal(size=(12, cells, cells, 3))
        images += coarse[:, np.arange(SIZE[0]) * cells // SIZE[0]][:, :, np.arange(SIZE[1]) * cells // SIZE[1]]
    images = np.clip(128 + 50 * images, 0, 255).astype(np.uint8)
    images[0, 0, 0], images[0, 0, 1] = 0, 255
    return images


@pytest.fixture(scope="package")
def converted(pixels):
    """Returns a function: name of a network -> (float graph, TensorFlow's int8 or int16 graph), ranges from 8 images."""

    @functools.cache
    def graphs(name: str, kind: str = "int8") -> tuple[bytes, bytes]:
        with pytest.MonkeyPatch.context() as patch:
            for family in (v1, v2):
                patch.setattr(family, "REPEATS", (2, 1, 1))
            tf.keras.utils.set_random_seed(0)
            model = st.create_model(name, input_shape=(*SIZE, 3), classes=10, preprocessing="torchvision")
        random = np.random.default_rng(0)
        for key, variable in canonical.named_variables(model).items():
            leaf = key.rsplit("/", 1)[-1]
            if leaf == "gamma":  # channels of very different size, and dead ones
                size = np.exp(random.normal(0, 0.7, variable.shape))
                variable.assign(np.where(np.arange(len(size)) % 7 == 3, 0, size))
            elif leaf in ("beta", "b"):
                variable.assign(random.normal(0, 0.2, variable.shape))
        traced = trace(model)
        return convert(traced), convert(traced, Precision(kind, calibration=list(pixels[:8])))

    return graphs
