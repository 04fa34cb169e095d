"""Runs .tflite models under LiteRT: interpreters and random inputs."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from shufflenet_tf import startup
from shufflenet_tf.tflite_metadata import source_of

# Kernels for a model: XNNPACK's, for operators that its delegate takes; LiteRT's built-in kernels, so that every operator runs
# as the file defines it; or the reference kernels, which are slow and simple.
XNNPACK = OpResolverType.AUTO
BUILTIN = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
REFERENCE = OpResolverType.BUILTIN_REF


def interpreter(
    model: bytes | str | os.PathLike,
    threads: int = 1,
    kernels: OpResolverType = XNNPACK,
    keep_tensors: bool = False,
    input_shapes: Mapping[int, Sequence[int]] | None = None,
) -> Interpreter:
    """Returns an interpreter with allocated tensors.

    Args:
      model: content of a .tflite file, or its path.
      threads: number of threads.
      kernels: `XNNPACK`, `BUILTIN` or `REFERENCE`.
      keep_tensors: whether each tensor can be read after a run; `XNNPACK` hides those inside a partition.
      input_shapes: input tensor -> its shape, for inputs of dynamic shape.

    Raises:
      ValueError, RuntimeError: the runtime refuses the model.
    """
    source = {"model_content": model} if isinstance(model, bytes) else source_of(os.fspath(model))
    with startup.litert_held_back():
        result = Interpreter(
            **source,
            num_threads=threads,
            experimental_op_resolver_type=kernels,
            experimental_preserve_all_tensors=keep_tensors,
        )
        for tensor, shape in (input_shapes or {}).items():
            result.resize_tensor_input(tensor, shape)
        result.allocate_tensors()
    return result


def random_inputs(runner: Interpreter, count: int, seed: int = 0) -> list[list[np.ndarray]]:
    """Returns `count` lists of random arrays, one per input: integers span their range; floats alternate noise and pixels."""
    rng = np.random.default_rng(seed)
    return [[_random(rng, detail, n) for detail in runner.get_input_details()] for n in range(count)]


def _random(rng: np.random.Generator, detail: dict, n: int) -> np.ndarray:
    shape, dtype = detail["shape"], np.dtype(detail["dtype"])
    if dtype == np.bool_:
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu" and dtype.itemsize == 1:
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max + 1, shape).astype(dtype)
    if dtype.kind in "iu":
        return rng.integers(0, 2, shape).astype(dtype)  # plausible indices
    return (rng.normal(size=shape) if n % 2 == 0 else rng.uniform(0, 1, shape)).astype(dtype)


def run(runner: Interpreter, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """Returns the outputs for one array per input."""
    for detail, values in zip(runner.get_input_details(), inputs, strict=True):
        runner.set_tensor(detail["index"], values)
    runner.invoke()
    return [runner.get_tensor(detail["index"]).copy() for detail in runner.get_output_details()]
