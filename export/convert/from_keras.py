"""From a Keras network to a TFLite graph that takes raw pixels: static, with preprocessing and softmax inside."""

import tensorflow as tf

from export.convert.converter import ConcreteFunction, run_converter
from export.convert.precision import Precision
from export.convert.stem import Stem
from export.flatbuffer.graph import Graph, Quantization, schema
from shufflenet_tf.errors import UserError
from shufflenet_tf.models.image_classifier import ImageClassifier
from shufflenet_tf.preprocessing import Preprocessing


def trace(model: ImageClassifier) -> ConcreteFunction:
    """Returns a network as TensorFlow's graph, which `convert` takes too: several files then cost one tracing.

    Args:
      model: with a fixed input size and a softmax.

    Raises:
      UserError: the network's input size is open, it has no classifier or no preprocessing, or doesn't begin with a
        convolution.
    """
    check_convertible(model)
    height, width = model.input_shape[1:3]

    @tf.function(input_signature=[tf.TensorSpec((1, height, width, 3), tf.float32, "image")])
    def classify(image):
        return {"probabilities": model(image, training=False)}

    with Stem.of(model).taking_pixels():
        traced = classify.get_concrete_function()
    traced.traced_model = model  # a graph holds variables weakly
    return traced


def convert(model: ImageClassifier | ConcreteFunction, precision: Precision | None = None) -> bytes:
    """Converts a network to a .tflite file's content.

    The graph takes uint8 [1, H, W, 3], RGB 0-255, and returns probabilities [1, classes]. Batch normalization is folded
    into the convolutions, and so are the preprocessing's scale, channel order and mean, with mean pixels beyond the border.

    Args:
      model: a network, or what `trace` returned for it.
      precision: how numbers are stored; None: as float32.

    Raises:
      UserError: see `trace`.
    """
    precision = precision or Precision()
    traced = trace(model) if isinstance(model, tf.keras.Model) else model
    content = run_converter(traced, **precision.converter_settings())
    return content if precision.kind == "int8" else _taking_pixels(content)


def _taking_pixels(content: bytes) -> bytes:
    """Has a float graph take uint8: as a quantized tensor of scale 1, which delegates turn into floats themselves."""
    graph = Graph(content)
    (floats,) = graph.inputs
    pixels = graph.add_tensor(graph.shape(floats), schema.TensorType.UINT8, "image", Quantization((1.0,), (0,)))
    graph.operators = [graph.operator("DEQUANTIZE", [pixels], [floats]), *graph.operators]
    graph.subgraph.inputs = [pixels]
    return graph.pack()


def check_convertible(model: ImageClassifier) -> None:
    """Raises a UserError if a network's input size is open, or it has no classifier or no preprocessing."""
    if not isinstance(getattr(model, "preprocessing", None), Preprocessing):
        raise UserError(f"A {type(model).__name__} has no preprocessing of ours: give a model that this project has trained.")
    if None in model.input_shape[1:]:
        raise UserError(f"{model.name} takes images of any size, and a phone's graph needs one: build it with an input_shape.")
    if model.layers[-1].name != "probabilities":
        raise UserError(f"{model.name} does not end with probabilities: build it with include_top and its softmax.")
