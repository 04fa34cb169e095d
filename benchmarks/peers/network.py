"""Builds ShuffleNet V2 from plain arrays without TensorFlow: as an ONNX graph and as a PyTorch module.

`shufflenet_v2` defines the network once, with a few operations that each format implements. Batch normalization is already
folded into the convolutions, which every engine would do itself.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

REPEATS = {2: 4, 3: 8, 4: 4}  # units of each stage
OPSET = 17


@dataclasses.dataclass(frozen=True)
class Weights:
    """The arrays of a network.

    Attributes:
      arrays: for each layer, "NAME/W", [out, in / groups, height, width] or [out, in], and "NAME/b", [out].
      interleave: whether a shuffle reshapes the channels to (groups, n) and transposes; else to (n, groups).
      symmetric: whether stride 2 pads on all sides; else only right and bottom, which is "same" for an even side.
      side: side of the image in pixels.
    """

    arrays: Mapping[str, np.ndarray]
    interleave: bool
    symmetric: bool
    side: int

    def save(self, path: str | os.PathLike) -> None:
        """Writes a .npz file."""
        about = {"interleave": self.interleave, "symmetric": self.symmetric, "side": self.side}
        np.savez(path, **{"config.json": np.array(json.dumps(about))}, **self.arrays)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Weights:
        """Reads a file written by `save`."""
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        return cls(**json.loads(str(arrays.pop("config.json"))), arrays=arrays)

    def padding(self, name: str, stride: int) -> tuple[int, int]:
        """Returns the padding of a convolution before and after each side."""
        return self.edge(self.arrays[f"{name}/W"].shape[-1], stride)

    def edge(self, kernel: int, stride: int) -> tuple[int, int]:
        """Returns the same by kernel size."""
        half = kernel // 2
        return (half, half) if stride == 1 or self.symmetric else (0, half)


class Operations(Protocol):
    """The operations of the network; tensors are [1, channels, height, width]."""

    def conv(self, x: Any, name: str, stride: int = 1, relu: bool = True) -> Any: ...

    def max_pool(self, x: Any) -> Any: ...

    def halves(self, x: Any) -> tuple[Any, Any]: ...

    def concat(self, one: Any, other: Any) -> Any: ...

    def shuffle(self, x: Any) -> Any: ...

    def classify(self, x: Any, name: str) -> Any: ...


def shufflenet_v2(ops: Operations, x: Any) -> Any:
    """Returns the logits of a normalised image (the paper's table 5 and figures 3c, 3d)."""
    x = ops.max_pool(ops.conv(x, "conv1", 2))
    for stage, repeats in REPEATS.items():
        for block in range(repeats):
            unit, stride = f"stage{stage}/block{block}", 1 if block else 2
            if block:
                shortcut, x = ops.halves(x)
            else:
                shortcut = ops.conv(ops.conv(x, f"{unit}/shortcut_dconv", 2, relu=False), f"{unit}/shortcut_conv")
            x = ops.conv(ops.conv(x, f"{unit}/conv1"), f"{unit}/dconv", stride, relu=False)
            x = ops.shuffle(ops.concat(shortcut, ops.conv(x, f"{unit}/conv2")))
    return ops.classify(ops.conv(x, "conv5"), "linear")


def onnx_model(weights: Weights) -> Any:
    """Returns the network as an onnx.ModelProto: input "image" [1, 3, side, side], output "logits" [1, classes]."""
    import onnx
    from onnx import TensorProto, helper

    ops = _OnnxOperations(weights)
    shufflenet_v2(ops, "image")
    ops.nodes[-1].output[0] = "logits"
    classes = len(weights.arrays["linear/b"])
    graph = helper.make_graph(
        ops.nodes,
        "shufflenet_v2",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, weights.side, weights.side))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, classes))],
        ops.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(model)
    return model


