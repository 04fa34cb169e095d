"""A .tflite model in memory: its bytes, its graph, and what was done to it."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterable

from export.flatbuffer.graph import Graph
from shufflenet_tf.files import atomic_path


@dataclasses.dataclass(frozen=True)
class Step:
    """One change of a graph, or the attempt of one.

    Attributes:
      name: of the pass or the quantization step.
      changed: whether the graph is another one afterwards.
      text: for people: what it did, or why it was undone or left out; "": there was nothing to do.
    """

    name: str
    changed: bool
    text: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.text or 'nothing to do'}"


@dataclasses.dataclass(frozen=True)
class TfliteModel:
    """A .tflite model and its history.

    Attributes:
      content: the file, with metadata and associated files if it has any.
      kind: how it stores numbers, such as "float32" or "int8"; "": unknown.
      steps: what was done since the conversion, in order.
      optimized: whether the optimizer has run on it.
    """

    content: bytes
    kind: str = ""
    steps: tuple[Step, ...] = ()
    optimized: bool = False

    @functools.cached_property
    def graph(self) -> Graph:
        """The graph, parsed once and shared: read it only, and take `Graph(model.content)` to change it."""
        return Graph(self.content)

    def then(self, content: bytes, steps: Iterable[Step] = (), optimized: bool | None = None) -> "TfliteModel":
        """Returns the model after more steps, which made `content` of it."""
        optimized = self.optimized if optimized is None else optimized
        return dataclasses.replace(self, content=content, steps=(*self.steps, *steps), optimized=optimized)

    def write(self, path: str | os.PathLike) -> None:
        """Writes the file, whole or not at all."""
        with atomic_path(pathlib.Path(path)) as temporary:
            temporary.write_bytes(self.content)
