"""TensorFlow's converter, set up for each precision."""

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
    """Converts a traced function to the content of a .tflite file.

    Args:
      function: traced function with static shapes.
      kind: see `export.convert.precision.KINDS`.
      samples: for int8 and int16: returns inputs of the function, which calibrate the ranges; None: the function's
        fake-quantization operators hold the ranges.
      input_type, output_type: types of the graph's inputs and outputs for int8.
    """
    # The converter prints notes for its developers.
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
