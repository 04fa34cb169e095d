"""The first convolution of a network and its preprocessing, which is folded into it: the graph then takes raw pixels.

The scale and the channel order go into the kernel, the mean into a bias. Zeros beyond the border were mean pixels, so the image
gets a frame of those, and neither the convolution nor layers before it pad.
"""

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from shufflenet_tf.errors import UserError
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.preprocessing import Preprocessing
from shufflenet_tf.weights import canonical


@dataclasses.dataclass(frozen=True)
class PixelTransform:
    """The preprocessing as an operation on R, G, B of 0-255: (pixel - mean) * factor, in the network's order of channels.

    Attributes:
      mean: of R, G, B, 0-255, float32 [3].
      factor: of R, G, B, float32 [3].
      order: from R, G, B to the network's order, and back.
    """

    mean: np.ndarray
    factor: np.ndarray
    order: slice

    @classmethod
    def of(cls, preprocessing: Preprocessing) -> "PixelTransform":
        """Returns that of a network's preprocessing."""
        mean = np.float32(preprocessing.mean) / np.float32(preprocessing.scale)
        factor = np.float32(preprocessing.scale) / np.float32(preprocessing.std)
        return cls(mean, factor, slice(None, None, -1 if preprocessing.channel_order == "bgr" else None))

    def fold(self, kernel: np.ndarray, bias: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """Returns the kernel [kh, kw, 3, filters] and the bias [filters] that do the same on raw pixels."""
        kernel = kernel[:, :, self.order] * self.factor[:, None]
        return kernel, bias - np.einsum("hwcf,c->f", kernel, self.mean)

    def unfold(self, kernel: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the kernel and the bias that `fold` makes these of."""
        return (kernel / self.factor[:, None])[:, :, self.order], bias + np.einsum("hwcf,c->f", kernel, self.mean)


@dataclasses.dataclass(frozen=True)
class Stem:
    """The first convolution of a network.

    Attributes:
      pads: layers before it, which pad.
      conv: the convolution.
      transform: the preprocessing that it takes in.
      edges: pixels of the frame of mean pixels, before and behind, by axis; None: there is no frame.
    """

    pads: Sequence[tf.keras.layers.Layer]
    conv: tf.keras.layers.Layer
    transform: PixelTransform
    edges: Sequence[tuple[int, int]] | None

    @classmethod
    def of(cls, model: ImageClassifier) -> "Stem":
        """Returns that of a network with a fixed input size.

        Raises:
          UserError: the network doesn't begin with a convolution.
        """
        pads, conv = _first_layers(model)
        transform = PixelTransform.of(model.preprocessing)
        if not np.any(transform.mean) or not (pads or conv.padding == "same"):
            return cls(pads, conv, transform, None)
        sides = zip(model.input_shape[1:3], conv.kernel_size, conv.strides, strict=True)
        padding = [tuple(sum(pad.padding[axis][end] for pad in pads) for end in (0, 1)) for axis in (0, 1)]
        edges = [edge(*side, added if pads else None) for side, added in zip(sides, padding, strict=True)]
        return cls(pads, conv, transform, edges)

    @contextlib.contextmanager
    def taking_pixels(self) -> Iterator[None]:
        """Has the convolution take raw RGB pixels, for as long as the block lasts."""
        conv, framed = self.conv, self.edges is not None
        kernel, bias = self.transform.fold(np.asarray(conv.kernel), np.asarray(conv.bias) if conv.use_bias else 0)

        def convolve(image):
            image = frame(image, self.edges, self.transform.mean) if framed else image
            x = tf.nn.conv2d(image, kernel, conv.strides, "VALID" if framed else conv.padding.upper())
            return conv.activation(tf.nn.bias_add(x, bias))

        with contextlib.ExitStack() as restored:
            for layer, call in ((conv, convolve), *((pad, tf.identity) for pad in self.pads if framed)):
                restored.callback(delattr, layer, "call")  # down to its class's
                layer.call = call
            yield


def _first_layers(model: ImageClassifier) -> tuple[list[tf.keras.layers.Layer], tf.keras.layers.Layer]:
    pads = []
    for layer in canonical.primitives(model):
        if isinstance(layer, tf.keras.layers.Conv2D):
            return pads, layer
        if isinstance(layer, tf.keras.layers.ZeroPadding2D):
            pads.append(layer)
        elif not isinstance(layer, tf.keras.layers.InputLayer):
            break
    raise UserError(f"{model.name} does not begin with a convolution, which would take its preprocessing in.")


def edge(side: int, kernel: int, stride: int, padding: tuple[int, int] | None) -> tuple[int, int]:
    """Returns how many pixels a convolution reads before and behind an image's side.

    `padding`: pixels that are added to both ends; None: whatever "same" adds.
    """
    if padding is None:
        outputs = math.ceil(side / stride)
        before = max(0, (outputs - 1) * stride + kernel - side) // 2
    else:
        before, behind = padding
        outputs = (side + before + behind - kernel) // stride + 1
    return before, max(0, (outputs - 1) * stride + kernel - side - before)


def frame(image: tf.Tensor, edges: Sequence[tuple[int, int]], pixel: np.ndarray) -> tf.Tensor:
    """Returns an image [1, H, W, 3] with so many rows and columns of `pixel` around it."""
    for axis, counts in enumerate(edges, 1):
        shape = image.shape.as_list()
        strips = [np.broadcast_to(pixel, [*shape[:axis], count, *shape[axis + 1 :]]) for count in counts]
        parts = [strip if strip.size else None for strip in strips]
        parts = [part for part in (parts[0], image, parts[1]) if part is not None]
        image = tf.concat(parts, axis) if len(parts) > 1 else image
    return image
