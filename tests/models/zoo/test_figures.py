"""What the registered networks cost agrees with what is published, and each can be built, run and told by its weights.

Parameters are the trainable ones, to the unit; multiply-adds those of convolutions and the classifier for one image, in
millions, as precisely as they are published. All networks but AlexNet and VGG take images of any size, so that one
build serves for counts at 224 px and for a run at 32.
"""

import collections
import math

import numpy as np
import pytest
import tensorflow as tf
from zoo_networks import EVERY, least_size, marked

import shufflenet_tf as st
from shufflenet_tf import complexity
from shufflenet_tf.models import registry
from shufflenet_tf.weights import canonical, published

BIAS = 1000  # megvii's classifiers have none
FIGURES = {
    # ShuffleNet papers, tables 1, 2 and 5 of V1 and table 5 of V2; megvii's and torchvision's implementations.
    "shufflenet_v1_1.0x_g1": (1_531_936, "143.08"),
    "shufflenet_v1_1.0x_g2": (1_733_848, "140.84"),
    "shufflenet_v1_1.0x_g3": (1_864_728 + BIAS, "137.46"),
    "shufflenet_v1_1.0x_g4": (1_968_344, "134.34"),
    "shufflenet_v1_1.0x_g8": (2_433_768 + BIAS, "138.37"),
    "shufflenet_v1_0.5x_g3": (717_324 + BIAS, "37.59"),
    "shufflenet_v1_0.5x_g8": (1_010_448 + BIAS, "40.47"),
    "shufflenet_v1_1.5x_g3": (3_441_168 + BIAS, "292.44"),
    "shufflenet_v1_1.5x_g8": (4_268_952 + BIAS, "290.19"),
    "shufflenet_v1_2.0x_g3": (5_449_776 + BIAS, "524.05"),
    "shufflenet_v1_2.0x_g8": (6_521_232 + BIAS, "521.94"),
    "shufflenet_v1_2.0x_g3_se": (None, "526"),  # the paper rounds up, to 527
    "shufflenet_v1_0.5x_g3_shallow": (None, "40"),
    "shufflenet_v2_0.5x": (1_365_792 + BIAS, "40"),  # the paper's 41
    "shufflenet_v2_1.0x": (2_278_760 + BIAS, "146"),
    "shufflenet_v2_1.5x": (3_506_720 + BIAS, "299"),
    "shufflenet_v2_2.0x": (7_402_600 + BIAS, "591"),
    "shufflenet_v2_2.0x_se": (None, "597"),
    "shufflenet_v1_50": (None, "2369"),
    "shufflenet_v2_50": (None, "2315"),
    "shufflenet_v2_164_se": (None, "12665"),
    "shufflenet_v2_plus_small": (5_137_116, "155.85"),
    "shufflenet_v2_plus_medium": (5_679_840, "222.25"),
    "shufflenet_v2_plus_large": (6_768_220, "360.05"),
    # keras.applications and torchvision.
    "mobilenet_v1_0.25x": (470_072, "41.03"),
    "mobilenet_v1_0.5x": (1_331_592, "149.50"),
    "mobilenet_v1_0.75x": (2_585_560, "325.40"),
    "mobilenet_v1_1.0x": (4_231_976, "568.74"),
    "mobilenet_v2_0.35x": (1_677_128, "59.29"),
    "mobilenet_v2_0.5x": (1_968_680, "97.13"),
    "mobilenet_v2_0.75x": (2_636_424, "209.07"),
    "mobilenet_v2_1.0x": (3_504_872, "300.77"),
    "mobilenet_v2_1.3x": (5_386_792, "509.37"),
    "mobilenet_v2_1.4x": (6_108_776, "582.20"),
    "mobilenet_v3_large_1.0x": (5_483_032, "217"),
    "mobilenet_v3_large_0.75x": (3_993_528, "155"),
    "mobilenet_v3_large_minimalistic": (3_924_288, "209"),
    "mobilenet_v3_small_1.0x": (2_542_856, "57"),
    "mobilenet_v3_small_0.75x": (2_041_872, "43"),  # that paper's 44
    "mobilenet_v3_small_minimalistic": (2_044_736, "52"),
    "squeezenet_1.0": (1_248_424, "818.9"),
    "squeezenet_1.1": (1_235_496, "349.2"),
    "squeezenet_1.0_simple_bypass": (1_248_424, "818.9"),
    "squeezenet_1.0_complex_bypass": (1_589_672, "1165"),
    "xception": (22_855_952, None),
    "resnet_50": (25_583_592, "3858"),
    "vgg_16": (138_357_544, "15470"),
    "alexnet": (60_965_224, "724"),
    "igcv3_d_1.0x": (3_491_688, None),
    # Of the papers' definitions, at the complexities that they name, as near as multiples of the groups allow.
    "vgg_like_0.5x": (None, "38"),
    "vgg_like_1.0x": (None, "145"),
    "resnet_like_0.5x": (None, "38.13"),
    "resnet_like_1.0x": (None, "144"),
    "resnext_like_0.25x": (None, "12"),
    "resnext_like_0.5x": (None, "36"),
    "resnext_like_1.0x": (None, "135"),
    "densenet_like_0.5x": (None, "44"),
    "densenet_like_1.0x": (None, "141"),
    "densenet_like_1.5x": (None, "298"),
    "densenet_like_2.0x": (None, "516"),
}
# The same with torchvision's wiring, whose projections are thinner; and at another size.
OTHERWISE = {
    "shufflenet_v2_star_0.5x": (1_376_296, 42_889_600, {"wiring": "torchvision"}),
    "shufflenet_v2_star_1.0x": (2_301_198, 149_780_160, {"wiring": "torchvision"}),
    "shufflenet_v2_star_1.5x": (3_537_768, None, {"wiring": "torchvision"}),
    "shufflenet_v2_star_2.0x": (7_441_230, 592_754_368, {"wiring": "torchvision"}),
    "shufflenet_v2_50": (16_573_534, 2_304_152_672, {"wiring": "torchvision"}),
}
HEAVY = {"vgg_16", "alexnet", "shufflenet_v2_164_se"}


