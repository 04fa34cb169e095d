"""Convolutions and fully connected layers as matrix products, and the inputs that they multiply."""

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.flatbuffer.graph import Graph
from export.ptq.graph_pair import OperatorPair

SAMPLES = 32  # outputs of a layer that are looked at, of each image


class LayerMatrix:
    """A layer of a float graph as G matrix products [O, K] · [K].

    Attributes:
      input: the tensor that it reads.
      weights: [G, O, K]: groups, outputs of each, inputs of each.
      bias: [G, O].
    """

    def __init__(self, graph: Graph, operator: OperatorPair):
        self.input, w, b = (int(t) for t in (*operator.float_op.inputs, -1)[:3])
        self._options = operator.float_op.builtinOptions
        self._kernel = graph.constant(w)
        self._depthwise = operator.kind == "DEPTHWISE_CONV_2D"
        self._outputs = graph.shape(int(operator.float_op.outputs[0]))
        channels, outputs = graph.shape(self.input)[-1], self._outputs[-1]
        # A fully connected layer may read a map as one row.
        self._groups = channels if self._depthwise else max(1, channels // self._kernel.shape[-1])
        kernel = np.moveaxis(self._kernel[0], -1, 0) if self._depthwise else self._kernel
        self.weights = kernel.reshape(self._groups, outputs // self._groups, -1).astype(np.float64)
        bias = np.zeros(outputs) if b < 0 else graph.constant(b)
        self.bias = bias.reshape(self._groups, -1).astype(np.float64)

    def sample_positions(self, images: int, random: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Draws image, row and column of outputs, int [P] each; of a fully connected layer the image only."""
        if self._kernel.ndim == 2:
            return (np.arange(images),)
        height, width = self._outputs[1:3]
        drawn = np.stack([random.permutation(height * width)[:SAMPLES] for _ in range(images)])
        image = np.repeat(np.arange(images), drawn.shape[1])
        return image, drawn.ravel() // width, drawn.ravel() % width

    def inputs(self, x: np.ndarray, positions: tuple[np.ndarray, ...], zero_point: int = 0) -> np.ndarray:
        """Returns the inputs of the outputs at these positions, float32 [G, P, K].

        Args:
          x: the layer's input [N, ..., C].
          positions: of outputs, as `sample_positions` returns them.
          zero_point: of `x`.
        """
        if len(positions) == 1:
            return x.reshape(1, -1, self._kernel.shape[1]).astype(np.float32) - zero_point
        x = x.astype(np.int16) - np.int16(zero_point) if x.dtype == np.int8 else x
        patches = _patches(x, positions, self._kernel.shape[1:3], self._outputs[1:3], self._options).astype(np.float32)
        taps = patches.reshape(*patches.shape[:2], self._groups, -1)  # [P, taps, G, channels of a group]
        return np.ascontiguousarray(taps.transpose(2, 0, 1, 3)).reshape(self._groups, len(patches), -1)

    def kernel(self, weights: np.ndarray) -> np.ndarray:
        """Returns weights [G, O, K] in the shape and order of the graph's constant."""
        if not self._depthwise:
            return weights.reshape(self._kernel.shape)
        return np.moveaxis(weights.reshape(-1, *self._kernel.shape[1:3]), 0, -1)[None]


def _patches(
    x: np.ndarray, positions: tuple[np.ndarray, ...], kernel: Sequence[int], outputs: Sequence[int], options
) -> np.ndarray:
    """Returns the inputs of some outputs of a convolution.

    Args:
      x: its input [N, H, W, C].
      positions: image, row and column of each output, int [P] each.
      kernel, outputs: height and width of the kernel and of the output.
      options: the operator's: strides, dilation and padding.

    Returns:
      [P, kh * kw, C], with zeros beyond the border.
    """
    strides = options.strideH, options.strideW
    dilations = options.dilationHFactor, options.dilationWFactor
    before = [0, 0]
    if options.padding == schema.Padding.SAME:
        sides = zip(outputs, strides, kernel, dilations, x.shape[1:3], strict=True)
        before = [max(0, (o - 1) * s + (k - 1) * d + 1 - side) // 2 for o, s, k, d, side in sides]
    image, *places = positions
    patches = []
    for tap in np.ndindex(*kernel):
        at = [p * s + t * d - b for p, s, t, d, b in zip(places, strides, tap, dilations, before, strict=True)]
        inside = np.logical_and.reduce([(a >= 0) & (a < side) for a, side in zip(at, x.shape[1:3], strict=True)])
        read = x[image, np.clip(at[0], 0, x.shape[1] - 1), np.clip(at[1], 0, x.shape[2] - 1)]
        patches.append(np.where(inside[:, None], read, 0))
    return np.stack(patches, 1)
