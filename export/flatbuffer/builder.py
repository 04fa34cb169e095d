"""Builds small .tflite models without a converter: random weights, float or int8."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer import packed
from export.flatbuffer.graph import Graph, Quantization

FLOAT, INT8 = schema.TensorType.FLOAT32, schema.TensorType.INT8
RELU, NONE = schema.ActivationFunctionType.RELU, schema.ActivationFunctionType.NONE
SAME, VALID = schema.Padding.SAME, schema.Padding.VALID


def _empty() -> Graph:
    model = schema.ModelT()
    model.version, model.description = 3, "test"
    model.buffers, model.operatorCodes, model.subgraphs = [schema.BufferT()], [], [schema.SubGraphT()]
    model.subgraphs[0].operators = []
    graph = Graph(packed.pack(model))
    graph.model.operatorCodes, graph.model.buffers = [], [schema.BufferT()]
    graph.subgraph.tensors, graph.subgraph.operators = [], []
    graph.subgraph.inputs, graph.subgraph.outputs = [], []
    return graph


def options(kind: type, **fields):
    """Returns an options object of the schema with these fields."""
    result = kind()
    vars(result).update(fields)
    return result


class Net:
    """A network in the making; each method adds operators and returns the index of the result.

    Args:
      shape: of the input, [1, H, W, C].
      int8: whether it is quantized; all activations then have one scale but for `scale=` given.
      seed: of the weights.
    """

    def __init__(self, shape: tuple[int, ...], int8: bool, seed: int = 0):
        self.graph, self.int8 = _empty(), int8
        self.rng = np.random.default_rng(seed)
        self.type = INT8 if int8 else FLOAT
        self.input = self.tensor(shape)
        self.graph.subgraph.inputs = [self.input]

    def tensor(self, shape, scale: float = 0.05, zero_point: int = -7) -> int:
        quantization = Quantization((scale,), (zero_point,)) if self.int8 else None
        return self.graph.add_tensor(shape, self.type, f"t{len(self.graph.subgraph.tensors)}", quantization)

    def shape(self, x: int) -> tuple[int, ...]:
        return self.graph.shape(x)

    def op(self, kind: str, inputs: list[int], shape, opts=None, like: int | None = None, **quantization) -> int:
        y = self.tensor(shape, **quantization)
        if like is not None:
            self.graph.subgraph.tensors[y].quantization = self.graph.subgraph.tensors[like].quantization
        self.graph.operators.append(self.graph.operator(kind, inputs, [y], opts))
        return y

    def ints(self, *values: int, shape: tuple[int, ...] | None = None) -> int:
        return self.graph.add_constant(np.array(values, np.int32).reshape(shape or (len(values),)), "ints")

    def _weights(self, values: np.ndarray, x: int, axis: int) -> list[int]:
        outputs = values.shape[axis]
        bias = self.rng.normal(0, 0.3, outputs).astype(np.float32)
        if not self.int8:
            like = self.graph.add_tensor((1,), FLOAT, "like")
            return [self.graph.add_constant(values.astype(np.float32), "w", like), self.graph.add_constant(bias, "b", like)]
        others = tuple(i for i in range(values.ndim) if i != axis)
        scale = np.abs(values).max(axis=others) / 127 + 1e-6
        shape = [1] * values.ndim
        shape[axis] = outputs
        like = self.graph.add_tensor((1,), INT8, "like", Quantization(tuple(scale), (0,) * outputs, axis))
        w = self.graph.add_constant(np.round(values / scale.reshape(shape)).astype(np.int8), "w", like)
        scale_b = scale * self.graph.quantization(x).scale[0]
        like = self.graph.add_tensor((1,), schema.TensorType.INT32, "like", Quantization(tuple(scale_b), (0,) * outputs))
        return [w, self.graph.add_constant(np.round(bias / scale_b).astype(np.int32), "b", like)]

    def conv(self, x, filters, kernel=1, stride=1, groups=1, act=RELU, padding=SAME, **quantization) -> int:
        """A convolution; `kernel` and `stride` are of both sides, or (height, width)."""
        n, h, w, c = self.shape(x)
        kernel, stride = ((side, side) if isinstance(side, int) else side for side in (kernel, stride))
        values = self.rng.normal(0, 1.5 / np.sqrt(kernel[0] * kernel[1] * c // groups), (filters, *kernel, c // groups))
        fields = {"padding": padding, "strideH": stride[0], "strideW": stride[1]}
        opts = options(schema.Conv2DOptionsT, fusedActivationFunction=act, **fields)
        size = [_size(side, k, s, padding) for side, k, s in zip((h, w), kernel, stride, strict=True)]
        return self.op("CONV_2D", [x, *self._weights(values, x, 0)], (n, *size, filters), opts, **quantization)

    def depthwise(self, x, kernel=3, stride=1, act=NONE, padding=SAME, **quantization) -> int:
        n, h, w, c = self.shape(x)
        values = self.rng.normal(0, 0.5, (1, kernel, kernel, c))
        fields = {"padding": padding, "strideH": stride, "strideW": stride, "depthMultiplier": 1}
        opts = options(schema.DepthwiseConv2DOptionsT, fusedActivationFunction=act, **fields)
        size = [_size(side, kernel, stride, padding) for side in (h, w)]
        return self.op("DEPTHWISE_CONV_2D", [x, *self._weights(values, x, 3)], (n, *size, c), opts, **quantization)

    def dense(self, x, units, **quantization) -> int:
        values = self.rng.normal(0, 1 / np.sqrt(self.shape(x)[-1]), (units, self.shape(x)[-1]))
        opts = schema.FullyConnectedOptionsT()
        return self.op("FULLY_CONNECTED", [x, *self._weights(values, x, 0)], (self.shape(x)[0], units), opts, **quantization)

    def pool(self, x, kind="MAX", kernel=3, stride=2, padding=SAME) -> int:
        n, h, w, c = self.shape(x)
        fields = {"padding": padding, "strideH": stride, "strideW": stride, "filterHeight": kernel, "filterWidth": kernel}
        size = [_size(side, kernel, stride, padding) for side in (h, w)]
        return self.op(
            f"{kind}_POOL_2D" if kind == "MAX" else "AVERAGE_POOL_2D",
            [x],
            (n, *size, c),
            options(schema.Pool2DOptionsT, **fields),
            like=x,
        )

    def reshape(self, x, *shape: int) -> int:
        return self.op("RESHAPE", [x, self.ints(*shape)], shape, options(schema.ReshapeOptionsT, newShape=list(shape)), like=x)

    def transpose(self, x, *axes: int) -> int:
        shape = [self.shape(x)[a] for a in axes]
        return self.op("TRANSPOSE", [x, self.ints(*axes)], shape, schema.TransposeOptionsT(), like=x)

    def shuffle(self, x, groups: int, interleave: bool = False, rank: int = 4) -> int:
        n, h, w, c = self.shape(x)
        rows, columns = (groups, c // groups) if interleave else (c // groups, groups)
        if rank == 4:
            y = self.transpose(self.reshape(x, n, h * w, rows, columns), 0, 1, 3, 2)
        else:
            y = self.transpose(self.reshape(x, n, h, w, rows, columns), 0, 1, 2, 4, 3)
        return self.reshape(y, n, h, w, c)

    def gather(self, x, indices) -> int:
        n, h, w, _ = self.shape(x)
        return self.op(
            "GATHER", [x, self.ints(*indices)], (n, h, w, len(indices)), options(schema.GatherOptionsT, axis=3), like=x
        )

    def slice(self, x, begin: int, size: int) -> int:
        n, h, w, _ = self.shape(x)
        return self.op(
            "SLICE", [x, self.ints(0, 0, 0, begin), self.ints(n, h, w, size)], (n, h, w, size), schema.SliceOptionsT(), like=x
        )

    def strided_slice(self, x, begin: int, end: int, stride: int = 1) -> int:
        n, h, w, _ = self.shape(x)
        size = len(range(begin, end, stride))
        inputs = [x, self.ints(0, 0, 0, begin), self.ints(0, 0, 0, end), self.ints(1, 1, 1, stride)]
        opts = options(schema.StridedSliceOptionsT, beginMask=7, endMask=7)
        return self.op("STRIDED_SLICE", inputs, (n, h, w, size), opts, like=x)

    def _several(self, kind, inputs, x, sizes, opts) -> list[int]:
        n, h, w, _ = self.shape(x)
        outputs = []
        for size in sizes:
            y = self.tensor((n, h, w, size))
            self.graph.subgraph.tensors[y].quantization = self.graph.subgraph.tensors[x].quantization
            outputs.append(y)
        self.graph.operators.append(self.graph.operator(kind, inputs, outputs, opts))
        return outputs

    def split(self, x, parts: int) -> list[int]:
        sizes = [self.shape(x)[3] // parts] * parts
        return self._several("SPLIT", [self.ints(3, shape=()), x], x, sizes, options(schema.SplitOptionsT, numSplits=parts))

    def split_v(self, x, *sizes: int) -> list[int]:
        inputs = [x, self.ints(*sizes), self.ints(3, shape=())]
        return self._several("SPLIT_V", inputs, x, sizes, options(schema.SplitVOptionsT, numSplits=len(sizes)))

    def concat(self, *parts: int) -> int:
        n, h, w, _ = self.shape(parts[0])
        c = sum(self.shape(p)[3] for p in parts)
        return self.op("CONCATENATION", list(parts), (n, h, w, c), options(schema.ConcatenationOptionsT, axis=3), like=parts[0])

    def add(self, a, b, act=RELU) -> int:
        return self.op("ADD", [a, b], self.shape(a), options(schema.AddOptionsT, fusedActivationFunction=act))

    def relu(self, x, **quantization) -> int:
        return self.op("RELU", [x], self.shape(x), None, None if quantization else x, **quantization)

    def pad(self, x, by: int = 1) -> int:
        n, h, w, c = self.shape(x)
        return self.op(
            "PAD",
            [x, self.ints(0, 0, by, by, by, by, 0, 0, shape=(4, 2))],
            (n, h + 2 * by, w + 2 * by, c),
            schema.PadOptionsT(),
            like=x,
        )

    def mean(self, x) -> int:
        return self.op(
            "MEAN", [x, self.ints(1, 2)], (1, self.shape(x)[3]), options(schema.ReducerOptionsT, keepDims=False), like=x
        )

    def done(self, *outputs: int) -> bytes:
        """Returns the file."""
        self.graph.subgraph.outputs = list(outputs)
        return self.graph.pack()


def _size(side: int, kernel: int, stride: int, padding: int) -> int:
    return -(-side // stride) if padding == SAME else (side - kernel) // stride + 1
