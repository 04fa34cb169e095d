"""Parses and packs the bytes of a .tflite file; moves weights stored after the flatbuffer into it.

Converters store large weights after the flatbuffer, which then holds only their position (`Buffer.offset` and `size`,
`Operator.largeCustomOptionsOffset`), because a flatbuffer can't exceed 2 GB.
"""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

IDENTIFIER = b"TFL3"
# (position, size in bytes, destination field) of the two kinds of data that may be outside.
_OUTSIDE = {
    schema.BufferT: ("offset", "size", "data"),
    schema.OperatorT: ("largeCustomOptionsOffset", "largeCustomOptionsSize", "customOptions"),
}


class Misplaced(ValueError):
    """Weights are not at the position that the file gives; the message is a clause."""


def parse(data: bytes) -> schema.ModelT:
    """Parses a .tflite file and returns the model with all weights inside.

    Raises:
      Misplaced: weights have an impossible position.
      Exception: any other exception that the parser raises on damaged bytes.
    """
    model = schema.ModelT.InitFromPackedBuf(bytearray(data), 0)
    outside = list(_outside(model))
    if not outside:
        return model
    first = min(start for _, start, _ in outside)
    for _, start, size in outside:
        if start + size > len(data):
            raise Misplaced(f"it keeps weights at bytes {start:,} to {start + size:,}, and has {len(data):,}")
    try:
        # The flatbuffer doesn't store its length. If it parses without the outside data, it ends before that data.
        model = schema.ModelT.InitFromPackedBuf(bytearray(data[:first]), 0)
    except Exception:
        raise Misplaced(f"it keeps weights at byte {first:,}, in the midst of the graph") from None
    for owner, start, size in _outside(model):
        offset, length, content = _OUTSIDE[type(owner)]
        setattr(owner, content, np.frombuffer(data, np.uint8, size, start))
        setattr(owner, offset, 0)
        setattr(owner, length, 0)
    return model


def pack(model: schema.ModelT) -> bytes:
    """Returns the model as a flatbuffer with all weights inside."""
    builder = flatbuffers.Builder(1 << 16)  # initial size; it grows
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def _outside(model: schema.ModelT):
    """Yields (owner, start, size) of the data outside the flatbuffer."""
    operators = [o for subgraph in model.subgraphs or [] for o in subgraph.operators or []]
    for owner in (*(model.buffers or []), *operators):
        offset, length, _ = _OUTSIDE[type(owner)]
        start, size = getattr(owner, offset), getattr(owner, length)
        # Writers use 1 as a placeholder for the position, and LiteRT treats 0 and 1 as no data.
        if start > 1 and size > 0:
            yield owner, start, size
