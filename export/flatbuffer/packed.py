"""Parses and packs the bytes of a .tflite file; weights that stand behind the flatbuffer are moved into it.

Converters write large weights behind the flatbuffer, which then holds only where they stand (`Buffer.offset` and `size`,
`Operator.largeCustomOptionsOffset`): a flatbuffer itself can't grow beyond 2 GB.
"""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

IDENTIFIER = b"TFL3"
# (where it stands, how many bytes, where they go) of the two things that may be outside.
_OUTSIDE = {
    schema.BufferT: ("offset", "size", "data"),
    schema.OperatorT: ("largeCustomOptionsOffset", "largeCustomOptionsSize", "customOptions"),
}


class Misplaced(ValueError):
    """Weights that aren't where the file says; the message is a clause."""


def parse(data: bytes) -> schema.ModelT:
    """Returns the model of a .tflite file, every weight within it.

    Raises:
      Misplaced: weights have an impossible position.
      Exception: any other, where the parser meets damaged bytes.
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
        # The flatbuffer doesn't say where it ends. One that is whole without what is outside ends before that.
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
    """Returns the model as a flatbuffer, every weight within it."""
    builder = flatbuffers.Builder(1 << 16)  # the first size; it grows
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def _outside(model: schema.ModelT):
    """Yields (owner, start, size) of whatever is outside of the flatbuffer."""
    operators = [o for subgraph in model.subgraphs or [] for o in subgraph.operators or []]
    for owner in (*(model.buffers or []), *operators):
        offset, length, _ = _OUTSIDE[type(owner)]
        start, size = getattr(owner, offset), getattr(owner, length)
        # Writers put a 1 where the place is still to be filled in, and LiteRT takes 0 and 1 for nothing.
        if start > 1 and size > 0:
            yield owner, start, size
