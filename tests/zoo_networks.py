"""Which registered networks stand for the others in tests: of those that differ in width alone, the first."""

import dataclasses
import functools
import os

import pytest
from qat_networks import few_units

import shufflenet_tf as st
from shufflenet_tf.models import registry
from shufflenet_tf.models.kernels import LEGACY_KERAS
from shufflenet_tf.models.zoo import alexnet, igcv3, shufflenet_large

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
# One of each module and kind of unit; the others are long tests.
REPRESENTATIVES = {
    "alexnet",
    "mobilenet_v1_0.25x",
    "mobilenet_v3_small_minimalistic",
    "shufflenet_v1_0.25x_g3",
    "shufflenet_v2_0.5x",
    "shufflenet_v2_plus_small",
    "squeezenet_1.1",
}
if LEGACY_KERAS:  # what differs there is Keras's own layers and applications, saving and training
    REPRESENTATIVES = {"mobilenet_v1_0.25x", "shufflenet_v1_0.25x_g3", "shufflenet_v2_plus_small"}


def marked(names: list[str]) -> list:
    """Returns the names as parameters, of which all but the representatives are long tests."""
    return [name if name in REPRESENTATIVES else pytest.param(name, marks=pytest.mark.long) for name in names]


def least_size(name: str) -> int:
    """Returns the least side of an image, pixels, that a network takes."""
    constructor = registry.MODELS[name]
    return getattr(constructor, "func", constructor).min_size


def light(patch: pytest.MonkeyPatch) -> None:
    """Takes weight off: most units of ShuffleNets, their peers and IGCV3, most hidden units of AlexNet and VGG."""
    few_units(patch)
    patch.setattr(igcv3, "STAGES", tuple((t, c, min(n, 2), s) for t, c, n, s in igcv3.STAGES))
    patch.setattr(alexnet, "HIDDEN", 64)
    for name, plan in shufflenet_large.PLANS.items():
        stages = (144, 288, 576, 1152) if plan.last else plan.stages  # V1's are not the heavy ones
        patch.setitem(shufflenet_large.PLANS, name, dataclasses.replace(plan, stages=stages, repeats=(2, 1, 1, 1)))
