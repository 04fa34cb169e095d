"""TensorFlow's converter, set up for each way to store numbers."""

import warnings
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from shufflenet_tf import startup

ConcreteFunction = tf.types.experimental.ConcreteFunction


def run_converter(
    function: ConcreteFunction,
    kind: str = "float32",
    samples: Callable[[], Iterable[list[np.ndarray]]] | None = None,
    input_type: tf.DType = tf.float32,
    output_type: tf.DType = tf.float32,
) -> bytes:
    """Converts a traced function to a .tflite file's content.

    Args:
      function: with static shapes.
      kind: see `export.convert.precision.KINDS`.
      samples: int8, int16: returns inputs of the function, from which ranges are taken; None: the function's fake quantization
        has them.
      input_type, output_type: int8: of the graph's inputs and outputs.
    """
    # The converter prints notes to its authors.
    with startup.held_back(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
        if kind != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if kind == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if samples is not None:
            converter.representative_dataset = samples
        if kind == "int16":
            converter.target_spec.supported_ops = [
                tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
                tf.lite.OpsSet.TFLITE_BUILTINS,
            ]
        if kind == "int8":
            if samples is not None:
                converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type, converter.inference_output_type = input_type, output_type
        return converter.convert()
