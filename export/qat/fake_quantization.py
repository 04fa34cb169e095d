"""Fake quantization of our layers by tensorflow-model-optimization: quantizers, one QuantizeConfig, and the scheme.

The library's own configurations give every layer a separate range and depthwise kernels one for all channels, and they know
neither splits nor grouped convolutions.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import tensorflow as tf
import tensorflow_model_optimization as tfmot
from tensorflow_model_optimization.python.core.quantization.keras import quantize_layout_transform
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import default_8bit_quantize_registry

from export.convert.converter import run_converter
from export.qat.graph_weights import LayerWeights, Start, into_graph
from shufflenet_tf.models.kernels import register
from shufflenet_tf.models.layers import HardSigmoid

qat = tfmot.quantization.keras


class ChannelQuantizer(qat.quantizers.Quantizer):
    """Rounds a kernel to -127 … 127 steps of the 127th part of each output channel's limit.

    Args:
      depthwise: whether output channels are along the last axis but one.

    Attributes:
      converting: True while the converter traces the network: it can't read the rounding of a depthwise kernel by channel,
        and gets the numbers of the rounded ones afterwards.
    """

    converting = False

    def __init__(self, depthwise: bool = False):
        self.depthwise = depthwise

    def build(self, tensor_shape, name, layer):
        channels = tensor_shape[-2 if self.depthwise else -1]
        return {"limits": layer.add_weight(f"{name}/limits", (channels,), initializer="ones", trainable=False)}

    def __call__(self, inputs, training, weights, **kwargs):
        if self.converting:
            return inputs
        kernel = tf.squeeze(inputs, -1) if self.depthwise else inputs
        limits = weights["limits"]
        kernel = tf.quantization.fake_quant_with_min_max_vars_per_channel(kernel, -limits, limits, narrow_range=True)
        return kernel[..., None] if self.depthwise else kernel

    def get_config(self):
        return {"depthwise": self.depthwise}


class RangeQuantizer(qat.quantizers.Quantizer):
    """Rounds activations to 256 steps of a range that learns, and that several layers may share.

    Args:
      group: name of the range.
      low, high: where it starts.
      learns: whether it moves.
    """

    shared: ClassVar[dict[str, dict[str, tf.Variable]]] = {}  # by group, while a network is being built

    def __init__(self, group: str, low: float, high: float, learns: bool = True):
        self.group, self.low, self.high, self.learns = group, low, high, learns

    def build(self, tensor_shape, name, layer):
        if self.group not in self.shared:
            self.shared[self.group] = {
                end: layer.add_weight(
                    f"{self.group}/{end}", initializer=tf.keras.initializers.Constant(value), trainable=self.learns
                )
                for end, value in (("low", self.low), ("high", self.high))
            }
        return self.shared[self.group]

    def __call__(self, inputs, training, weights, **kwargs):
        narrowest = (self.high - self.low) / 1000  # training may not close a range
        low, high = tf.minimum(weights["low"], 0.0), tf.maximum(weights["high"], 0.0)
        high = tf.maximum(high, low + narrowest)
        return tf.quantization.fake_quant_with_min_max_vars(inputs, low, high)

    def get_config(self):
        return {"group": self.group, "low": self.low, "high": self.high, "learns": self.learns}


class Rounded(qat.QuantizeConfig):
    """Rounds a layer's kernel, if it has one, and its output, if that has a range; a split or a shuffle has neither.

    Args:
      range_: configuration of a RangeQuantizer, or None.
    """

    def __init__(self, range_: Mapping[str, Any] | None = None):
        self.range = range_

    @staticmethod
    def _kernel(layer) -> str | None:
        return next((name for name in ("depthwise_kernel", "kernel") if getattr(layer, name, None) is not None), None)

    def get_weights_and_quantizers(self, layer):
        name = self._kernel(layer)
        return [(getattr(layer, name), ChannelQuantizer(name == "depthwise_kernel"))] if name else []

    def set_quantize_weights(self, layer, quantize_weights):
        for weights in quantize_weights:
            setattr(layer, self._kernel(layer), weights)

    def get_activations_and_quantizers(self, layer):
        return []

    def set_quantize_activations(self, layer, quantize_activations):
        pass

    def get_output_quantizers(self, layer):
        return [RangeQuantizer(**self.range)] if self.range else []

    def get_config(self):
        return {"range_": self.range}


@register
class Int8HardSigmoid(HardSigmoid):
    """min(max(x + 3, 0), 6) / 6 in the two operators of int8, the first of which rounds too."""

    def call(self, inputs):
        return tf.quantization.fake_quant_with_min_max_args(tf.nn.relu6(inputs + 3.0), 0.0, 6.0) * (1 / 6)


class _AsItIs(quantize_layout_transform.QuantizeLayoutTransform):
    """Changes no layer: the network is folded already, and all of its layers are annotated."""

    def apply(self, model, layer_quantize_map):
        return model, layer_quantize_map


class Scheme(qat.QuantizeScheme):
    """Quantizes as annotated, and nothing else."""

    def get_layout_transformer(self):
        return _AsItIs()

    def get_quantize_registry(self):
        return default_8bit_quantize_registry.Default8BitQuantizeRegistry()


def rounded(model: tf.keras.Model, start: Start) -> tf.keras.Model:
    """Returns a copy of a `folding.folded` model in which everything is rounded as in int8.

    Args:
      model: the network.
      start: its numbers.
    """

    def annotated(layer):
        range_ = start.ranges.get(layer.name)
        config = range_ and {"group": range_.group, "low": range_.low, "high": range_.high, "learns": range_.learns}
        kind = Int8HardSigmoid if isinstance(layer, HardSigmoid) else type(layer)
        return qat.quantize_annotate_layer(kind.from_config(layer.get_config()), Rounded(config))

    with qat.quantize_scope({kind.__name__: kind for kind in (ChannelQuantizer, RangeQuantizer, Rounded)}):
        RangeQuantizer.shared = {}
        copy = tf.keras.models.clone_model(model, clone_function=annotated)
        student = qat.quantize_apply(copy, Scheme(), quantized_layer_name_prefix="")
    for name, (kernel, bias, limits) in _layers(student).items():
        begins = start.layers[name]
        kernel.assign(begins.kernel), bias.assign(begins.bias), limits.assign(begins.limits)
    return student


def to_tflite(model: tf.keras.Model, output: str = "uint8") -> bytes:
    """Converts a `rounded` model to an int8 .tflite file's content: uint8 pixels in, probabilities out.

    Args:
      model: the network.
      output: type of the probabilities, "uint8" or "float32".
    """

    @tf.function(input_signature=[tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, "image")])
    def classify(image):
        return {"probabilities": model(image, training=False)}

    ChannelQuantizer.converting = True
    try:
        traced = classify.get_concrete_function()
    finally:
        ChannelQuantizer.converting = False
    content = run_converter(traced, "int8", input_type=tf.uint8, output_type=tf.as_dtype(output))
    weights = {name: LayerWeights(*(v.numpy() for v in variables)) for name, variables in _layers(model).items()}
    return into_graph(content, weights)


def _layers(model: tf.keras.Model) -> dict[str, tuple[tf.Variable, tf.Variable, tf.Variable]]:
    """Returns kernel, bias and limits of each layer of a `rounded` model that has them."""
    named = {}
    for wrapper in model.layers:
        if isinstance(wrapper, qat.QuantizeWrapperV2) and wrapper._weight_vars:
            ((kernel, _, variables),) = wrapper._weight_vars
            named[wrapper.layer.name] = kernel, wrapper.layer.bias, variables["limits"]
    return named


def named_variables(model: tf.keras.Model) -> dict[str, tf.Variable]:
    """Returns what a `rounded` model learns: "<layer>/kernel", "<layer>/bias", "<range>/low" and "<range>/high"."""
    named = {}
    for name, (kernel, bias, _) in _layers(model).items():
        named |= {f"{name}/kernel": kernel, f"{name}/bias": bias}
    for wrapper in model.layers:
        for quantizer in getattr(wrapper, "_output_quantizers", ()):
            if quantizer.learns:
                named |= {f"{quantizer.group}/{end}": v for end, v in wrapper._output_quantizer_vars.items()}
    return named