@pytest.mark.parametrize("name", marked([name for name in st.list_models() if name not in HEAVY]))
def test_counts_run_and_weights_that_tell_the_network(name, tmp_path):
    model = st.create_model(name, input_shape=(None, None, 3))
    parameters, millions = FIGURES.get(name, (None, None))
    agrees(model, parameters, millions)
    size = least_size(name)
    assert np.isfinite(model(np.ones((1, size, size, 3), np.float32))).all()
    assert [tuple(x.shape[1:3]) for x in model.features().outputs] == [(None, None)] * len(model.stages)

    canonical.save(model, tmp_path / "weights.npz")
    checkpoint = published.read(tmp_path / "weights.npz")
    assert registry.identify(checkpoint) == registry.identify(published.of_model(model, "")) == name
    assert len(checkpoint.arrays) == len(model.weights), "no two layers share a name"


def test_a_network_of_another_name_is_told_too(tmp_path):
    model = st.ShuffleNetV2((32, 32, 3), alpha=2.0, branch={"residual": True}, name="mine")
    canonical.save(model, tmp_path / "weights.npz")
    assert registry.identify(published.read(tmp_path / "weights.npz")) == "shufflenet_v2_2.0x_residual"


def agrees(model, parameters, millions):
    if parameters is not None:
        assert complexity.parameters(model) == parameters
    if millions is not None:
        decimals = len(millions.partition(".")[2])
        assert f"{complexity.multiply_adds(model, (224, 224, 3)) / 1e6:.{decimals}f}" == millions


@pytest.mark.long
def test_xception_counted_as_pytorchcv_counts():
    """Its 8,403.63M are half of all operations, a convolution without bias saving one for each pair of channels."""
    model = st.create_model("xception", input_shape=(299, 299, 3))
    elements = collections.Counter()
    kernels = sum(cost.weights // cost.kernel**2 for cost in complexity.costs(model) if cost.kind != "dense")
    for layer in model._flatten_layers():
        made = math.prod(layer.output.shape[1:]) if hasattr(layer, "output") else 0
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            elements["normalized"] += made
        elif isinstance(layer, tf.keras.layers.MaxPooling2D):
            elements["pooled"] += 9 * made
        elif isinstance(layer, tf.keras.layers.GlobalAveragePooling2D):
            elements["pooled"] += math.prod(layer.input.shape[1:])
        elif isinstance(layer, (tf.keras.layers.Activation, tf.keras.layers.ReLU)) and layer.name != "probabilities":
            elements["activated"] += made
    operations = 2 * complexity.multiply_adds(model) - kernels + 4 * elements["normalized"] + elements["activated"]
    assert f"{(operations + elements['pooled']) / 2e6:.2f}" == "8403.63"


@pytest.mark.parametrize("name", sorted(HEAVY) if EVERY else ["vgg_16", "alexnet"])
def test_counts_of_networks_of_one_size_and_of_the_heaviest(name):
    agrees(st.create_model(name), *FIGURES[name])


@pytest.mark.long
@pytest.mark.parametrize("name", OTHERWISE)
def test_counts_with_other_arguments(name):
    parameters, multiply_adds, given = OTHERWISE[name]
    model = st.create_model(name, **given)
    assert complexity.parameters(model) == parameters
    if multiply_adds is not None:
        assert complexity.multiply_adds(model) == multiply_adds
