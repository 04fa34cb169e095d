"""Networks of keras.applications, which are exactly as published: MobileNet V1 and V2, Xception, ResNet-50 and VGG-16.

Their layers, with Keras's names, become layers of an ImageClassifier, so that they train, save and export like all others.
"""

import dataclasses
import re

import tensorflow as tf

from shufflenet_tf.errors import UserError
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.models.kernels import LEGACY_KERAS, BatchNorm, register
from shufflenet_tf.models.zoo.alexnet import flat, two_dense_layers


@dataclasses.dataclass(frozen=True)
class _Source:
    """How an application becomes an ImageClassifier.

    Attributes:
      network: its registered name.
      maps: the layers that return the last maps of strides 4, 8 and 16; the last layer of all has stride 32.
      dropout: rate for the pooled features, in training.
      dense: whether two dense layers of 4096 replace the pooling.
    """

    network: str
    maps: tuple[str, str, str]
    dropout: float = 0.0
    dense: bool = False


SOURCES = {
    "MobileNet": _Source("mobilenet_v1", ("conv_pw_3_relu", "conv_pw_5_relu", "conv_pw_11_relu"), dropout=0.001),
    "MobileNetV2": _Source("mobilenet_v2", ("block_2_add", "block_5_add", "block_12_add")),
    "Xception": _Source("xception", ("block3_sepconv2_bn", "block4_sepconv2_bn", "block13_sepconv2_bn")),
    "ResNet50": _Source("resnet_50", ("conv2_block3_out", "conv3_block4_out", "conv4_block6_out")),
    "VGG16": _Source("vgg_16", ("block3_conv3", "block4_conv3", "block5_conv3"), dense=True),
}


@register
class KerasApplication(ImageClassifier):
    """A network of keras.applications, from normalised images to class probabilities.

    Args:
      application: its name in keras.applications, from `SOURCES`.
      alpha: width, where the application has one.
      Others: see ImageClassifier.

    Raises:
      UserError: an argument out of range.
    """

    def __init__(self, application: str = "MobileNetV2", alpha: float | None = None, **kwargs):
        if application not in SOURCES:
            raise UserError(f"There is no application {application!r} here: use {', '.join(SOURCES)}.")
        if alpha is not None and (alpha <= 0 or not application.startswith("MobileNet")):
            raise UserError(f"{application} of width {alpha} can't be built: only MobileNets have widths; give one above 0.")
        source = SOURCES[application]
        network = f"{source.network}_{alpha}x" if alpha else source.network

        def trunk(images, wiring):
            given = {"alpha": alpha} if alpha else {}
            build = getattr(tf.keras.applications, application)
            original = build(input_tensor=images, include_top=False, weights=None, **given)
            _adopt(original)
            return {32: original.output, **{4 << i: original.get_layer(name).output for i, name in enumerate(source.maps)}}

        def dropped(x):
            return tf.keras.layers.Dropout(source.dropout, name="dropout")(x) if source.dropout else x

        head = {"pool": flat, "head": two_dense_layers} if source.dense else {"head": dropped}
        super().__init__(trunk, network=network, config={"application": application, "alpha": alpha}, **head, **kwargs)


def _adopt(model: tf.keras.Model) -> None:
    """Gives `model` fused batch normalization, and names that don't depend on models built before it."""
    counts: dict[str, int] = {}
    for layer in model.layers:
        if type(layer) is tf.keras.layers.BatchNormalization:
            layer.__class__ = BatchNorm  # only `call` differs, and building all layers again would take as long
        if automatic := re.fullmatch(r"(add|conv2d|batch_normalization)(_\d+)?", layer.name):
            kind = automatic[1]
            counts[kind] = counts.get(kind, 0) + 1
            setattr(layer, "_name" if LEGACY_KERAS else "name", f"{kind}_{counts[kind]}")
