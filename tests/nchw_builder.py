"""Builds .tflite models as converters from channels-first frameworks leave them.

Every tensor between two layers is [N, C, H, W]; each layer that TFLite knows with channels last only stands between two
transposes, a grouped convolution is split, and what PyTorch pads is padded by an operator of its own.
"""

import numpy as np
import tflite_builder as build
from ai_edge_litert import schema_py_generated as schema


class Nchw:
    """A channels-first network in the making; each method adds operators and returns the index of the result.

    Args:
      shape: of the input, [1, C, H, W].
      int8: whether it is quantized; all activations then have one scale.
      split_first: whether grouped convolutions are split before the transposes, so that each part has its own two.
    """

    def __init__(self, shape: tuple[int, ...], int8: bool, seed: int = 0, split_first: bool = False):
        self.net = build.Net(shape, int8, seed)
        self.input, self.split_first = self.net.input, split_first
        self.shape, self.done = self.net.shape, self.net.done

    def _last(self, x: int) -> int:
        return self.net.transpose(x, 0, 2, 3, 1)

    def _first(self, x: int) -> int:
        return self.net.transpose(x, 0, 3, 1, 2)

    def conv(self, x: int, filters: int, kernel: int = 1, stride: int = 1, groups: int = 1, act=build.NONE) -> int:
        x = self.pad(x, kernel // 2) if kernel > 1 else x
        options = {"kernel": kernel, "stride": stride, "act": act, "padding": build.VALID}
        if groups == 1:
            return self._first(self.net.conv(self._last(x), filters, **options))
        if self.split_first:
            parts = [self._first(self.net.conv(self._last(p), filters // groups, **options)) for p in self.split(x, groups)]
            return self.concat(*parts)
        parts = [self.net.conv(p, filters // groups, **options) for p in self.net.split(self._last(x), groups)]
        return self._first(self.net.concat(*parts))

    def depthwise(self, x: int, stride: int = 1) -> int:
        return self._first(self.net.depthwise(self._last(self.pad(x)), stride=stride, padding=build.VALID))

    def pool(self, x: int, kind: str = "MAX", kernel: int = 3, stride: int = 2) -> int:
        return self._first(self.net.pool(self._last(x), kind, kernel, stride))

    def pad(self, x: int, by: int = 1) -> int:
        n, c, h, w = self.shape(x)
        widths = self.net.ints(0, 0, 0, 0, by, by, by, by, shape=(4, 2))
        return self.net.op("PAD", [x, widths], (n, c, h + 2 * by, w + 2 * by), schema.PadOptionsT(), like=x)

    def split(self, x: int, parts: int) -> list[int]:
        n, c, h, w = self.shape(x)
        outputs = [self.net.tensor((n, c // parts, h, w)) for _ in range(parts)]
        for y in outputs:
            self.net.graph.subgraph.tensors[y].quantization = self.net.graph.subgraph.tensors[x].quantization
        options = build.options(schema.SplitOptionsT, numSplits=parts)
        self.net.graph.operators.append(self.net.graph.operator("SPLIT", [self.net.ints(1, shape=()), x], outputs, options))
        return outputs

    def concat(self, *parts: int) -> int:
        n, _, h, w = self.shape(parts[0])
        shape = (n, sum(self.shape(p)[1] for p in parts), h, w)
        options = build.options(schema.ConcatenationOptionsT, axis=1)
        return self.net.op("CONCATENATION", list(parts), shape, options, like=parts[0])

    def shuffle(self, x: int, groups: int) -> int:
        n, c, h, w = self.shape(x)
        y = self.net.transpose(self.net.reshape(x, n, groups, c // groups, h, w), 0, 2, 1, 3, 4)
        return self.net.reshape(y, n, c, h, w)

    def relu(self, x: int, kind: str = "RELU") -> int:
        return self.net.op(kind, [x], self.shape(x), None, like=x)

    def add(self, a: int, b: int) -> int:
        return self.net.add(a, b, build.NONE)

    def scale(self, x: int) -> int:
        """Multiplies each channel by a constant of [C, 1, 1], as a batch normalization that was not folded."""
        values = self.net.rng.uniform(0.5, 1, (self.shape(x)[1], 1, 1)).astype(np.float32)
        like = self.net.tensor((1,), scale=1 / 127, zero_point=0)
        values = np.round(values * 127) if self.net.int8 else values
        factor = self.net.graph.add_constant(values, "scale", like)
        return self.net.op("MUL", [x, factor], self.shape(x), schema.MulOptionsT())

    def mean(self, x: int, keep: bool = False) -> int:
        n, c, _, _ = self.shape(x)
        options = build.options(schema.ReducerOptionsT, keepDims=keep)
        return self.net.op("MEAN", [x, self.net.ints(2, 3)], (n, c, 1, 1) if keep else (n, c), options, like=x)


def shufflenet_v1(int8: bool, groups: int = 3, size: int = 224, width: int = 120, units=(4, 8, 4), **options) -> bytes:
    """Returns a ShuffleNet V1 (0.5x of 3 groups by default) by a channels-first converter, its input [1, 3, H, W]."""
    net = Nchw((1, 3, size, size), int8, **options)
    x = net.pool(net.conv(net.input, width // 10, 3, 2, act=build.RELU))
    for stage, n in enumerate(units):
        made = width << stage
        for unit in range(n):
            c = net.shape(x)[1]
            branch = made if unit else made - c
            y = net.relu(net.conv(x, made // 4, groups=1 if stage == unit == 0 else groups))
            y = net.depthwise(net.shuffle(y, groups), stride=1 if unit else 2)
            y = net.conv(y, branch, groups=groups)
            x = net.relu(net.add(x, y) if unit else net.concat(net.pool(x, "AVERAGE"), y))
    return net.done(net.net.dense(net.mean(x), 1000 if size > 100 else 10))
