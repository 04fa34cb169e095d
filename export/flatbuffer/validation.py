"""Checks that bytes are a usable, runnable .tflite file before anything relies on it."""

import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer import packed
from shufflenet_tf.tflite_metadata import compiled_for

_SIZES = {
    schema.TensorType.FLOAT32: 4,
    schema.TensorType.FLOAT16: 2,
    schema.TensorType.INT8: 1,
    schema.TensorType.UINT8: 1,
    schema.TensorType.INT16: 2,
    schema.TensorType.INT32: 4,
    schema.TensorType.INT64: 8,
    schema.TensorType.BOOL: 1,
}
_WEIGHTED = {
    schema.BuiltinOperator.CONV_2D,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D,
    schema.BuiltinOperator.FULLY_CONNECTED,
}
_MAX_BYTES = 1 << 31  # limit for all tensors together


class InvalidModel(Exception):
    """The bytes are not a usable .tflite file; the message gives the reason, as a clause."""


def parse(data: bytes) -> schema.ModelT:
    """Returns the parsed model after checking every index and size.

    Raises:
      InvalidModel: the model is damaged or can't be used.
    """
    if len(data) < 16 or data[4:8] != packed.IDENTIFIER:
        raise InvalidModel("it doesn't begin like a .tflite file")
    if compiled := compiled_for(data):
        raise InvalidModel(f"it is {compiled} (what can be read is the file that it was compiled from)")
    try:
        model = packed.parse(data)
    except packed.Misplaced as error:
        raise InvalidModel(str(error)) from None
    except Exception:  # damaged bytes can make the parser raise anything
        raise InvalidModel("it's damaged or cut off") from None
    try:
        _check(model)
    except (TypeError, ValueError, AttributeError, OverflowError, UnicodeDecodeError) as error:
        raise InvalidModel(f"a field has an impossible value ({error})") from None
    return model


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise InvalidModel(reason)


def _ints(values) -> list[int]:
    return [] if values is None else [int(v) for v in values]


def _check(model: schema.ModelT) -> None:
    _require(bool(model.subgraphs) and bool(model.buffers) and model.operatorCodes is not None, "it holds no graph")
    _require(model.version == 3, f"its version is {model.version}, not 3")
    for metadata in model.metadata or []:
        _require(0 <= metadata.buffer < len(model.buffers), "a metadata index is out of range")
    _require(all(0 <= b < len(model.buffers) for b in _ints(model.metadataBuffer)), "a metadata index is out of range")
    for signature in model.signatureDefs or []:
        _check_signature(model, signature)
    total = sum(_check_subgraph(model, subgraph) for subgraph in model.subgraphs)
    _require(total < _MAX_BYTES, f"its tensors would take {total / 2**30:.0f} GB")


def _check_signature(model: schema.ModelT, signature: schema.SignatureDefT) -> None:
    _require(0 <= signature.subgraphIndex < len(model.subgraphs), "a signature's index is out of range")
    tensors = len(model.subgraphs[signature.subgraphIndex].tensors or [])
    for entry in (*(signature.inputs or []), *(signature.outputs or [])):
        _require(0 <= entry.tensorIndex < tensors, "a signature's index is out of range")


def _check_subgraph(model: schema.ModelT, subgraph: schema.SubGraphT) -> int:
    """Checks a subgraph and returns the size of its tensors in bytes."""
    tensors, operators = subgraph.tensors or [], subgraph.operators or []
    _require(bool(operators) and len(_ints(subgraph.outputs)) > 0, "it computes nothing")
    total = sum(_check_tensor(model, tensor) for tensor in tensors)
    computed = {t for t, tensor in enumerate(tensors) if tensor.isVariable or len(_data(model, tensor))}
    _require(
        all(0 <= t < len(tensors) for t in (*_ints(subgraph.inputs), *_ints(subgraph.outputs))), "an index is out of range"
    )
    inputs = _ints(subgraph.inputs)
    _require(len(set(inputs)) == len(inputs) and not computed.intersection(inputs), "an input of the graph is a constant")
    computed.update(inputs)
    # Tensors without elements have neither data nor a producer.
    computed.update(t for t, tensor in enumerate(tensors) if 0 in _ints(tensor.shape))
    for operator in operators:
        _require(0 <= operator.opcodeIndex < len(model.operatorCodes), "an operator's type is out of range")
        read, written = _ints(operator.inputs), _ints(operator.outputs)
        _require(all(-1 <= t < len(tensors) for t in (*read, *_ints(operator.intermediates))), "an index is out of range")
        _require(all(0 <= t < len(tensors) for t in written), "an index is out of range")
        code = model.operatorCodes[operator.opcodeIndex]
        if max(code.builtinCode, code.deprecatedBuiltinCode) in _WEIGHTED:
            is_whole = len(read) > 1 and min(read[:2]) >= 0 and bool(written)
            _require(is_whole, "a convolution or fully connected layer lacks its weights or its output")
        _require(all(t < 0 or t in computed for t in read), "an operator reads a tensor before it is computed")
        _require(not computed.intersection(written) and len(set(written)) == len(written), "a tensor is written twice")
        computed.update(written)
    _require(computed.issuperset(_ints(subgraph.outputs)), "an output is never computed")
    return total


def _data(model: schema.ModelT, tensor: schema.TensorT):
    _require(0 <= tensor.buffer < len(model.buffers), "a tensor's buffer is out of range")
    data = model.buffers[tensor.buffer].data
    return () if data is None else data


def _check_tensor(model: schema.ModelT, tensor: schema.TensorT) -> int:
    shape = _ints(tensor.shape)
    _require(len(shape) <= 8 and all(0 <= side < 1 << 28 for side in shape), f"a tensor has the shape {shape}")
    data, size = _data(model, tensor), _SIZES.get(tensor.type)
    bytes_ = math.prod(shape) * (size or 1)
    if len(data) and size is not None and tensor.sparsity is None:
        _require(len(data) == bytes_, f"a constant of shape {shape} has {len(data)} bytes, not {bytes_}")
    q = tensor.quantization
    if q is not None and q.scale is not None and len(q.scale):
        scale = np.asarray(q.scale, np.float64)
        _require(bool(np.isfinite(scale).all() and (scale >= 0).all()), "a scale is not a positive number")
        points = 0 if q.zeroPoint is None else len(q.zeroPoint)
        _require(points in (0, 1, len(scale)), "the numbers of scales and zero points differ")
        if len(scale) > 1:
            _require(0 <= q.quantizedDimension < max(len(shape), 1), "a quantized dimension is out of range")
            _require(not shape or shape[q.quantizedDimension] == len(scale), "the numbers of scales and channels differ")
    return bytes_
