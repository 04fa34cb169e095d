"""From a Keras network to a TFLite graph that takes raw pixels: static, with preprocessing and softmax inside."""

import contextlib
import math
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from export.convert.precision import Quantization
from export.flatbuffer.graph import Graph, schema
from export.flatbuffer.graph import Quantization as TensorQuantization
from shufflenet_tf import startup
from shufflenet_tf.errors import UserError
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.preprocessing import Preprocessing
from shufflenet_tf.weights import canonical

ConcreteFunction = tf.types.experimental.ConcreteFunction
STEM = "conv1"  # the convolution that takes the image


def trace(model: ImageClassifier) -> ConcreteFunction:
    """Returns a network as TensorFlow's graph, which `convert` takes too: several files then cost one tracing.

    Args:
      model: with a fixed input size and a softmax.

    Raises:
      UserError: the network's input size is open, it has no classifier or no preprocessing, or doesn't begin with a
        convolution.
    """
    _check(model)
    height, width = model.input_shape[1:3]

    @tf.function(input_signature=[tf.TensorSpec((1, height, width, 3), tf.float32, "image")])
    def classify(image):
        return {"probabilities": model(image, training=False)}

    with _folded(model):
        traced = classify.get_concrete_function()
    traced.traced_model = model  # a graph holds variables weakly
    return traced


def convert(model: ImageClassifier | ConcreteFunction, quantization: Quantization | None = None) -> bytes:
    """Converts a network to a .tflite file's content.

    The graph takes uint8 [1, H, W, 3], RGB 0-255, and returns probabilities [1, classes]. Batch normalization is folded
    into the convolutions, and so are the preprocessing's scale, channel order and mean, with mean pixels beyond the border.

    Args:
      model: a network, or what `trace` has made of it.
      quantization: how numbers are stored; None: as float32.

    Raises:
      UserError: see `trace`.
    """
    quantization = quantization or Quantization()
    traced = trace(model) if isinstance(model, tf.keras.Model) else model
    with startup.held_back(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # notes to the converter's authors
        converter = tf.lite.TFLiteConverter.from_concrete_functions([traced])
        quantization.apply(converter)
        content = converter.convert()
    return content if quantization.kind == "int8" else _taking_pixels(content)


def _taking_pixels(content: bytes) -> bytes:
    """Has a float graph take uint8: as a quantized tensor of scale 1, which delegates turn into floats themselves."""
    graph = Graph(content)
    (floats,) = graph.inputs
    pixels = graph.add_tensor(graph.shape(floats), schema.TensorType.UINT8, "image", TensorQuantization((1.0,), (0,)))
    graph.operators = [graph.operator("DEQUANTIZE", [pixels], [floats]), *graph.operators]
    graph.subgraph.inputs = [pixels]
    return graph.pack()


def _check(model: ImageClassifier) -> None:
    if not isinstance(getattr(model, "preprocessing", None), Preprocessing):
        raise UserError(f"A {type(model).__name__} has no preprocessing of ours: give a model that this project has trained.")
    if None in model.input_shape[1:]:
        raise UserError(f"{model.name} takes images of any size, and a phone's graph needs one: build it with an input_shape.")
    if model.layers[-1].name != "probabilities":
        raise UserError(f"{model.name} does not end with probabilities: build it with include_top and its softmax.")


@contextlib.contextmanager
def _folded(model: ImageClassifier) -> Iterator[None]:
    """Has the first convolution take raw RGB pixels, for as long as the block lasts.

    The scale and the channel order go into its kernel, the mean into a bias. Zeros beyond the border were mean pixels, so
    the image gets an edge of those, and neither the convolution nor layers before it pad.
    """
    contract, (pads, conv) = model.preprocessing, _stem(model)
    mean = np.float32(contract.mean) / np.float32(contract.scale)
    factor = np.float32(contract.scale) / np.float32(contract.std)
    weights = np.asarray(conv.kernel)  # [kh, kw, 3, filters]
    order = slice(None, None, -1) if contract.channel_order == "bgr" else slice(None)
    kernel = weights[:, :, order] * factor[:, None]
    bias = (np.asarray(conv.bias) if conv.use_bias else 0) - np.einsum("hwcf,c->f", kernel, mean)
    sides = zip(model.input_shape[1:3], conv.kernel_size, conv.strides, strict=True)
    added = [tuple(sum(pad.padding[axis][end] for pad in pads) for end in (0, 1)) for axis in (0, 1)]
    edges = [_edge(*side, padding if pads else False) for side, padding in zip(sides, added, strict=True)]
    framed = np.any(mean) and (pads or conv.padding == "same")

    def convolve(image):
        image = _framed(image, edges, mean) if framed else image
        x = tf.nn.conv2d(image, kernel, conv.strides, "VALID" if framed else conv.padding.upper())
        return conv.activation(tf.nn.bias_add(x, bias))

    with contextlib.ExitStack() as restored:
        for layer, call in ((conv, convolve), *((pad, tf.identity) for pad in pads if framed)):
            restored.callback(delattr, layer, "call")  # down to its class's
            layer.call = call
        yield


def _stem(model: ImageClassifier) -> tuple[list[tf.keras.layers.Layer], tf.keras.layers.Layer]:
    """Returns the convolution that takes the image, and the layers before it, which pad."""
    pads = []
    for layer in canonical.primitives(model):
        if isinstance(layer, tf.keras.layers.Conv2D):
            return pads, layer
        if isinstance(layer, tf.keras.layers.ZeroPadding2D):
            pads.append(layer)
        elif not isinstance(layer, tf.keras.layers.InputLayer):
            break
    raise UserError(f"{model.name} does not begin with a convolution, which would take its preprocessing in.")


def _edge(side: int, kernel: int, stride: int, padding: bool | tuple[int, int]) -> tuple[int, int]:
    """Returns how many pixels a convolution reads before and behind an image's side.

    `padding`: what is added to both ends; True: half of the kernel to each; False: whatever "same" adds.
    """
    if padding is False:
        outputs = math.ceil(side / stride)
        before = max(0, (outputs - 1) * stride + kernel - side) // 2
    else:
        before, behind = (kernel // 2,) * 2 if padding is True else padding
        outputs = (side + before + behind - kernel) // stride + 1
    return before, max(0, (outputs - 1) * stride + kernel - side - before)


def _framed(image: tf.Tensor, edges: Sequence[tuple[int, int]], pixel: np.ndarray) -> tf.Tensor:
    """Returns an image [1, H, W, 3] with so many rows and columns of `pixel` around it."""
    for axis, counts in enumerate(edges, 1):
        shape = image.shape.as_list()
        strips = [np.broadcast_to(pixel, [*shape[:axis], count, *shape[axis + 1 :]]) for count in counts]
        parts = [strip if strip.size else None for strip in strips]
        parts = [part for part in (parts[0], image, parts[1]) if part is not None]
        image = tf.concat(parts, axis) if len(parts) > 1 else image
    return image
