"""Arguments that the networks of the zoo cannot be built with are told of in one sentence."""

import pytest

import shufflenet_tf as st
from shufflenet_tf.models.zoo.applications import KerasApplication
from shufflenet_tf.models.zoo.densenet_like import DenseNetLike
from shufflenet_tf.models.zoo.igcv3 import IGCV3
from shufflenet_tf.models.zoo.inverted_residual import divisible
from shufflenet_tf.models.zoo.mobilenet_v3 import MobileNetV3
from shufflenet_tf.models.zoo.shufflenet_large import ShuffleNetLarge
from shufflenet_tf.models.zoo.squeezenet import SqueezeNet
from shufflenet_tf.models.zoo.v1_peers import V1Peer


@pytest.mark.parametrize(
    ("constructor", "arguments", "sentence"),
    [
        (KerasApplication, {"application": "NASNetMobile"}, "no application 'NASNetMobile' here: use MobileNet,"),
        (KerasApplication, {"application": "Xception", "alpha": 0.5}, "only MobileNets have widths"),
        (KerasApplication, {"alpha": 0}, "MobileNetV2 of width 0 can't be built"),
        (DenseNetLike, {"alpha": 3.0}, r"DenseNet-like network of 3\.0x"),
        (IGCV3, {"alpha": 0}, "alpha=0 leaves no channels"),
        (MobileNetV3, {"size": "medium"}, "'medium' of width 1.0"),
        (MobileNetV3, {"alpha": -1}, "of width -1"),
        (ShuffleNetLarge, {"plan": "shufflenet_v2_18"}, "no large ShuffleNet 'shufflenet_v2_18'"),
        (SqueezeNet, {"version": "2.0"}, "no SqueezeNet '2.0'"),
        (SqueezeNet, {"bypass": "wide"}, "bypass 'wide'"),
        (V1Peer, {"structure": "inception"}, "no 'inception'-like network"),
        (V1Peer, {"structure": "vgg", "alpha": 0.25}, "no 'vgg'-like network of 0.25x"),
    ],
)
def test_arguments_out_of_range(constructor, arguments, sentence):
    with pytest.raises(st.UserError, match=sentence):
        constructor(**arguments)


def test_sizes_that_will_not_do():
    with pytest.raises(st.UserError, match="sides of 63 or more"):
        st.create_model("alexnet", input_shape=(62, 64, 3))
    with pytest.raises(st.UserError, match="need a fixed image size"):
        st.create_model("alexnet", input_shape=(None, None, 3))


@pytest.mark.parametrize(("channels", "rounded"), [(16, 16), (12, 16), (11, 16), (18, 24), (20, 24), (3.2, 8), (67.2, 64)])
def test_widths_are_rounded_as_in_mobilenets(channels, rounded):
    assert divisible(channels) == rounded
