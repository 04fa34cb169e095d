"""SqueezeNet 1.0 and 1.1 (Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters", 2016, figure 2).

The sizes are torchvision's: the first convolution has no padding, and pools round up.
"""

import functools

import tensorflow as tf

from shufflenet_tf.errors import UserError
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.models.layers import INITIALIZER, Composite, register

# Filters and kernel of the first convolution; expanded channels of the fire modules; indices of modules after a pool.
VERSIONS = {
    "1.0": (96, 7, (128, 128, 256, 256, 384, 384, 512, 512), (0, 3, 7)),
    "1.1": (64, 3, (128, 128, 256, 256, 384, 384, 512, 512), (0, 2, 4)),
}
BYPASSES = ("none", "simple", "complex")


def _conv(filters: int, kernel_size: int, **kwargs) -> tf.keras.layers.Layer:
    given = {"padding": "same", "activation": "relu", "kernel_initializer": INITIALIZER}
    return tf.keras.layers.Conv2D(filters, kernel_size, **{**given, **kwargs})


@register
class Fire(Composite):
    """1x1 that squeezes, then half 1x1 and half 3x3 that expand.

    Args:
      filters: channels of the output; the squeeze has an eighth of them.
      bypass: "none"; "simple" adds the input if it has as many channels; "complex" also adds others, projected by a 1x1.
    """

    def __init__(self, filters: int, bypass: str = "none", **kwargs):
        super().__init__(**kwargs)
        self.filters, self.bypass = filters, bypass

    def build(self, input_shape):
        same = input_shape[-1] == self.filters
        name, conv = self.name, functools.partial(_conv, dtype=self.dtype_policy)
        self.squeeze = conv(self.filters // 8, 1, name=f"{name}.squeeze")
        self.expand = [conv(self.filters // 2, size, name=f"{name}.expand{size}x{size}") for size in (1, 3)]
        self.concat = tf.keras.layers.Concatenate(name=f"{name}.concat", dtype=self.dtype_policy)
        added = self.bypass == "complex" or (self.bypass == "simple" and same)
        self.project = conv(self.filters, 1, activation=None, name=f"{name}.bypass") if added and not same else None
        self.add = tf.keras.layers.Add(name=f"{name}.add", dtype=self.dtype_policy) if added else None
        self.built = True

    def call(self, inputs):
        x = self.squeeze(inputs)
        x = self.concat([expand(x) for expand in self.expand])
        if self.add is None:
            return x
        return self.add([x, self.project(inputs) if self.project else inputs])

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "bypass": self.bypass}


@register
class MeanOfScores(Composite):
    """SqueezeNet's classifier: scores at each position, then their mean.

    Args:
      classes: number of classes.
    """

    def __init__(self, classes: int, **kwargs):
        super().__init__(**kwargs)
        self.classes = classes

    def build(self, input_shape):
        self.conv = _conv(self.classes, 1, name=self.name, dtype=self.dtype_policy)
        self.pool = tf.keras.layers.GlobalAveragePooling2D(name=f"{self.name}.pool", dtype=self.dtype_policy)
        self.built = True

    def call(self, inputs):
        return self.pool(self.conv(inputs))

    def get_config(self):
        return {**super().get_config(), "classes": self.classes}


def _pool(x, name: str):
    """Applies 3x3 max pooling with stride 2 and rounds the size up: an even size needs one more row or column of pixels."""
    if None in x.shape[1:3] or len({side % 2 for side in x.shape[1:3]}) == 2:
        x = tf.keras.layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}.pad")(x)  # after a ReLU, zeros change no maximum
        padding = "valid"
    else:
        padding = "valid" if x.shape[1] % 2 else "same"
    return tf.keras.layers.MaxPooling2D(3, 2, padding, name=name)(x)


@register
class SqueezeNet(ImageClassifier):
    """SqueezeNet, from normalised images to class probabilities.

    Args:
      version: "1.0" or "1.1".
      bypass: "none", "simple" or "complex" (paper, figure 2).
      Others: see ImageClassifier.

    Raises:
      UserError: an argument out of range.
    """

    def __init__(self, version: str = "1.1", bypass: str = "none", **kwargs):
        if version not in VERSIONS or bypass not in BYPASSES:
            raise UserError(f"There is no SqueezeNet {version!r} with bypass {bypass!r}: use 1.1, and {', '.join(BYPASSES)}.")
        stem, kernel, modules, pools = VERSIONS[version]

        def trunk(images, wiring):
            x = _conv(stem, kernel, strides=2, padding="valid", name="conv1")(images)
            maps, stride = {}, 2
            for i, filters in enumerate(modules):
                if i in pools:
                    maps[stride], stride = x, stride * 2
                    x = _pool(x, f"pool{len(maps)}")
                x = Fire(filters, bypass, name=f"fire{i + 2}")(x)
            maps[stride] = x
            return {stride: x for stride, x in maps.items() if stride > 2}

        suffix = "" if bypass == "none" else f"_{bypass}_bypass"
        config = {"version": version, "bypass": bypass}
        tops = {"pool": _dropout, "classifier": _classifier}
        super().__init__(trunk, network=f"squeezenet_{version}{suffix}", config=config, **tops, **kwargs)


def _dropout() -> tf.keras.layers.Layer:
    return tf.keras.layers.Dropout(0.5, name="dropout")


def _classifier(classes: int) -> tf.keras.layers.Layer:
    return MeanOfScores(classes, name="linear", dtype="float32")