class _OnnxOperations:
    """Appends nodes; a tensor is represented by its name."""

    def __init__(self, weights: Weights):
        self.weights = weights
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.shapes: dict[str, tuple[int, ...]] = {"image": (1, 3, weights.side, weights.side)}

    def _node(self, kind: str, inputs: list[str], shapes: list[tuple[int, ...]], **attributes: Any) -> list[str]:
        from onnx import helper

        outputs = [f"{kind}_{len(self.nodes)}_{i}" for i in range(len(shapes))]
        self.nodes.append(helper.make_node(kind, inputs, outputs, outputs[0], **attributes))
        self.shapes |= zip(outputs, shapes, strict=True)
        return outputs

    def _constant(self, name: str, values: np.ndarray) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def conv(self, x: str, name: str, stride: int = 1, relu: bool = True) -> str:
        kernel = self.weights.arrays[f"{name}/W"]
        before, after = self.weights.padding(name, stride)
        shape = (1, len(kernel), *(side // stride for side in self.shapes[x][2:]))
        inputs = [x, *(self._constant(f"{name}/{leaf}", self.weights.arrays[f"{name}/{leaf}"]) for leaf in "Wb")]
        groups = self.shapes[x][1] // kernel.shape[1]
        pads = [before, before, after, after]
        (x,) = self._node("Conv", inputs, [shape], kernel_shape=kernel.shape[2:], strides=[stride] * 2, pads=pads, group=groups)
        return self._node("Relu", [x], [shape])[0] if relu else x

    def max_pool(self, x: str) -> str:
        before, after = self.weights.edge(3, 2)
        shape = (*self.shapes[x][:2], *(side // 2 for side in self.shapes[x][2:]))
        pads = [before, before, after, after]
        return self._node("MaxPool", [x], [shape], kernel_shape=[3, 3], strides=[2, 2], pads=pads)[0]

    def halves(self, x: str) -> tuple[str, str]:
        _, channels, *sides = self.shapes[x]
        sizes = self._constant(f"{x}/halves", np.array([channels // 2] * 2))
        first, second = self._node("Split", [x, sizes], [(1, channels // 2, *sides)] * 2, axis=1)
        return first, second

    def concat(self, one: str, other: str) -> str:
        _, channels, *sides = self.shapes[one]
        return self._node("Concat", [one, other], [(1, channels + self.shapes[other][1], *sides)], axis=1)[0]

    def shuffle(self, x: str) -> str:
        _, channels, *sides = shape = self.shapes[x]
        pair = (2, channels // 2) if self.weights.interleave else (channels // 2, 2)
        split, swapped = (1, *pair, *sides), (1, *pair[::-1], *sides)
        (x,) = self._node("Reshape", [x, self._constant(f"{x}/split", np.array(split))], [split])
        (x,) = self._node("Transpose", [x], [swapped], perm=[0, 2, 1, 3, 4])
        return self._node("Reshape", [x, self._constant(f"{x}/joined", np.array(shape))], [shape])[0]

    def classify(self, x: str, name: str) -> str:
        channels = self.shapes[x][1]
        (x,) = self._node("GlobalAveragePool", [x], [(1, channels, 1, 1)])
        (x,) = self._node("Flatten", [x], [(1, channels)])
        inputs = [x, *(self._constant(f"{name}/{leaf}", self.weights.arrays[f"{name}/{leaf}"]) for leaf in "Wb")]
        return self._node("Gemm", inputs, [(1, len(self.weights.arrays[f"{name}/b"]))], transB=1)[0]


def torch_module(weights: Weights) -> Any:
    """Returns the network as a torch.nn.Module in evaluation mode: [1, 3, side, side] to logits."""
    import torch
    from torch.nn import functional

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for name, array in weights.arrays.items():
                self.register_buffer(_attribute(name), torch.from_numpy(array.copy()))

        def forward(self, x):
            return shufflenet_v2(self, x)

        def conv(self, x, name, stride=1, relu=True):
            kernel, bias = (getattr(self, _attribute(f"{name}/{leaf}")) for leaf in "Wb")
            before, after = weights.padding(name, stride)
            x = x if before == after else functional.pad(x, (before, after) * 2)
            padding = before if before == after else 0
            x = functional.conv2d(x, kernel, bias, stride, padding, groups=x.shape[1] // kernel.shape[1])
            return functional.relu(x) if relu else x

        def max_pool(self, x):
            before, after = weights.edge(3, 2)  # zero padding suffices, because the input is never negative
            x = x if before == after else functional.pad(x, (before, after) * 2)
            return functional.max_pool2d(x, 3, 2, before if before == after else 0)

        def halves(self, x):
            return x.chunk(2, 1)

        def concat(self, one, other):
            return torch.cat((one, other), 1)

        def shuffle(self, x):
            n, c, h, w = x.shape
            x = x.view(n, 2, c // 2, h, w) if weights.interleave else x.view(n, c // 2, 2, h, w)
            return x.transpose(1, 2).reshape(n, c, h, w)

        def classify(self, x, name):
            kernel, bias = (getattr(self, _attribute(f"{name}/{leaf}")) for leaf in "Wb")
            return functional.linear(x.mean((2, 3)), kernel, bias)

    return Module().eval()


def _attribute(name: str) -> str:
    return name.replace("/", "_")
