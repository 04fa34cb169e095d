"""Which registered networks stand for the others in tests: of those that differ in width alone, the first."""

import dataclasses
import functools
import os

import pytest

import shufflenet_tf as st
from shufflenet_tf import registry
from shufflenet_tf.zoo import alexnet, shufflenet_large

EVERY = bool(os.environ.get("EVERY_NETWORK"))


def _kind(name: str) -> tuple:
    """What two networks share that differ in width alone."""
    constructor = registry.MODELS[name]
    if not isinstance(constructor, functools.partial):
        return (constructor,)
    widths = ("alpha", "size") if constructor.func is st.ShuffleNetV2Plus else ("alpha",)
    return constructor.func, *(f"{key}={value}" for key, value in constructor.keywords.items() if key not in widths)


_FIRST = {_kind(name): name for name in reversed(st.list_models())}
ARCHITECTURES = [name for name in st.list_models() if _FIRST[_kind(name)] == name]
TESTED = st.list_models() if EVERY else ARCHITECTURES


def least_size(name: str) -> int:
    """Returns the least side of an image, pixels, that a network takes."""
    constructor = registry.MODELS[name]
    return getattr(constructor, "func", constructor).min_size


def light(patch: pytest.MonkeyPatch) -> None:
    """Takes weight off the heaviest: most hidden units of AlexNet and VGG, most units and channels of the 164 layers."""
    patch.setattr(alexnet, "HIDDEN", 64)
    name = "shufflenet_v2_164_se"
    plan = shufflenet_large.PLANS[name]
    thin = dataclasses.replace(plan, stages=(144, 160, 176, 192), repeats=(2, 2, 2, 2))
    patch.setitem(shufflenet_large.PLANS, name, thin)
