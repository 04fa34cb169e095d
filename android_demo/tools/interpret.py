"""Runs a TFLite model for the app's tests: reads messages from stdin, each a length (int32, big-endian) and that many bytes.

The first message is the model. Each further one is an input tensor; its output tensor is written to stdout in the same format.
"""

import struct
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def _read() -> bytes | None:
    length = sys.stdin.buffer.read(4)
    return sys.stdin.buffer.read(*struct.unpack(">i", length)) if length else None


def main() -> None:
    """Answers until stdin ends."""
    interpreter = Interpreter(model_content=_read(), num_threads=1)
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    while (content := _read()) is not None:
        interpreter.set_tensor(source["index"], np.frombuffer(content, source["dtype"]).reshape(source["shape"]))
        interpreter.invoke()
        answer = interpreter.get_tensor(target["index"]).tobytes()
        sys.stdout.buffer.write(struct.pack(">i", len(answer)) + answer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
